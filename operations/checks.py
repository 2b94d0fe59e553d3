"""A malformed setting stops the start with a sentence, not with a traceback."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .conf import conf
from .databases import citus

# One id per setting, never changed, because operators silence and look up checks by id.
_CHECKS = {
    "domain": (
        "operations.E003",
        "Leave XPERT_DOMAIN empty to use the address that a request came to.",
    ),
    "base_path": (
        "operations.E036",
        "Leave XPERT_BASE_PATH empty if the panel has its domain to itself.",
    ),
    "open_access": (
        "operations.E004",
        "XPERT_OPEN_ACCESS=False unless this is a first look on one machine.",
    ),
    "rate_address": (
        "operations.E008",
        "XPERT_RATE_ADDRESS=1200/min is the default; empty means no limit.",
    ),
    "rate_login": (
        "operations.E032",
        "XPERT_RATE_LOGIN=60/hour is the default; empty means no limit.",
    ),
    "require_second_factor": (
        "operations.E034",
        "XPERT_REQUIRE_SECOND_FACTOR=False leaves the choice to each member of the staff.",
    ),
    "trusted_proxies": (
        "operations.E009",
        "XPERT_TRUSTED_PROXIES=1 behind one nginx, 0 without a proxy.",
    ),
    "time_zone": ("operations.E010", "XPERT_TIME_ZONE=UTC is the default."),
    "https": ("operations.E011", "XPERT_HTTPS=True when the panel is served over HTTPS."),
    "log_level": ("operations.E012", "XPERT_LOG_LEVEL=INFO is the default."),
    "allowed_hosts": (
        "operations.E013",
        "XPERT_ALLOWED_HOSTS=panel.example.com, without scheme and port; empty = the domain and loopback.",
    ),
    "log_format": ("operations.E014", "XPERT_LOG_FORMAT=text is the default."),
    "telegram_proxy": ("operations.E033", "Leave XPERT_TELEGRAM_PROXY empty to use none."),
    "telegram_url": (
        "operations.E030",
        "XPERT_TELEGRAM_URL=https://api.telegram.org is the default.",
    ),
    "allow_private_receivers": (
        "operations.E031",
        "XPERT_ALLOW_PRIVATE_RECEIVERS=False keeps webhooks out of your network.",
    ),
    "backup_folder": ("operations.E020", "XPERT_BACKUP_FOLDER=data/backups is the default."),
}


_MIDDLEWARE = "operations.http.second_factor.SecondFactorMiddleware"
_OPEN_ACCESS_HINT = gettext_lazy(
    "Set XPERT_OPEN_ACCESS=False and make subscribers in the admin or with create_subscriber."
)


def wrong_settings(
    settings_of_app: object, known: Mapping[str, tuple[str, str]]
) -> list[CheckMessage]:
    """An error for each setting that cannot be read. ``known``: check id and hint by property."""
    found: list[CheckMessage] = []
    for name, (id_, hint) in known.items():
        try:
            getattr(settings_of_app, name)
        except ImproperlyConfigured as error:
            found.append(Error(str(error), hint=hint, id=id_))
    return found


@register
def check_settings(**options: Any) -> list[CheckMessage]:
    return (wrong_settings(conf, _CHECKS) or _check_together()) + _check_names()


@register
def check_second_factor(**options: Any) -> list[CheckMessage]:
    """Without the middleware a session would count although its code is missing."""
    if not apps.is_installed("django.contrib.admin") or _MIDDLEWARE in settings.MIDDLEWARE:
        return []
    message = _("%s is missing in MIDDLEWARE, so second factors do not protect sessions.")
    hint = _("List it after AuthenticationMiddleware.")
    return [Error(message % _MIDDLEWARE, hint=hint, id="operations.E035")]


@register(Tags.database)
def check_node(databases: Iterable[str] | None = None, **options: Any) -> list[CheckMessage]:
    """``migrate`` runs it before it changes anything. On a worker it would create the tables that only the coordinator has."""
    if DEFAULT_DB_ALIAS not in (databases or ()) or not citus.is_worker():
        return []
    message = _("DATABASE_URL names a worker of a Citus cluster, where panels only take reports.")
    hint = _("Run this command on a machine whose DATABASE_URL names the coordinator.")
    return [Error(message, hint=hint, id="operations.E037")]


def _check_names() -> list[CheckMessage]:
    """Warnings for ``XPERT_UNREAD``: unknown names in the environment, each with the most similar setting."""
    found: list[CheckMessage] = []
    for name, nearest in getattr(settings, "XPERT_UNREAD", {}).items():
        hint = _("Did you mean %s?") % nearest if nearest else _("All settings: .env.example.")
        message = _("%s is not a setting of the panel and has no effect.") % name
        found.append(checks.Warning(message, hint=hint, id="operations.W004"))
    return found


def _check_together() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if conf.open_access and conf.has_public_domain:
        found.append(
            checks.Warning(
                _(
                    "OPEN ACCESS IS ON, and the panel has the public domain %s. "
                    "Without that domain, programs on this machine would need no key."
                )
                % conf.domain,
                hint=str(_OPEN_ACCESS_HINT),
                id="operations.W001",
            )
        )
    if conf.open_access and not conf.has_public_domain and conf.listens_beyond_loopback:
        found.append(
            checks.Warning(
                _(
                    "OPEN ACCESS IS ON, and the panel listens on %s, so other machines reach it. "
                    "They need a key. Programs on this machine need none, and neither do requests that "
                    "a proxy on it forwards without X-Forwarded-For."
                )
                % settings.HOST,
                hint=str(_OPEN_ACCESS_HINT),
                id="operations.W003",
            )
        )
    if (
        conf.domain.startswith("https://")
        and conf.has_public_domain
        and getattr(settings, "XPERT_HTTPS", True) is not True
    ):
        found.append(
            checks.Warning(
                _("Links begin with %s, but XPERT_HTTPS is off.") % conf.domain,
                hint=_("Set XPERT_HTTPS=True once the domain is served over HTTPS."),
                id="operations.W002",
            )
        )
    return found

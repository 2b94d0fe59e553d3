"""A setting of the wrong form stops the start with a sentence, not with a traceback."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from .conf import conf

# One id a setting, for good: ids are how an operator silences or finds a check.
_CHECKS = {
    "tracking_enabled": ("traffic.E001", "XPERT_TRAFFIC_TRACKING_ENABLED=True counts reports, False refuses them."),
    "retention_days": ("traffic.E002", "XPERT_TRAFFIC_RETENTION_DAYS=0 keeps records for ever."),
    "domain": ("traffic.E003", "Leave XPERT_DOMAIN empty to use the address that a request came to."),
    "open_access": ("traffic.E004", "XPERT_OPEN_ACCESS=False unless this is a first look on one machine."),
    "reports_need_key": ("traffic.E005", "XPERT_REPORTS_NEED_KEY=True takes reports with an API key only."),
    "rate_reports": ("traffic.E006", "XPERT_RATE_REPORTS=120/min is the default; empty means no limit."),
    "rate_subscriptions": ("traffic.E007", "XPERT_RATE_SUBSCRIPTIONS=60/min is the default; empty means no limit."),
    "rate_address": ("traffic.E008", "XPERT_RATE_ADDRESS=1200/min is the default; empty means no limit."),
    "trusted_proxies": ("traffic.E009", "XPERT_TRUSTED_PROXIES=1 behind one nginx, 0 without a proxy."),
    "time_zone": ("traffic.E010", "XPERT_TIME_ZONE=UTC is the default."),
    "https": ("traffic.E011", "XPERT_HTTPS=True when the panel is served over HTTPS."),
    "log_level": ("traffic.E012", "XPERT_LOG_LEVEL=INFO is the default."),
    "allowed_hosts": (
        "traffic.E013",
        "XPERT_ALLOWED_HOSTS=panel.example.com, without scheme and port; empty = the domain and loopback.",
    ),
    "log_format": ("traffic.E014", "XPERT_LOG_FORMAT=text is the default."),
    "telegram_url": ("traffic.E030", "XPERT_TELEGRAM_URL=https://api.telegram.org is the default."),
    "backup_folder": ("traffic.E020", "XPERT_BACKUP_FOLDER=data/backups is the default."),
}


def wrong_settings(settings_of_app: object, known: Mapping[str, tuple[str, str]]) -> list[CheckMessage]:
    """An error for each typed setting that cannot be read. ``known``: id of the check and hint, by property."""
    found: list[CheckMessage] = []
    for name, (id_, hint) in known.items():
        try:
            getattr(settings_of_app, name)
        except ImproperlyConfigured as error:
            found.append(Error(str(error), hint=hint, id=id_))
    return found


@register
def check_settings(**options: Any) -> list[CheckMessage]:
    return wrong_settings(conf, _CHECKS) or _check_together()


def _check_together() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if conf.open_access and conf.has_public_domain:
        found.append(
            checks.Warning(
                _("XPERT_OPEN_ACCESS is on for the public domain %s: ANYBODY can invent users and report for them.")
                % conf.domain,
                hint=_("Set XPERT_OPEN_ACCESS=False and make subscribers in the admin or with create_subscriber."),
                id="traffic.W001",
            )
        )
    if (
        conf.domain.startswith("https://")
        and conf.has_public_domain
        and getattr(settings, "XPERT_HTTPS", True) is not True
    ):
        found.append(
            checks.Warning(
                _("Links say %s, but XPERT_HTTPS is off.") % conf.domain,
                hint=_("Set XPERT_HTTPS=True once the domain is served over HTTPS."),
                id="traffic.W002",
            )
        )
    return found

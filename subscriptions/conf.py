"""Typed settings of ``subscriptions``. Each is read on use, so that tests can override it.

A property raises ImproperlyConfigured with a sentence if the value has the wrong form;
``checks`` turns it into a system check.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from operations.conf import MAX_DAYS, Rate, choice, flag, number, rate
from traffic import conf as traffic_conf

LANGUAGES = ("en", "ru", "fa")
# What XPERT_SOURCES_ALLOW can add to https on a usual port of a public host name.
SOURCES_ALLOW = ("http", "ports", "credentials", "addresses")
# Programs that can judge a template.
CORES = ("mihomo", "sing-box", "xray", "v2ray")
_USER_AGENT = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?", re.ASCII)
# Visible ASCII only, because the URL is sent as a header.
_URL = re.compile(r"(?:https?|tg)://[!-~]{1,500}", re.ASCII | re.IGNORECASE)


def url(name: str) -> str:
    """An absolute URL that apps can open, or an empty string."""
    value = getattr(settings, name, "") or ""
    if not is_url(value):
        raise ImproperlyConfigured(
            f"{name} takes a URL that begins with https://, http:// or tg://, not {value!r}."
        )
    return str(value)


def is_url(value: object) -> bool:
    """Whether apps can open it as a URL; so is an empty text."""
    return value == "" or (isinstance(value, str) and _URL.fullmatch(value) is not None)


def _core(path: str) -> str:
    """The name of the program at a path, by the beginning of its file's name."""
    file = PurePosixPath(path)
    return next((core for core in CORES if file.is_absolute() and file.name.startswith(core)), "")


def names(name: str, *, choices: tuple[str, ...]) -> frozenset[str]:
    value = frozenset(getattr(settings, name, ()))
    if unknown := value - set(choices):
        raise ImproperlyConfigured(
            f"{name} takes some of {', '.join(choices)}, not {', '.join(sorted(unknown))}."
        )
    return value


class Settings(traffic_conf.Settings):
    @property
    def userinfo_total(self) -> str:
        """How ``total`` is filled for a subscriber without a data limit."""
        return choice("XPERT_USERINFO_TOTAL", default="auto", choices=("auto", "used", "quota"))

    @property
    def tell_people(self) -> bool:
        """Whether subscribers may choose to be notified when their subscription runs out."""
        return flag("XPERT_TELL_PEOPLE", default=False)

    @property
    def support_url(self) -> str:
        return url("XPERT_SUPPORT_URL")

    @property
    def profile_web_page_url(self) -> str:
        return url("XPERT_PROFILE_WEB_PAGE_URL")

    @property
    def hits_enabled(self) -> bool:
        return flag("XPERT_HITS_ENABLED", default=True)

    @property
    def hits_retention_days(self) -> int:
        return number("XPERT_HITS_RETENTION_DAYS", default=30, least=1, most=MAX_DAYS)

    @property
    def devices_without_id(self) -> str:
        """Whether apps that send no ``x-hwid`` get the list of a subscriber whose devices are limited."""
        return choice("XPERT_DEVICES_WITHOUT_ID", default="allow", choices=("allow", "refuse"))

    @property
    def devices_retention_days(self) -> int:
        """Days after which a device that was not seen is forgotten; 0 = never."""
        return number("XPERT_DEVICES_RETENTION_DAYS", default=0, least=0, most=MAX_DAYS)

    @property
    def allow_private_sources(self) -> bool:
        """Whether sources and their servers may have private addresses."""
        return flag("XPERT_ALLOW_PRIVATE_SOURCES", default=False)

    @property
    def sources_allow(self) -> frozenset[str]:
        return names("XPERT_SOURCES_ALLOW", choices=SOURCES_ALLOW)

    @property
    def sources_user_agent(self) -> str:
        """The User-Agent for sources: many send a list of links only to v2rayNG."""
        value = getattr(settings, "XPERT_SOURCES_USER_AGENT", "") or "v2rayNG/1.10.5"
        if not (isinstance(value, str) and _USER_AGENT.fullmatch(value)):
            raise ImproperlyConfigured("XPERT_SOURCES_USER_AGENT takes 1 to 200 ASCII characters.")
        return value

    @property
    def sources_max_mb(self) -> int:
        """Maximum size of a source's unpacked list in MiB."""
        return number("XPERT_SOURCES_MAX_MB", default=5, least=1, most=64)

    @property
    def down_nodes(self) -> str:
        """Whether servers that do not answer come last in the list, or are left out."""
        return choice("XPERT_DOWN_NODES", default="last", choices=("last", "hide"))

    @property
    def server_checks(self) -> int:
        """Checks in a row after which a server counts as down, or as up again."""
        return number("XPERT_SERVER_CHECKS", default=3, least=1, most=100)

    @property
    def cores(self) -> Mapping[str, str] | None:
        """Programs that judge templates, by name; None: those that are found on PATH."""
        value = getattr(settings, "XPERT_CORES", ()) or ()
        if tuple(value) == ("off",):
            return {}
        found = {_core(path): path for path in value}
        if "" in found:
            raise ImproperlyConfigured(
                f"XPERT_CORES takes off, or absolute paths of {', '.join(CORES)}, not {found['']!r}."
            )
        return found or None

    @property
    def language(self) -> str:
        return choice("XPERT_LANGUAGE", default="en", choices=LANGUAGES)

    @property
    def rate_subscriptions(self) -> Rate | None:
        return rate("XPERT_RATE_SUBSCRIPTIONS", default="60/min")


conf = Settings()

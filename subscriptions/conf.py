"""Typed settings of ``subscriptions``. Each is read when needed, so that tests can override it.

A property raises ImproperlyConfigured with a sentence when the value is of the wrong
form; ``checks`` turns each such sentence into a system check.
"""

import re

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from traffic.conf import choice, flag, number

LANGUAGES = ("en", "ru", "fa")
# What may be allowed of a source's URL beyond https on a usual port of a public host name.
SOURCES_ALLOW = ("http", "ports", "credentials", "addresses")
_USER_AGENT = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?", re.ASCII)
# Visible ASCII only: the URL goes out as a header.
_URL = re.compile(r"(?:https?|tg)://[!-~]{1,500}", re.ASCII | re.IGNORECASE)


def url(name: str) -> str:
    """An absolute URL that apps can open, or nothing."""
    value = getattr(settings, name, "")
    if value and not (isinstance(value, str) and _URL.fullmatch(value)):
        raise ImproperlyConfigured(f"{name} takes a URL that begins with https://, http:// or tg://, not {value!r}.")
    return str(value or "")


def names(name: str, *, choices: tuple[str, ...]) -> frozenset[str]:
    value = frozenset(getattr(settings, name, ()))
    if unknown := value - set(choices):
        raise ImproperlyConfigured(f"{name} takes some of {', '.join(choices)}, not {', '.join(sorted(unknown))}.")
    return value


class Settings:
    """The settings of ``subscriptions``, one typed property each."""

    @property
    def userinfo_total(self) -> str:
        """How ``total`` is filled for a subscriber without a data limit."""
        return choice("XPERT_USERINFO_TOTAL", default="auto", choices=("auto", "used", "quota"))

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
        return number("XPERT_HITS_RETENTION_DAYS", default=30, least=1, most=3650)

    @property
    def allow_private_sources(self) -> bool:
        """Sources, and the servers they name, may be at private addresses."""
        return flag("XPERT_ALLOW_PRIVATE_SOURCES", default=False)

    @property
    def sources_allow(self) -> frozenset[str]:
        return names("XPERT_SOURCES_ALLOW", choices=SOURCES_ALLOW)

    @property
    def sources_user_agent(self) -> str:
        """Who sources think asks: many send a list of links to v2rayNG only."""
        value = getattr(settings, "XPERT_SOURCES_USER_AGENT", "") or "v2rayNG/1.10.5"
        if not (isinstance(value, str) and _USER_AGENT.fullmatch(value)):
            raise ImproperlyConfigured("XPERT_SOURCES_USER_AGENT takes 1 to 200 ASCII characters.")
        return value

    @property
    def sources_max_mb(self) -> int:
        """MiB that a source's list may have, unpacked."""
        return number("XPERT_SOURCES_MAX_MB", default=5, least=1, most=64)

    @property
    def down_nodes(self) -> str:
        """Whether servers that don't answer go last in the list, or leave it."""
        return choice("XPERT_DOWN_NODES", default="last", choices=("last", "hide"))

    @property
    def language(self) -> str:
        return choice("XPERT_LANGUAGE", default="en", choices=LANGUAGES)


conf = Settings()

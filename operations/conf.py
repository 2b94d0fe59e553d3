"""Typed settings with their defaults. Each is read on use, so that tests can override it.

A property raises ImproperlyConfigured with a sentence if the value has the wrong form;
``checks`` turns it into a system check.
"""

import re
from pathlib import Path
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from . import base_paths
from .addresses import parse_address
from .proxy_urls import Proxy, parsed

# The longest window, retention and age of a key, in days.
MAX_DAYS = 3650

# The placeholder in the guide's .env, which is not a real domain.
PLACEHOLDER_DOMAIN = "your-domain.com"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})

# Languages of the admin.
PANEL_LANGUAGES = {"en": "English", "ru": "Русский"}

_PERIODS = {"sec": 1, "second": 1, "min": 60, "minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(r"([1-9]\d{0,8})/(sec|second|min|minute|hour|day)", re.ASCII)
_HOST = re.compile(r"\*|\[[0-9a-f:.]+\]|\.?[\w.-]+", re.IGNORECASE | re.ASCII)
_DOMAIN = re.compile(
    r"(?:https?://)?(?:\[[0-9a-f:.]+\]|[\w.-]+)(?::\d{1,5})?/?", re.IGNORECASE | re.ASCII
)

_ORIGIN = re.compile(
    r"https?://(?:\[[0-9a-f:.]+\]|[\w.-]+)(?::\d{1,5})?(?:/[\w./~-]*)?", re.IGNORECASE | re.ASCII
)


class Rate(NamedTuple):
    requests: int
    seconds: int


def flag(name: str, *, default: bool) -> bool:
    value = getattr(settings, name, default)
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"{name} takes True or False, not {value!r}.")
    return value


def number(name: str, *, default: int, least: int, most: int) -> int:
    value = getattr(settings, name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ImproperlyConfigured(
            f"{name} takes a whole number from {least} to {most}, not {value!r}."
        )
    return value


def choice(name: str, *, default: str, choices: tuple[str, ...]) -> str:
    value = getattr(settings, name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} takes one of {', '.join(choices)}, not {value!r}.")
    return cast(str, value)


def rate(name: str, *, default: str) -> Rate | None:
    value = getattr(settings, name, default)
    if not value:
        return None
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ImproperlyConfigured(
            f"{name} takes a rate like 120/min (sec, min, hour, day) or nothing, not {value!r}."
        )
    return Rate(int(found[1]), _PERIODS[found[2]])


class Settings:
    """The settings of ``operations``; the other apps extend this class."""

    @property
    def domain(self) -> str:
        """Public origin such as ``https://your-domain.com``, without a trailing slash; empty if none is set."""
        value = getattr(settings, "XPERT_DOMAIN", "")
        if not value:
            return ""
        if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
            raise ImproperlyConfigured(
                f"XPERT_DOMAIN takes a domain like your-domain.com or https://your-domain.com, not {value!r}."
            )
        origin = value if "://" in value else f"https://{value}"
        return origin.rstrip("/")

    @property
    def base_path(self) -> str:
        """The path below which everything lives, such as ``/panel``; empty at the root of the site."""
        value = getattr(settings, "XPERT_BASE_PATH", "")
        found = base_paths.cleaned(value) if isinstance(value, str) else None
        if found is None:
            raise ImproperlyConfigured(
                "XPERT_BASE_PATH takes a path like /panel, of letters, digits and . _ ~ - between slashes,"
                f" not {value!r}."
            )
        return found

    def public_url(self, own: str) -> str:
        """Where people and programs reach the panel. ``own``: the origin of the request, for lack of XPERT_DOMAIN."""
        return f"{self.domain or own}{self.base_path}"

    @property
    def has_public_domain(self) -> bool:
        host = self.domain.partition("://")[2].lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        return bool(host) and name not in LOOPBACK_NAMES and name != PLACEHOLDER_DOMAIN

    @property
    def listens_beyond_loopback(self) -> bool:
        """Whether other machines reach the panel directly. Without HOST this is unknown, so False."""
        host = str(getattr(settings, "HOST", "") or "localhost").strip("[]").lower()
        address = parse_address(host)
        return host not in LOOPBACK_NAMES if address is None else not address.is_loopback

    @property
    def open_access(self) -> bool:
        return flag("XPERT_OPEN_ACCESS", default=False)

    @property
    def rate_address(self) -> Rate | None:
        return rate("XPERT_RATE_ADDRESS", default="1200/min")

    @property
    def require_second_factor(self) -> bool:
        """Whether staff without a second factor see nothing but the page where they set one up."""
        return flag("XPERT_REQUIRE_SECOND_FACTOR", default=False)

    @property
    def rate_login(self) -> Rate | None:
        return rate("XPERT_RATE_LOGIN", default="60/hour")

    @property
    def trusted_proxies(self) -> int:
        return number("XPERT_TRUSTED_PROXIES", default=0, least=0, most=10)

    @property
    def https(self) -> bool:
        return flag("XPERT_HTTPS", default=False)

    @property
    def log_level(self) -> str:
        return choice(
            "XPERT_LOG_LEVEL", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR")
        )

    @property
    def log_format(self) -> str:
        return choice("XPERT_LOG_FORMAT", default="text", choices=("text", "json"))

    @property
    def allowed_hosts(self) -> list[str]:
        """Bare host names, because Django compares them with the Host header without scheme and port."""
        names = list(getattr(settings, "XPERT_ALLOWED_HOSTS", []))
        for name in names:
            if not _HOST.fullmatch(name):
                raise ImproperlyConfigured(
                    f"XPERT_ALLOWED_HOSTS takes names like panel.example.com, not {name!r}."
                )
        return names

    @property
    def backup_folder(self) -> Path:
        """The folder of ``backup_traffic``."""
        value = getattr(settings, "XPERT_BACKUP_FOLDER", "data/backups")
        if not isinstance(value, str) or not value or Path(value).is_file():
            raise ImproperlyConfigured(
                f"XPERT_BACKUP_FOLDER takes a folder like data/backups, not {value!r}."
            )
        return Path(value)

    @property
    def telegram_url(self) -> str:
        """URL of Telegram's Bot API, without a trailing slash."""
        value = getattr(settings, "XPERT_TELEGRAM_URL", "https://api.telegram.org")
        if not isinstance(value, str) or not _ORIGIN.fullmatch(value):
            raise ImproperlyConfigured(
                f"XPERT_TELEGRAM_URL takes a URL like https://api.telegram.org, not {value!r}."
            )
        return value.rstrip("/")

    @property
    def telegram_proxy(self) -> Proxy | None:
        """The proxy through which Telegram is reached. Its URL may hold a password, so no message shows it."""
        value = getattr(settings, "XPERT_TELEGRAM_PROXY", "")
        found = parsed(value) if isinstance(value, str) else None
        if value and found is None:
            raise ImproperlyConfigured(
                "XPERT_TELEGRAM_PROXY takes http://, https:// or socks5://user:password@host:port."
            )
        return found

    @property
    def allow_private_receivers(self) -> bool:
        """Whether webhooks of notifications may be in the operator's own network."""
        return flag("XPERT_ALLOW_PRIVATE_RECEIVERS", default=False)

    @property
    def time_zone(self) -> ZoneInfo:
        """Time zone in which the days, weeks and months of data limits begin."""
        name = getattr(settings, "XPERT_TIME_ZONE", "UTC")
        if name not in available_time_zones():
            raise ImproperlyConfigured(
                f"XPERT_TIME_ZONE takes a zone like Europe/Moscow, not {name!r}."
            )
        return ZoneInfo(name)


_zones: frozenset[str] = frozenset()


def available_time_zones() -> frozenset[str]:
    """Names of all zones, cached because reading them walks a folder."""
    global _zones
    _zones = _zones or frozenset(available_timezones())
    return _zones


conf = Settings()

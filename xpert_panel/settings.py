"""The only reader of the environment. ``.env.example`` documents each variable.

A malformed value is kept as text. The system checks of the apps then name the variable and
what it accepts, instead of a traceback here.
"""

import contextlib
import difflib
import os
import re
import sys
import warnings
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.templatetags.static import static

from operations.base_paths import cleaned

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
XPERT_ENV_FILE = str(os.environ.get("XPERT_ENV_FILE", BASE_DIR / ".env"))
_given = set(os.environ)
env.read_env(XPERT_ENV_FILE)
_from_env_file = set(os.environ) - _given
# Names that are read here and in script/server; all others are misspelt or belong to another program.
_known = {"XPERT_ENV_FILE", "XPERT_METRICS_FOLDER"}


def stripped(name: str, default: str) -> str:
    _known.add(name)
    value: str = env.str(name, default=default)
    return value.strip()


def text(name: str, default: str = "") -> str:
    return stripped(name, default) or default


def flag(name: str, *, default: bool) -> bool | str:
    value = text(name, str(default))
    return {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }.get(value.lower(), value)


def number(name: str, default: int) -> int | str:
    value = text(name, str(default))
    return int(value) if value.isascii() and value.removeprefix("-").isdigit() else value


def names(name: str) -> list[str]:
    return [part.strip() for part in text(name).split(",") if part.strip()]


def url_settings(name: str, read: Any) -> dict[str, Any]:
    """Settings of a database or cache from its URL; a malformed URL stops the start with a sentence."""
    try:
        with warnings.catch_warnings(action="ignore"):  # our own message is clearer
            return dict(read(name))
    except (environ.ImproperlyConfigured, ValueError, KeyError):
        sys.exit(f"{name} is not a URL this panel can read; see .env.example for its form.")


# --- Xpert: typed and checked by the conf modules of the apps ---------

XPERT_TRAFFIC_TRACKING_ENABLED = flag("XPERT_TRAFFIC_TRACKING_ENABLED", default=True)
XPERT_TRAFFIC_DB_PATH = text("XPERT_TRAFFIC_DB_PATH", "data/traffic_stats.db")
XPERT_TRAFFIC_RETENTION_DAYS = number("XPERT_TRAFFIC_RETENTION_DAYS", 0)
XPERT_DOMAIN = text("XPERT_DOMAIN")
XPERT_BASE_PATH = text("XPERT_BASE_PATH")
XPERT_OPEN_ACCESS = flag("XPERT_OPEN_ACCESS", default=False)
XPERT_REPORTS_NEED_KEY = flag("XPERT_REPORTS_NEED_KEY", default=False)
XPERT_RATE_REPORTS = stripped("XPERT_RATE_REPORTS", "120/min")
XPERT_MAX_GB_PER_HOUR = number("XPERT_MAX_GB_PER_HOUR", 5000)
XPERT_NEW_SERVERS = stripped("XPERT_NEW_SERVERS", "50/day")
XPERT_SWITCH_OFF_AFTER_DAYS = number("XPERT_SWITCH_OFF_AFTER_DAYS", 0)
XPERT_DELETE_AFTER_DAYS = number("XPERT_DELETE_AFTER_DAYS", 0)
XPERT_RATE_SUBSCRIPTIONS = stripped("XPERT_RATE_SUBSCRIPTIONS", "60/min")
XPERT_RATE_ADDRESS = stripped("XPERT_RATE_ADDRESS", "1200/min")
XPERT_REQUIRE_SECOND_FACTOR = flag("XPERT_REQUIRE_SECOND_FACTOR", default=False)
XPERT_RATE_LOGIN = stripped("XPERT_RATE_LOGIN", "60/hour")
XPERT_TRUSTED_PROXIES = number("XPERT_TRUSTED_PROXIES", 0)
XPERT_HTTPS = flag("XPERT_HTTPS", default=False)
XPERT_ALLOWED_HOSTS = names("XPERT_ALLOWED_HOSTS")
XPERT_CORS_ORIGINS = names("XPERT_CORS_ORIGINS")
XPERT_TIME_ZONE = text("XPERT_TIME_ZONE", "UTC")
XPERT_LANGUAGE = text("XPERT_LANGUAGE", "en")
XPERT_USERINFO_TOTAL = text("XPERT_USERINFO_TOTAL", "auto")
XPERT_TELL_PEOPLE = flag("XPERT_TELL_PEOPLE", default=False)
XPERT_SUPPORT_URL = text("XPERT_SUPPORT_URL")
XPERT_PROFILE_WEB_PAGE_URL = text("XPERT_PROFILE_WEB_PAGE_URL")
XPERT_HITS_ENABLED = flag("XPERT_HITS_ENABLED", default=True)
XPERT_HITS_RETENTION_DAYS = number("XPERT_HITS_RETENTION_DAYS", 30)
XPERT_DEVICES_WITHOUT_ID = text("XPERT_DEVICES_WITHOUT_ID", "allow")
XPERT_DEVICES_RETENTION_DAYS = number("XPERT_DEVICES_RETENTION_DAYS", 0)
XPERT_ALLOW_PRIVATE_SOURCES = flag("XPERT_ALLOW_PRIVATE_SOURCES", default=False)
XPERT_SOURCES_ALLOW = names("XPERT_SOURCES_ALLOW")
XPERT_SOURCES_USER_AGENT = text("XPERT_SOURCES_USER_AGENT")
XPERT_SOURCES_MAX_MB = number("XPERT_SOURCES_MAX_MB", 5)
XPERT_DOWN_NODES = text("XPERT_DOWN_NODES", "last")
XPERT_CORES = names("XPERT_CORES")
XPERT_SERVER_CHECKS = number("XPERT_SERVER_CHECKS", 3)
XPERT_ALLOW_PRIVATE_RECEIVERS = flag("XPERT_ALLOW_PRIVATE_RECEIVERS", default=False)
XPERT_MARZBAN_NODE_LISTEN = text("XPERT_MARZBAN_NODE_LISTEN", "127.0.0.1:62060")
XPERT_MARZBAN_NODE_API = text("XPERT_MARZBAN_NODE_API", "127.0.0.1:62061")
XPERT_TELEGRAM_TOKEN = text("XPERT_TELEGRAM_TOKEN")
XPERT_TELEGRAM_PROXY = text("XPERT_TELEGRAM_PROXY")
XPERT_TELEGRAM_URL = text("XPERT_TELEGRAM_URL", "https://api.telegram.org")
XPERT_LOG_LEVEL = text("XPERT_LOG_LEVEL", "INFO").upper()
XPERT_LOG_FORMAT = text("XPERT_LOG_FORMAT", "text").lower()

XPERT_MARZBAN_URL = text("XPERT_MARZBAN_URL")
# Relative to the checkout, whatever the working directory is.
XPERT_BACKUP_FOLDER = str(BASE_DIR / text("XPERT_BACKUP_FOLDER", "data/backups"))
# Beside the database, but not in its backups: so a restored database is recognised.
XPERT_MARZBAN_FOLDER = str((BASE_DIR / XPERT_TRAFFIC_DB_PATH).parent / "marzban")
# Beside the database too, whichever it is: each machine has its own.
XPERT_SPOOL_FOLDER = str((BASE_DIR / XPERT_TRAFFIC_DB_PATH).parent / "spool")

HOST = text("HOST", "127.0.0.1")
PORT = number("PORT", 8000)
WEB_CONCURRENCY = number("WEB_CONCURRENCY", 1)

# --- Django ------------------------------------------------------------------

DEBUG = flag("DEBUG", default=False)
if not isinstance(DEBUG, bool):
    sys.exit(f"DEBUG takes True or False, not {DEBUG!r}.")
SECRET_KEY = text("SECRET_KEY")
if not SECRET_KEY:
    sys.exit(
        "SECRET_KEY is missing. script/server writes one into .env; if XPERT_ENV_FILE names another "
        "file, or the environment holds an empty SECRET_KEY, set it there."
    )

_domain = XPERT_DOMAIN.split("://", 1)[-1].rstrip("/")
_domain_host = _domain if _domain.startswith("[") else _domain.partition(":")[0]
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = (
    [*XPERT_ALLOWED_HOSTS, *LOOPBACK_HOSTS]
    if XPERT_ALLOWED_HOSTS
    else [_domain_host, *LOOPBACK_HOSTS]
)
ALLOWED_HOSTS = [host for host in ALLOWED_HOSTS if host]

INSTALLED_APPS = [
    "operations",  # before the theme, because it replaces one of its templates
    "unfold.apps.BasicAppConfig",  # before the admin, whose templates it replaces
    "operations.apps.PanelAdminConfig",  # the admin, with a site of its own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "axes",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "traffic",
    "subscriptions",
    "integrations.moving",
    "integrations.marzban",
    "integrations.three_x_ui",
    "integrations.pulls",
    "integrations.telegram",
    "gateways",
]

MIDDLEWARE = [
    "operations.http.middleware.RequestLogMiddleware",
    "operations.http.middleware.TrustedProxyMiddleware",
    "operations.http.middleware.ContentPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Without allowed origins it would only add "origin" to every Vary header.
    *(["corsheaders.middleware.CorsMiddleware"] if XPERT_CORS_ORIGINS else []),
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "subscriptions.serving.middleware.SubscriptionHitMiddleware",
    # The rest is for pages only; this middleware takes the requests of programs past it.
    "operations.http.programs.ProgramsMiddleware",
    "operations.http.middleware.AdminMethodsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "operations.http.middleware.PanelLocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "operations.http.second_factor.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "xpert_panel.urls"
WSGI_APPLICATION = "xpert_panel.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The form of a group has one field per subscriber.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _sqlite() -> dict[str, Any]:
    path = BASE_DIR / XPERT_TRAFFIC_DB_PATH
    with contextlib.suppress(OSError):  # script/server reports an unusable folder
        path.parent.mkdir(parents=True, exist_ok=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # a writer queues at BEGIN instead of failing at its first write
            "timeout": 5,
            # FULL: a commit is on disk before the answer is sent.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
        },
    }


def _postgresql(name: str, otherwise: str) -> dict[str, Any]:
    found = url_settings(name, env.db_url)
    if found.get("ENGINE") != "django.db.backends.postgresql":
        sys.exit(f"{name} takes postgres://…; leave it empty for {otherwise}.")
    options = found.setdefault("OPTIONS", {})
    # Citus needs the first option for statements over several shards; plain PostgreSQL ignores it. With lock_timeout
    # a stalled writer does not block the others for ever.
    options["options"] = "-c citus.multi_shard_modify_mode=sequential -c lock_timeout=10s"
    return found | {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}


def _replica() -> dict[str, Any]:
    """A replica of ``DATABASE_URL``, on which nothing can be changed by mistake."""
    if not text("DATABASE_URL"):
        sys.exit("DATABASE_URL_READ names a replica of DATABASE_URL, which is empty.")
    found = _postgresql("DATABASE_URL_READ", "none")
    found["OPTIONS"]["options"] += " -c default_transaction_read_only=on"
    found["OPTIONS"].setdefault("connect_timeout", 3)
    return found | {"TEST": {"MIRROR": "default"}}


DATABASES = {
    "default": _postgresql("DATABASE_URL", "SQLite in XPERT_TRAFFIC_DB_PATH")
    if text("DATABASE_URL")
    else _sqlite()
}
if text("DATABASE_URL_READ"):
    DATABASES["read"] = _replica()
    DATABASE_ROUTERS = ["operations.databases.replica.Router"]

CACHES = {
    "default": url_settings("CACHE_URL", env.cache_url)
    if text("CACHE_URL")
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 200_000},
    }
}

AUTHENTICATION_BACKENDS = [
    "operations.admin.signing_in.AddressLimit",
    "axes.backends.AxesStandaloneBackend",
    "traffic.backends.ResellerBackend",
    "operations.admin.signing_in.StaffBackend",
    # Nobody signs in with it any more: it keeps the sessions of older versions alive.
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# Failed logins lock one user name from one address. Other names, and the same name from elsewhere, are not affected.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "operations.admin.signing_in.client_ip"
AXES_LOCKOUT_CALLABLE = "operations.admin.signing_in.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # Django's last_login is enough for successful logins
AXES_ENABLE_ADMIN = False
# Codes of the second factor are as secret as passwords.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code"]
AXES_VERBOSE = False  # otherwise each command prints a line about it first

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Without EMAIL_URL the mail server of this machine is used, if there is one.
globals().update(url_settings("EMAIL_URL", env.email_url) if text("EMAIL_URL") else {})
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = text("EMAIL_FROM", f"xpert-panel@{_domain_host or 'localhost'}")

LANGUAGES = [("en", "English"), ("ru", "Русский"), ("fa", "فارسی")]
LANGUAGE_CODE = XPERT_LANGUAGE if XPERT_LANGUAGE in dict(LANGUAGES) else "en"
LOCALE_PATHS = [
    BASE_DIR / "xpert_panel" / "locale"
]  # translations of the theme; the apps have their own
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

_BLUE = {
    "50": "oklch(97% .014 254.604)",
    "100": "oklch(93.2% .032 255.585)",
    "200": "oklch(88.2% .059 254.128)",
    "300": "oklch(80.9% .105 251.813)",
    "400": "oklch(70.7% .165 254.624)",
    "500": "oklch(62.3% .214 259.815)",
    "600": "oklch(54.6% .245 262.881)",
    "700": "oklch(48.8% .243 264.376)",
    "800": "oklch(42.4% .199 265.638)",
    "900": "oklch(37.9% .146 265.522)",
    "950": "oklch(28.2% .091 267.935)",
}

# Files that are served as they are, from the root of the site: the agent. script/server makes them.
PUBLIC_FOLDER = BASE_DIR / "run" / "public"
WHITENOISE_ROOT = str(PUBLIC_FOLDER) if PUBLIC_FOLDER.is_dir() else None
WHITENOISE_MIMETYPES = {".pyz": "application/octet-stream", ".sha256": "text/plain"}

# A malformed one is reported by the system check operations.E036.
_base_path = cleaned(XPERT_BASE_PATH) or ""
FORCE_SCRIPT_NAME = _base_path or None
if _base_path:
    # Another program at the root of the domain may use Django's usual names, and browsers would send both.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "xpert_sessionid", "xpert_csrftoken"
    LANGUAGE_COOKIE_NAME = "xpert_language"
    SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = LANGUAGE_COOKIE_PATH = f"{_base_path}/"

STATIC_URL = f"{_base_path}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# The theme of the admin. The admin classes declare the entries of the sidebar.
UNFOLD = {
    "SITE_TITLE": "Xpert Panel",
    "SITE_HEADER": "Xpert Panel",
    "SITE_SYMBOL": "monitoring",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("operations/icon.svg"),
        }
    ],
    "STYLES": [lambda _request: static("operations/phone.css")],
    "SCRIPTS": [
        lambda _request: static("operations/once.js"),
        lambda _request: static("operations/tables.js"),
        lambda _request: static("operations/accessible.js"),
    ],
    "SITE_URL": None,  # the panel is its own site: "/" leads back here
    "DASHBOARD_CALLBACK": "traffic.admin.dashboard.dashboard",
    "SIDEBAR": {
        "navigation": "operations.admin.navigation.sidebar",
        "show_search": True,
        "command_search": True,
    },
    "COMMAND": {"search_callback": "traffic.admin.search.found"},
    "ACCOUNT": {"navigation": "operations.admin.second_factor_pages.account_links"},
    "SHOW_LANGUAGES": True,
    "LANGUAGES": {"navigation": "operations.admin.navigation.languages"},
    "COLORS": {"primary": _BLUE},
}

# --- Edge --------------------------------------------------------------------

# Set by TrustedProxyMiddleware from the headers of trusted proxies; no client can send this key.
SECURE_PROXY_SSL_HEADER = ("XPERT_CLIENT_SCHEME", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = SECURE_SSL_REDIRECT = (
    XPERT_HTTPS is True
)
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
_root = re.escape(f"{_base_path}/"[1:])
SECURE_REDIRECT_EXEMPT = [rf"^{_root}(healthz|readyz)/?$"]  # local probes use http
SECURE_HSTS_SECONDS = 31_536_000 if XPERT_HTTPS is True else 0
# Other services on the domain may lack HTTPS, so the operator decides about W005 and W021.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if XPERT_HTTPS is not True:
    # Without HTTPS by choice (a first look, or TLS elsewhere) these four checks are noise.
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "operations.http.error_pages.csrf_failure"
CSRF_TRUSTED_ORIGINS = [f"https://{_domain}", f"http://{_domain}"] if _domain else []

CORS_ALLOWED_ORIGINS = XPERT_CORS_ORIGINS
CORS_URLS_REGEX = r"^/api/xpert/.*$"
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-type", "content-encoding", "x-api-key", "idempotency-key", "x-csrftoken",
]  # fmt: skip
CORS_EXPOSE_HEADERS = [
    "Subscription-Userinfo", "Profile-Title", "Profile-Update-Interval", "Traffic-Webhook", "User-Token",
    "Content-Disposition", "ETag", "Retry-After",
]  # fmt: skip

REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Xpert Panel",
    "DESCRIPTION": "Traffic of external VPN servers: reports in, statistics and subscriptions out.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/xpert",
    **({"SERVERS": [{"url": _base_path}]} if _base_path else {}),
    "ENUM_NAME_OVERRIDES": {
        "SubscriberStatusEnum": "subscriptions.api.subscriber_fields.STATUSES",
        "LimitScopeEnum": "subscriptions.api.subscriber_fields.LIMIT_SCOPES",
    },
    "PREPROCESSING_HOOKS": ["operations.api.schema.without_trailing_slash"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "subscriptions.api.schema.add_subscriptions",
    ],
}

# RequestLogMiddleware writes one line per request, with secrets masked. Django's own request log
# would print whole paths, including tokens, so it only reports errors.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "operations.logs.formatters.TextFormatter"},
        "json": {"()": "operations.logs.formatters.JSONFormatter"},
    },
    "filters": {"client_mistakes": {"()": "operations.logs.formatters.ClientMistakes"}},
    "handlers": {
        "stdout": {
            "class": "operations.logs.handler.BoundedHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json" if XPERT_LOG_FORMAT == "json" else "text",
            "filters": ["client_mistakes"],
        }
    },
    "root": {
        "handlers": ["stdout"],
        "level": XPERT_LOG_LEVEL
        if XPERT_LOG_LEVEL in {"DEBUG", "INFO", "WARNING", "ERROR"}
        else "INFO",
    },
    "loggers": {
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        "django.request": {"level": "CRITICAL", "propagate": True},
        "axes": {"level": "WARNING", "propagate": True},  # failed logins only
        "django.server": {"handlers": [], "level": "CRITICAL", "propagate": False},
    },
}


# --- Unknown settings --------------------------------------------------------


def unread(environment: Iterable[str], from_env_file: Iterable[str]) -> dict[str, str]:
    """Names that have no effect, each with the most similar setting.

    Every ``XPERT_…`` name is ours. Other names in .env may belong to another program, unless they closely resemble a
    setting of ours.
    """
    found: dict[str, str] = {}
    for name in sorted({*environment} - _known):
        nearest = "".join(difflib.get_close_matches(name.upper(), sorted(_known), n=1, cutoff=0.8))
        if name.upper().startswith("XPERT_") or (nearest and name in from_env_file):
            found[name] = nearest
    return found


# Reported by the check operations.W004.
XPERT_UNREAD = unread(os.environ, _from_env_file)

"""The project's settings for tests, independent of the developer's .env and environment."""

import atexit
import os
import secrets
import tempfile
from pathlib import Path

_OURS = {
    "EMAIL_URL",
    "EMAIL_FROM",
    "SECRET_KEY",
    "CACHE_URL",
    "DEBUG",
    "HOST",
    "PORT",
    "WEB_CONCURRENCY",
    "PROMETHEUS_MULTIPROC_DIR",
}
# Says where the tests run, and is none of the panel's.
_KEPT = {"XPERT_TEST_CITUS"}
for _name in [
    name
    for name in os.environ
    if (name.startswith("XPERT_") or name in _OURS) and name not in _KEPT
]:
    del os.environ[_name]

os.environ |= {
    "XPERT_ENV_FILE": os.devnull,
    "SECRET_KEY": "only-for-tests-" + "0123456789abcdef" * 4,
    # Off by default; tests about limits set them.
    "XPERT_RATE_REPORTS": "",
    "XPERT_RATE_SUBSCRIPTIONS": "",
    "XPERT_RATE_ADDRESS": "",
}

from xpert_panel.settings import *  # noqa: E402, F403
from xpert_panel.settings import DATABASES, STORAGES, XPERT_UNREAD  # noqa: E402

for _name in _KEPT:
    XPERT_UNREAD.pop(_name, None)

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not memory, because threads and processes of one test share it, as in production.
    _database = Path(tempfile.gettempdir()) / f"xpert-panel-tests-{secrets.token_hex(8)}.db"
    DATABASES["default"] |= {"NAME": str(_database), "TEST": {"NAME": str(_database)}}

    @atexit.register
    def _remove_database() -> None:
        for path in _database.parent.glob(f"{_database.name}*"):
            path.unlink()


PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Static files come directly from the apps, without collectstatic.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True

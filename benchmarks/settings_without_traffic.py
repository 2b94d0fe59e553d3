"""The same project without the two apps: what memory the traffic app adds is measured against it."""

from xpert_panel.settings import *  # noqa: F403
from xpert_panel.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in {"traffic", "subscriptions"}]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith(("traffic.", "subscriptions."))]
ROOT_URLCONF = "benchmarks.urls_without_traffic"

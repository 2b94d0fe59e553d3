"""The project without ``subscriptions``: what memory the traffic app adds is measured with it."""

from xpert_panel.settings import *  # noqa: F403
from xpert_panel.settings import INSTALLED_APPS, MIDDLEWARE, SPECTACULAR_SETTINGS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "subscriptions"]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("subscriptions.")]
SPECTACULAR_SETTINGS = {name: value for name, value in SPECTACULAR_SETTINGS.items() if name != "POSTPROCESSING_HOOKS"}
ROOT_URLCONF = "benchmarks.urls_with_traffic"

"""The project without ``subscriptions``, to measure the memory of the traffic app."""

from xpert_panel.settings import *  # noqa: F403
from xpert_panel.settings import INSTALLED_APPS, MIDDLEWARE, SPECTACULAR_SETTINGS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "subscriptions"]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("subscriptions.")]
SPECTACULAR_SETTINGS = {
    name: value for name, value in SPECTACULAR_SETTINGS.items() if name != "POSTPROCESSING_HOOKS"
}
ROOT_URLCONF = "benchmarks.urls_with_traffic"

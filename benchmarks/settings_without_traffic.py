"""The same project without both apps, as the reference for the memory of the traffic app."""

from xpert_panel.settings import *  # noqa: F403
from xpert_panel.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [
    app for app in INSTALLED_APPS if app not in {"operations", "traffic", "subscriptions"}
]
MIDDLEWARE = [
    name
    for name in MIDDLEWARE
    if not name.startswith(("operations.", "traffic.", "subscriptions."))
]
ROOT_URLCONF = "benchmarks.urls_without_traffic"

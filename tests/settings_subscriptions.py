"""A minimal project with the app ``subscriptions``, which needs ``traffic``."""

from tests.settings_traffic import *  # noqa: F403
from tests.settings_traffic import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "subscriptions"]
ROOT_URLCONF = "subscriptions.urls"

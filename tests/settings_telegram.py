"""The least that a project needs for the app ``integrations.telegram``, which builds on ``subscriptions``."""

from tests.settings_subscriptions import *  # noqa: F403
from tests.settings_subscriptions import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "integrations.telegram"]

"""The least that a project needs for the app ``integrations.moving``, which builds on ``traffic``."""

from tests.settings_traffic import *  # noqa: F403
from tests.settings_traffic import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "integrations.moving"]

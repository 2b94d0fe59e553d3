"""A minimal project with the app ``traffic``, which needs ``operations``."""

from tests.settings_operations import *  # noqa: F403
from tests.settings_operations import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "traffic"]
ROOT_URLCONF = "traffic.urls"
AUTHENTICATION_BACKENDS = [
    "traffic.backends.ResellerBackend",
    "django.contrib.auth.backends.ModelBackend",
]

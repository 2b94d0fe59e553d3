import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from .base_path import Application, BelowBasePath

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xpert_panel.settings")

application: Application = get_wsgi_application()
if settings.FORCE_SCRIPT_NAME:
    application = BelowBasePath(application, settings.FORCE_SCRIPT_NAME)
# Load all views now, so that the first request after a reload does not wait.
get_resolver()._populate()  # noqa: SLF001  there is no public API

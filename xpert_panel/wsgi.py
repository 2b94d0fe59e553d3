import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xpert_panel.settings")

application = get_wsgi_application()
# Load all views now, so that the first request after a reload does not wait.
get_resolver()._populate()  # noqa: SLF001  there is no public API

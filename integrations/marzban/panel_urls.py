"""The subscription addresses of linked panels: at the root of the site, after everything else."""

from django.urls import re_path

from .views import panel_subscription

app_name = "marzban-panel"

# A token has at least 29 characters. Shorter ones are answered as any unknown address.
_SUBSCRIPTION = (
    r"^(?P<folder>[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)/(?P<token>[A-Za-z0-9._~=-]{20,512})"
    r"(?P<rest>(?:/[A-Za-z0-9._~-]{0,64})?)$"
)
urlpatterns = [re_path(_SUBSCRIPTION, panel_subscription, name="subscription")]

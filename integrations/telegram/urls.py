"""Routes under ``/api/xpert/``, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from .views import link

app_name = "telegram"

urlpatterns: list[URLPattern] = [re_path(r"^telegram-link/?$", link, name="link")]

"""What the pages of subscribers read from a request."""

from urllib.parse import unquote
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from . import subscriber_page


def language(request: HttpRequest) -> str:
    return subscriber_page.chosen_language(
        request.GET.get("lang", ""), request.headers.get("Accept-Language", "")
    )


def zone(request: HttpRequest) -> ZoneInfo:
    return subscriber_page.chosen_zone(
        unquote(request.COOKIES.get(subscriber_page.ZONE_COOKIE, ""))
    )

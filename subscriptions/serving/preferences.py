"""What subscribers choose on their page. Their token is in the address, as on the page, and nobody is created."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.csrf import csrf_exempt

from operations import rate_limits
from operations.api import exceptions, throttling
from operations.api.exceptions import unavailable_errors
from operations.http.programs import for_programs
from subscriptions import telling
from subscriptions.conf import conf
from traffic.models import Subscriber
from traffic.people import subscribers

from . import requests

NOT_STORED = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@for_programs
@csrf_exempt  # only somebody who knows the token can make the address
def tell_me(request: HttpRequest) -> HttpResponse:
    """Begin or end telling this subscriber, then lead back to the page."""
    return answer(request, _tell_me, is_offered=conf.tell_people)


def _tell_me(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    language = requests.language(request)
    if request.GET.get("told") == "yes":
        telling.tell(subscriber.pk, language)
    else:
        telling.tell_no_more(subscriber.pk)
    query = urlencode({"user_token": request.GET["user_token"], "lang": language})
    # 303: the browser then asks for the page with GET.
    page = f"{conf.base_path}/api/xpert/sub?{query}#telling"
    return HttpResponseRedirect(page, status=303, headers=NOT_STORED)


Do = Callable[[HttpRequest, Subscriber], HttpResponse]


def answer(request: HttpRequest, do: Do, *, is_offered: bool) -> HttpResponse:
    """The answer to a form of the page: 405 for other methods, 429 for too many, 404 for an unknown token."""
    if request.method != "POST":
        return exceptions.only_to_send(request.method)
    try:
        return _answer(request, do, is_offered=is_offered)
    except unavailable_errors():
        return exceptions.unavailable()


def _answer(request: HttpRequest, do: Do, *, is_offered: bool) -> HttpResponse:
    if wait := throttling.spend_address(request):
        return exceptions.throttled(wait)
    if not is_offered:
        return _nowhere()
    subscriber = subscribers.find(subscribers.own_token(request.GET.get("user_token", "")))
    if subscriber is None:
        throttling.penalise_address(request)
        return _nowhere()
    if wait := rate_limits.spend("subscription", subscriber.token, conf.rate_subscriptions):
        return exceptions.throttled(wait)
    return do(request, subscriber)


def _nowhere() -> HttpResponse:
    return exceptions.refusal(404, {"detail": "Not found."})

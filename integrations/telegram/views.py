"""The page with a code for the subscriber's Telegram chat, which a button on the subscriber's page makes."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from operations.http.programs import for_programs
from subscriptions.serving import catalogue, preferences, requests, subscriber_page
from subscriptions.serving.preferences import NOT_STORED
from traffic.models import Subscriber

from . import codes, lease, links, page
from .conf import conf


@for_programs
@csrf_exempt  # only somebody who knows the token can make the address
def link(request: HttpRequest) -> HttpResponse:
    """Make a code and show it; with ``forget=yes`` forget the chat and lead back to the page."""
    return preferences.answer(request, _link, is_offered=bool(conf.telegram_token))


def _link(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    language, token = requests.language(request), request.GET["user_token"]
    back = page.back(token, language)
    if request.GET.get("forget") == "yes":
        links.unlink(subscriber)
        return HttpResponseRedirect(back, status=303, headers=NOT_STORED)
    code = codes.for_subscriber(subscriber, language, timezone.now())
    return _shown(request, code, back)


def _shown(request: HttpRequest, code: str, back: str) -> HttpResponse:
    brand = catalogue.brand(catalogue.current_edition())
    frame = subscriber_page.Frame(
        brand.title or "Xpert Panel", requests.language(request), brand, requests.zone(request)
    )
    context = page.code_context(lease.bot().username, code) | {"back": back}
    content = subscriber_page.render_other("telegram/link.html", frame, context)
    fields = {
        "Content-Language": frame.language,
        "Content-Security-Policy": subscriber_page.policy(brand, content),
        "X-Robots-Tag": "noindex",
    }
    return HttpResponse(content, "text/html; charset=utf-8", headers=NOT_STORED | fields)

"""A linked panel's own subscription addresses, with external servers added to what it answers.

Whatever cannot be merged is passed on byte for byte. If the panel does not answer, this one answers 503, and nginx then
asks the panel directly (deploy/nginx-marzban.conf).
"""

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from operations import rate_limits
from operations.addresses import client_address
from operations.api import exceptions, throttling
from operations.api.exceptions import unavailable_errors
from operations.http.middleware import exempt_from_policies
from operations.outbound.exchange import Limits, Request
from operations.outbound.unpacking import Unpacker, coding_of
from subscriptions.conf import conf
from subscriptions.serving import device_headers, headers, hits, public_urls
from subscriptions.serving.clients import client_of
from subscriptions.serving.subscriber_page import chosen_language

from . import merged_lists, subscription_tokens
from .merged_lists import PanelList, Prepared, Reader
from .merging import NotUnderstood
from .models import PanelLink
from .panel_client import MARKER, OpenAnswer
from .subscription_tokens import Person

logger = logging.getLogger(__name__)
# nginx waits 8 seconds for the first byte.
_LIMITS = Limits(connect=1.5, gap=5, total=30, body=64 * 2**20)
# Bytes of an answer that can be merged. A longer one is passed on piece by piece.
_MOST = 2**22
# Questions at once, those with the ones that wait for their turn, and seconds that one waits: a slow panel must not take
# the threads that count traffic. Whoever is turned away gets the panel's own list, without external servers.
_AT_ONCE = 16
_MOST_WAITING = 40
_PATIENCE = 3.0
_NO_LISTS = frozenset({"/info", "/usage"})
# Marzban's own rule for clash-meta. Everything else that gets YAML is one of the last release of Clash.
_CLASH_META = re.compile(r"[Cc]lash-verge|[Cc]lash[-.]?[Mm]eta|[Ff][Ll][Cc]lash|[Mm]ihomo")
# They belong to one connection, are set by us, or would get an answer that cannot be merged.
_NOT_PASSED = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "expect", "content-length", "content-type", "cookie", "authorization", "forwarded", "x-real-ip", "range",
    "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "accept-encoding",
})  # fmt: skip
_NOT_RETURNED = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "trailer", "transfer-encoding", "upgrade", "content-length",
    "date", "server",
})  # fmt: skip
# They describe the body that was changed.
_OF_THE_BODY = frozenset({
    "content-encoding", "etag", "last-modified", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges",
})  # fmt: skip


class _Found(NamedTuple):
    """The panel's whole answer. ``fields``: its headers, in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


_Question = Callable[[], Person | None]


class _Asked(NamedTuple):
    """``rest``: what follows the token in the path."""

    request: HttpRequest
    link: PanelLink
    token: str
    rest: str
    visit: hits.Visit


@csrf_exempt
def panel_subscription(
    request: HttpRequest, folder: str, token: str, rest: str
) -> HttpResponseBase:
    """``folder``: the panel's subscription path."""
    if request.method not in {"GET", "HEAD"}:
        return exceptions.only_to_read(request.method)
    if MARKER in request.headers:
        # Our own question came back, because the link's address leads through this nginx.
        return exceptions.unavailable()
    try:
        return _answer(request, folder, token, rest)
    except unavailable_errors() as error:
        logger.warning("The linked panel's subscriptions are not available: %s", error)
        return exceptions.unavailable()


def _answer(request: HttpRequest, folder: str, token: str, rest: str) -> HttpResponseBase:
    if wait := throttling.spend_address(request):
        return exceptions.throttled(wait)
    link = merged_lists.link_at(folder)
    if link is None:
        raise Http404
    if wait := rate_limits.spend("subscription", token, conf.rate_subscriptions):
        return exceptions.throttled(wait)
    visit = hits.Visit(client_of(request.headers.get("User-Agent", "")).name)
    if rest not in _NO_LISTS:
        request.META[hits.VISIT] = visit
    with ExitStack() as held:
        if not _has_turn(held):
            return exceptions.unavailable()
        return _passed_on(_Asked(request, link, token, rest, visit), held)


def _has_turn(held: ExitStack) -> bool:
    if not _places.acquire(blocking=False):
        return False
    held.callback(_places.release)
    if not _turns.acquire(timeout=_PATIENCE):
        return False
    held.callback(_turns.release)
    return True


def _passed_on(asked: _Asked, held: ExitStack) -> HttpResponseBase:
    """The panel is asked for the person and for the list, and while it works the database is read."""
    person = _question(asked)
    answer = held.enter_context(_opened(asked))
    prepared = _prepared(asked) if person else None
    beginning = answer.receive(_MOST)
    if answer.status == 404:
        throttling.penalise_address(asked.request)
    if not answer.is_complete:
        rest = _Rest(beginning, answer, held.pop_all())
        return _as_the_panel(StreamingHttpResponse(rest, status=answer.status), _fields(answer))
    found = _Found(answer.status, _fields(answer), beginning)
    merged = person and found.status == 200 and _merged(asked, found, person, prepared)
    return merged or _as_the_panel(HttpResponse(found.body, status=found.status), found.fields)


class _Rest:
    """An answer that is too long to be read at once."""

    def __init__(self, beginning: bytes, answer: OpenAnswer, held: ExitStack) -> None:
        self._beginning = beginning
        self._answer = answer
        self._held = held

    def __iter__(self) -> Iterator[bytes]:
        yield self._beginning
        yield from self._answer.pieces()

    def close(self) -> None:
        self._held.close()


def _question(asked: _Asked) -> _Question | None:
    """Asked at the same time as the list. Without it nothing is merged."""
    is_list = asked.request.method == "GET" and asked.rest not in _NO_LISTS
    if not is_list or not subscription_tokens.is_subscription_token(asked.token):
        return None
    try:
        return subscription_tokens.question(asked.link, asked.token)
    except unavailable_errors():
        return None


def _opened(asked: _Asked) -> OpenAnswer:
    request, link = asked.request, asked.link
    query = request.META.get("QUERY_STRING", "")
    path = f"{link.url}/{link.subscription_path}/{asked.token}{asked.rest}"
    passed = {
        name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED
    }
    ours = {
        "X-Forwarded-For": str(client_address(request.META, conf.trusted_proxies) or ""),
        "X-Forwarded-Proto": str(request.scheme),
        "Accept-Encoding": "identity",
        MARKER: "1",
    }
    return OpenAnswer(
        f"{path}?{query}" if query else path,
        Request(str(request.method), passed | ours),
        _LIMITS,
    )


def _fields(answer: OpenAnswer) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in answer.headers:
        if name not in _NOT_RETURNED:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _as_the_panel(response: HttpResponseBase, fields: Mapping[str, str]) -> HttpResponseBase:
    """With the panel's headers alone: if it names no type, neither do we."""
    exempt_from_policies(response)
    del response.headers["Content-Type"]
    for name, value in fields.items():
        response.headers[name.title()] = value
    return response


def _prepared(asked: _Asked) -> Prepared | None:
    name = subscription_tokens.claimed_name(asked.token)
    try:
        return merged_lists.prepared(asked.link, name, timezone.now())
    except Exception as error:  # noqa: BLE001  the panel's answer must not be lost for it
        logger.warning("A person could not be looked up: %s", type(error).__name__)
        return None


def _merged(
    asked: _Asked, found: _Found, question: _Question, prepared: Prepared | None
) -> HttpResponseBase | None:
    """None if the panel's answer must be passed on as it is: in doubt nobody gets external servers."""
    try:
        body = _with_servers(asked, found, question, prepared)
    except NotUnderstood:
        return None
    except Exception as error:  # noqa: BLE001  its text may hold a password
        logger.warning("A list is passed on as it is: %s", type(error).__name__)
        return None
    return _respond(asked, body, found.fields)


def _with_servers(
    asked: _Asked, found: _Found, question: _Question, prepared: Prepared | None
) -> bytes:
    person = question()
    known = person and merged_lists.confirmed(asked.link, person, prepared, timezone.now())
    if not person or not known:
        raise NotUnderstood
    asked.visit.subscriber_id = known.subscriber.pk
    kind = found.fields.get("content-type", "")
    given = PanelList(kind, _unpacked(found), _is_old_clash(asked))
    asked.visit.format = given.format
    if not person.may_connect:
        raise NotUnderstood
    return merged_lists.merge(given, known, _reader(asked.request), timezone.now())


def _reader(request: HttpRequest) -> Reader:
    language = chosen_language("", request.headers.get("Accept-Language", ""))
    return Reader(device_headers.identity(request.headers), language)


def _unpacked(found: _Found) -> bytes:
    """Some proxies compress whatever they are asked."""
    unpacker = Unpacker(coding_of([found.fields.get("content-encoding", "")]), _MOST)
    unpacker.feed(found.body)
    return unpacker.finish()


def _is_old_clash(asked: _Asked) -> bool:
    if asked.rest.strip("/"):
        return asked.rest == "/clash"
    return not _CLASH_META.match(asked.request.headers.get("User-Agent", ""))


def _respond(asked: _Asked, body: bytes, fields: Mapping[str, str]) -> HttpResponseBase:
    request = asked.request
    tag = headers.etag(body)
    origin = public_urls.public_url(f"{request.scheme}://{request.get_host()}")
    kept = {name: value for name, value in fields.items() if name not in _OF_THE_BODY}
    kept |= {
        "etag": tag,
        "traffic-webhook": public_urls.webhook_url(origin),
        "user-token": asked.token,
    }
    if headers.matches(request.headers.get("If-None-Match", ""), tag):
        del kept["content-type"]
        return _as_the_panel(HttpResponseNotModified(), kept)
    return _as_the_panel(HttpResponse(body), kept)


def _begin_afresh() -> None:
    """In the child of a fork: threads of the parent's may have held some."""
    global _places, _turns
    _places, _turns = _new_limits()


def _new_limits() -> tuple[threading.BoundedSemaphore, threading.BoundedSemaphore]:
    return threading.BoundedSemaphore(_MOST_WAITING), threading.BoundedSemaphore(_AT_ONCE)


_places, _turns = _new_limits()
os.register_at_fork(after_in_child=_begin_afresh)

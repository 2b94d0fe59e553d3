"""The log: one line a request, in text or JSON, with secrets masked, and bounded when somebody misbehaves."""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, QueryDict
from django.urls import ResolverMatch

from .addresses import client_address, shortened
from .conf import available_time_zones, conf

# Query parameters, and their values that are no secrets. A zone is looked up: a pattern would let tokens pass.
_HARMLESS = {
    "days": re.compile(r"\d{1,4}", re.ASCII),
    "page": re.compile(r"\d{1,6}", re.ASCII),
    "p": re.compile(r"\d{1,6}", re.ASCII),
    "bucket": re.compile(r"hour|day"),
    "format": re.compile(r"universal|plain|base64|mihomo|clash|sing-box|xray|html|json"),
}
_NAMES = frozenset({*_HARMLESS, "tz", "user_token", "token", "q", "o", "next"})
_PLAIN = frozenset(
    {"api", "xpert", "admin", "static", "traffic-stats", "traffic-webhook", "sub", "direct-configs", "sources"}
)
# Parts of a route that are no secrets, and those that are none when they are numbers.
_OPEN_PARTS = frozenset({"server", "port", "app_label"})
_ID_PARTS = frozenset({"pk", "object_id"})
_MAX_PATH = 300

# Below this many letters a value cannot be told from a word of ours.
_SHORT = 3

# Keys in ``request.META``, which no client can send: the request's id, and the token that its body names.
ID, TOKEN = "traffic.request_id", "traffic.token"

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


@contextmanager
def speaking_of(request: HttpRequest) -> Iterator[None]:
    """Whatever is logged within the block bears the request's id, and none of its secrets."""
    before = _request.set(request)
    try:
        yield
    finally:
        _request.reset(before)


class Answered(NamedTuple):
    """What the line of a request is made of."""

    request: HttpRequest
    method: str
    route: str
    status: int
    milliseconds: float

    def fields(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "route": self.route,
            "path": masked_path(self.request),
            "status": self.status,
            "ms": round(self.milliseconds, 1),
            "token": self.token,
        }

    @property
    def token(self) -> str:
        """Masked; of a report, which names it in its body, else it stands in the path or query."""
        request = self.request
        match = request.resolver_match
        found = request.META.get(TOKEN) or (match.kwargs.get("user_token") if match else None)
        found = found or next((value for name, value in _sent(request) if name == "user_token"), "")
        return masked(found) if found else ""


def write_request(logger: logging.Logger, answered: Answered) -> None:
    """The request's one line."""
    request = answered.request
    token = request.META.get(TOKEN)
    logger.info(
        "%s %s %s %.1fms%s",
        answered.method,
        masked_path(request),
        answered.status,
        answered.milliseconds,
        f" {masked(token)}" if token else "",
        extra={"answered": answered},
    )


class ClientMistakes(logging.Filter):
    """Of what a client got wrong (a false host, too many fields) the sentence is logged: a traceback shows only our code."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):
            record.exc_info = None
        return True


class TextFormatter(logging.Formatter):
    """For a terminal or the journal; the id of the request, when there is one, in brackets at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        id_ = _current_id()
        line = super().formatMessage(record)
        return f"{line} [{id_}]" if id_ else line

    def format(self, record: logging.LogRecord) -> str:
        return _clean(record, super().format(record))


class JSONFormatter(logging.Formatter):
    """One object a line, for programs that collect logs."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _clean(record, record.getMessage()),
        }
        if id_ := _current_id():
            fields["request_id"] = id_
        answered: Answered | None = getattr(record, "answered", None)
        if answered is not None:
            fields |= answered.fields()
        if record.exc_info:
            fields["traceback"] = scrubbed(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def _current_id() -> str:
    request = _request.get()
    return request.META.get(ID, "") if request is not None else ""


# What PostgreSQL says of the values that it refused.
_DETAILS = re.compile(r"(?m)^(DETAIL|CONTEXT|LINE \d+):.*\n?")


def scrubbed(text: str) -> str:
    """``text`` without what the current request holds secret: an error's own words may quote it."""
    text = _DETAILS.sub("", text)
    request = _request.get()
    for secret in sorted(_secrets(request), key=len, reverse=True) if request is not None else ():
        text = text.replace(secret, masked(secret))
    return text


def _clean(record: logging.LogRecord, text: str) -> str:
    """Below a warning only we speak, and of nothing secret."""
    return scrubbed(text) if record.levelno >= logging.WARNING else text


def _secrets(request: HttpRequest) -> set[str]:
    match, meta = request.resolver_match, request.META
    found = set(request.path.split("/")) - _PLAIN if match is None else _secret_segments(match)
    found |= {meta.get(TOKEN, ""), *request.COOKIES.values()}
    found |= {meta.get(name, "").rpartition(" ")[2] for name in ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY")}
    found |= {value for name, value in _sent(request) if not _is_harmless(name, value)}
    return {secret for secret in found if len(secret) > _SHORT}


def _sent(request: HttpRequest) -> Iterator[tuple[str, str]]:
    """Query, and form if it was read already: an error is no moment to read on."""
    try:
        queries = [request.GET, request.POST if hasattr(request, "_post") else QueryDict()]
    except SuspiciousOperation:  # more parameters than anybody has
        return
    for query in queries:
        for name, values in query.lists():
            yield from ((name, str(value)) for value in values)


class _Held(NamedTuple):
    """Lines of one kind in one window of time."""

    until: float
    written: int
    left_out: int


class BoundedHandler(logging.StreamHandler[Any]):
    """Of one kind of warning, and of what one client gets for asking too often, some lines a minute and a sum."""

    limit = 30
    seconds = 60.0
    # Kinds that are told apart: more come only from somebody who wants to fill the log.
    kinds = 1000

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream)
        self._held: dict[tuple[Any, ...], _Held] = {}
        self._next_look = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._sum_up(now)
        if self._admits(record, now):
            super().emit(record)

    def _admits(self, record: logging.LogRecord, now: float) -> bool:
        kind = _kind(record)
        if kind is None:
            return True
        if kind not in self._held and len(self._held) >= self.kinds:
            kind = ("other",)
        held = self._held.get(kind) or _Held(now + self.seconds, 0, 0)
        admits = held.written < self.limit
        self._held[kind] = held._replace(written=held.written + admits, left_out=held.left_out + (not admits))
        return admits

    def _sum_up(self, now: float) -> None:
        """Once a second at most, and only while something is logged: no thread of its own."""
        self._next_look = now + 1
        for kind in [kind for kind, held in self._held.items() if held.until <= now]:
            if left_out := self._held.pop(kind).left_out:
                message = f"{left_out} more lines were left out: {' '.join(str(part) for part in kind)}"
                super().emit(logging.LogRecord("xpert.log", logging.WARNING, "", 0, message, (), None))


def _kind(record: logging.LogRecord) -> tuple[Any, ...] | None:
    """What makes lines alike; None: every one is written."""
    answered: Answered | None = getattr(record, "answered", None)
    if answered is not None:
        if answered.status != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        address = shortened(client_address(answered.request.META, conf.trusted_proxies))
        return "429", answered.route, address
    if record.levelno < logging.WARNING:
        return None
    # The words of these are the client's own.
    words = "" if record.name.startswith("django.security") else record.msg
    error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    return record.name, words, error


def masked(secret: str) -> str:
    """At most the first third, never more than 4 characters; nothing of what would spoil a line."""
    shown = secret[: min(4, len(secret) // 3)]
    return f"{shown}…" if shown.isprintable() else "…"


def masked_path(request: HttpRequest) -> str:
    """Path and query for the log, in one line: tokens masked, and whatever matched no route masked whole."""
    match = request.resolver_match
    segments = request.path.split("/")
    secrets = set(segments) - _PLAIN if match is None else _secret_segments(match)
    path = "/".join(masked(part) if part and part in secrets else part for part in segments)
    query = _masked_query(request)
    line = f"{path}?{query}" if query else path
    return "".join(letter if letter.isprintable() else "?" for letter in line[:_MAX_PATH])


def _secret_segments(match: ResolverMatch) -> set[str]:
    return {
        segment
        for name, value in match.kwargs.items()
        if name not in _OPEN_PARTS and not (name in _ID_PARTS and str(value).isdigit())
        for segment in str(value).split("/")
    }


def _masked_query(request: HttpRequest) -> str:
    try:
        query = request.GET
    except SuspiciousOperation:  # more parameters than anybody has
        return "…"
    return "&".join(
        f"{name if name in _NAMES else masked(name)}={value if _is_harmless(name, value) else masked(value)}"
        for name, values in query.lists()
        for value in values
    )


def _is_harmless(name: str, value: str) -> bool:
    if name == "tz":
        return value in available_time_zones()
    return name in _HARMLESS and _HARMLESS[name].fullmatch(value) is not None

"""The request that a log line belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.http import HttpRequest

# Keys in ``request.META`` that no client can set: the id of the request, and the token in its body.
ID, TOKEN = "xpert.request_id", "xpert.token"

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


@contextmanager
def speaking_of(request: HttpRequest) -> Iterator[None]:
    """Every line that is logged within the block has the request's id and none of its secrets."""
    before = _request.set(request)
    try:
        yield
    finally:
        _request.reset(before)


def current_request() -> HttpRequest | None:
    return _request.get()


def current_id() -> str:
    request = _request.get()
    return request.META.get(ID, "") if request is not None else ""

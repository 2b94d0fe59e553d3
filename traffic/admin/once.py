"""A question is answered once: a second click, or the same form sent again, does nothing more."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import TypeVar

from django.core.cache import cache
from django.http import HttpRequest

from traffic.caches import cache_errors

_T = TypeVar("_T")
# Seconds in which a form may come again; whoever keeps a page open for longer has looked at it anew.
_KEPT = 24 * 60 * 60


def ticket() -> str:
    """Goes into the form, as ``once``."""
    return secrets.token_urlsafe(16)


def do(request: HttpRequest, deed: Callable[[], _T], is_done: Callable[[_T], bool] = lambda _: True) -> _T | None:
    """Do it and return its answer; None, and nothing is done, when this form was sent before.

    What breaks, or is not ``is_done``, may be tried again. Without a ticket, or a cache to remember it, the deed is
    done: better than refused.
    """
    given = request.POST.get("once")
    if not given:
        return deed()
    key = f"xpert-once-{sha256(given.encode()).hexdigest()}"
    if not _is_new(key):
        return None
    done = False
    try:
        answer = deed()
        done = is_done(answer)
        return answer
    finally:
        if not done:
            with suppress(*cache_errors()):
                cache.delete(key)


def _is_new(key: str) -> bool:
    try:
        return cache.add(key, 1, _KEPT)
    except cache_errors():
        return True

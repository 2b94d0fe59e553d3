"""A form takes effect once: a second click, or sending the same form again, does nothing."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import TypeVar

from django.core.cache import cache
from django.http import HttpRequest

from operations.caches import cache_errors

_T = TypeVar("_T")
# Seconds for which a sent form is remembered. An operator who keeps a page open for longer will have reloaded it.
_KEPT = 24 * 60 * 60


def ticket() -> str:
    """The value of the form field ``once``."""
    return secrets.token_urlsafe(16)


def do(
    request: HttpRequest, act: Callable[[], _T], is_done: Callable[[_T], bool] = lambda _: True
) -> _T | None:
    """Call ``act`` and return its result; return None without calling it if this form was sent before.

    If it raises, or its result is not ``is_done``, it may be tried again. Without a ticket or a cache it is called
    every time, which is better than refusing.
    """
    given = request.POST.get("once")
    if not given:
        return act()
    key = f"xpert-once-{sha256(given.encode()).hexdigest()}"
    if not _is_new(key):
        return None
    done = False
    try:
        answer = act()
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

"""A header on every response, by which this panel recognises itself behind any name or proxy.

The value is derived from ``SECRET_KEY`` and means nothing to others.
"""

from functools import lru_cache

from django.conf import settings
from django.utils.crypto import salted_hmac

HEADER = "X-Xpert-Panel"


def own_mark() -> str:
    """The value of the header on all answers of this installation."""
    return _mark(settings.SECRET_KEY)


@lru_cache(maxsize=8)
def _mark(key: str) -> str:
    return salted_hmac("operations.own_mark", "", key, algorithm="sha256").hexdigest()[:16]

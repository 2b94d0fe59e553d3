"""Rate limits, counted in Django's cache: per process, or for all processes together with CACHE_URL=redis://…"""

import hashlib
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress

from django.core.cache import cache

from operations.caches import cache_errors, count_up
from operations.conf import Rate

# Tolerance of the weighted sum: a client that waited for the given time must not fail because of rounding.
_TOLERANCE = 1e-6

logger = logging.getLogger("xpert.request")


def spend(scope: str, who: str, rate: Rate | None, cost: int = 1) -> int | None:
    """Take ``cost`` requests of ``who``'s share; return None on success, otherwise the seconds to wait.

    Uses two fixed windows; the older one is weighted by how much of it lies within the last ``rate.seconds``.
    This prevents a burst of twice the limit at the edge of a window, and additions are atomic.
    A refused request costs nothing.
    """
    return spend_all(scope, {who: cost}, rate)


def spend_all(scope: str, costs: Mapping[str, int], rate: Rate | None) -> int | None:
    """Take all shares in ``costs`` or none; return None on success, otherwise the seconds to wait."""
    if rate is None:
        return None
    try:
        return _spend(scope, costs, rate)
    except cache_errors() as error:
        # Without a cache there are no limits, because losing a report is worse than accepting too many.
        logger.warning("Limits are off: %s", error)
        return None


def _spend(scope: str, costs: Mapping[str, int], rate: Rate) -> int | None:
    window, elapsed = divmod(time.time(), rate.seconds)
    older = {
        _key(scope, who, rate, int(window)): _key(scope, who, rate, int(window) - 1)
        for who in costs
    }
    shares = {
        key: min(cost, rate.requests) for key, cost in zip(older, costs.values(), strict=True)
    }
    used = count_up(shares, 2 * rate.seconds)
    before = cache.get_many(older.values())
    waits = []
    for key, share in shares.items():
        past = before.get(older[key], 0)
        if past * (1 - elapsed / rate.seconds) + used[key] > rate.requests + _TOLERANCE:
            waits.append(_wait(rate, used[key] - share, past, share, elapsed))
    if not waits:
        return None
    count_up({key: -share for key, share in shares.items()}, 2 * rate.seconds)
    return max(waits)


def penalise(scope: str, who: str, rate: Rate | None, cost: int = 1) -> None:
    """Add ``cost`` even beyond the limit, so that wrong keys and unknown tokens cost double."""
    if rate is not None:
        with suppress(*cache_errors()):  # already logged by spend
            key = _key(scope, who, rate, int(time.time() // rate.seconds))
            count_up({key: cost}, 2 * rate.seconds)


def _wait(rate: Rate, used: int, before: int, cost: int, elapsed: float) -> int:
    room = rate.requests - cost - used
    if before and room >= 0:
        return max(1, math.ceil(rate.seconds * (1 - room / before) - elapsed))
    into_next = rate.seconds * (1 - (rate.requests - cost) / used) if used else 0.0
    return max(1, math.ceil(rate.seconds - elapsed + into_next))


def _key(scope: str, who: str, rate: Rate, window: int) -> str:
    digest = hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"rate:{scope}:{digest}:{rate.seconds}:{window}"

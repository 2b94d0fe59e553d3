"""Rate limits. Counted in Django's cache: by process, or over all of them with CACHE_URL=redis://…"""

import hashlib
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network

from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from .addresses import client_address
from .caches import cache_errors
from .conf import Rate, conf

# Of the weighted sum: who has waited as long as told must not fail by a rounding error.
_TOLERANCE = 1e-6

logger = logging.getLogger("xpert.request")


def spend(scope: str, who: str, rate: Rate | None, cost: int = 1) -> int | None:
    """Take ``cost`` requests of ``who``'s share; None when it was there, else the seconds to wait.

    Two fixed windows, the older weighted by how much of it the last ``rate.seconds`` still
    cover: no burst of twice the limit at a window's edge, and additions are atomic.
    What is refused costs nothing.
    """
    if rate is None:
        return None
    try:
        return _spend(scope, who, rate, cost)
    except cache_errors() as error:
        # Without its cache the panel goes on unlimited: a lost report weighs more than one too many.
        logger.warning("Limits are off: %s", error)
        return None


def _spend(scope: str, who: str, rate: Rate, cost: int) -> int | None:
    now = time.time()
    window, elapsed = divmod(now, rate.seconds)
    current, previous = _key(scope, who, rate, int(window)), _key(scope, who, rate, int(window) - 1)
    share = min(cost, rate.requests)
    used = _add(current, share, rate)
    before = cache.get(previous, 0)
    if before * (1 - elapsed / rate.seconds) + used <= rate.requests + _TOLERANCE:
        return None
    _add(current, -share, rate)
    return _wait(rate, used - share, before, share, elapsed)


def spend_all(scope: str, costs: Mapping[str, int], rate: Rate | None) -> int | None:
    """Take every share in ``costs``, or none of them; None when all were there, else the seconds to wait."""
    waits = {who: spend(scope, who, rate, cost) for who, cost in costs.items()}
    wait = max(filter(None, waits.values()), default=None)
    if wait is not None and rate is not None:
        window = int(time.time() // rate.seconds)
        for who in [who for who in costs if waits[who] is None]:
            _add(_key(scope, who, rate, window), -min(costs[who], rate.requests), rate)
    return wait


def penalise(scope: str, who: str, rate: Rate | None) -> None:
    """Count one more, whether there is room or not: wrong keys and unknown tokens cost double."""
    if rate is not None:
        with suppress(*cache_errors()):  # said by spend already
            _add(_key(scope, who, rate, int(time.time() // rate.seconds)), 1, rate)


def _wait(rate: Rate, used: int, before: int, cost: int, elapsed: float) -> int:
    room = rate.requests - cost - used
    if before and room >= 0:
        return max(1, math.ceil(rate.seconds * (1 - room / before) - elapsed))
    into_next = rate.seconds * (1 - (rate.requests - cost) / used) if used else 0.0
    return max(1, math.ceil(rate.seconds - elapsed + into_next))


def _key(scope: str, who: str, rate: Rate, window: int) -> str:
    digest = hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"rate:{scope}:{digest}:{rate.seconds}:{window}"


def _add(key: str, cost: int, rate: Rate) -> int:
    cache.add(key, 0, timeout=2 * rate.seconds)
    try:
        return cache.incr(key, cost)
    except ValueError:  # dropped between the two lines, by a cache that is full
        return cost


def address_of(request: HttpRequest | Request) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that one IPv6 line has for itself."""
    address = client_address(request.META, conf.trusted_proxies)
    if address is not None and address.version == 6:
        return str(ip_network(f"{address}/64", strict=False))
    return str(address or "unknown")


def spend_address(request: HttpRequest | Request) -> int | None:
    """One request of its client's address; the seconds to wait when there are too many."""
    return spend("address", address_of(request), conf.rate_address)


def penalise_address(request: HttpRequest | Request) -> None:
    penalise("address", address_of(request), conf.rate_address)


class AddressThrottle(BaseThrottle):
    """XPERT_RATE_ADDRESS: everything public, by client address."""

    def __init__(self) -> None:
        self._wait: int | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        self._wait = spend_address(request)
        return self._wait is None

    def wait(self) -> float | None:
        return self._wait

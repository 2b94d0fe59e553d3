"""The rate limit per client address; see ``operations.rate_limits``."""

from ipaddress import ip_network

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from operations.addresses import client_address, one_client
from operations.conf import Rate, conf
from operations.rate_limits import penalise, spend

# Caches the address in ``request.META``, under a key that no client can set.
_KEPT = "operations.client"
_CLIENTS_OF_A_NETWORK = 16


def address_of(request: HttpRequest | Request) -> str:
    """The address that counts as one client: an IPv4 address, or the /64 of an IPv6 connection."""
    meta = request.META
    known = meta.get(_KEPT)
    if known is None:
        known = meta[_KEPT] = one_client(client_address(meta, conf.trusted_proxies))
    return str(known)


def spend_address(request: HttpRequest | Request) -> int | None:
    """Count one request for the client's address; return the seconds to wait if there are too many."""
    return _spend("address", address_of(request), conf.rate_address)


def spend_login(request: HttpRequest) -> int | None:
    """The same for one attempt to sign in."""
    return _spend("login", address_of(request), conf.rate_login)


def _spend(scope: str, client: str, limit: Rate | None) -> int | None:
    wait = spend(scope, client, limit)
    if wait is None and limit is not None and ":" in client:
        # A provider gives one customer a /48, in which the customer has 65,536 clients.
        more = limit._replace(requests=limit.requests * _CLIENTS_OF_A_NETWORK)
        wait = spend(scope, str(ip_network(client).supernet(new_prefix=48)), more)
    return wait


def penalise_address(request: HttpRequest | Request) -> None:
    penalise("address", address_of(request), conf.rate_address)


class AddressThrottle(BaseThrottle):
    """XPERT_RATE_ADDRESS: limits every public endpoint by client address."""

    def __init__(self) -> None:
        self._wait: int | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        self._wait = spend_address(request)
        return self._wait is None

    def wait(self) -> float | None:
        return self._wait

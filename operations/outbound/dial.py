"""Connections to checked addresses, never to a name, so that there is no second lookup between check and use."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from .errors import OutboundError
from .url_policy import Target, may_be_dialled, parse_address

# Bytes per read.
CHUNK = 65536
# The most addresses of one name that are tried.
_MAX_ADDRESSES = 4

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def resolve(host: str, port: int) -> list[str]:
    """The distinct addresses of a host; raises OSError."""
    if parse_address(host) is not None:
        return [host]  # a lookup takes a thread, even if there is nothing to look up
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def connect(address: str, port: int, tls_name: str) -> Streams:
    """Connect to an address. ``tls_name``: the name that the certificate must have; empty: no TLS."""
    context = tls_context() if tls_name else None
    return await asyncio.open_connection(
        address,
        port,
        ssl=context,
        server_hostname=tls_name or None,
        limit=CHUNK,
        happy_eyeballs_delay=None,
    )


class Network(msgspec.Struct, frozen=True):
    """How to resolve names and connect to addresses. Tests replace it.

    ``tunnel``: connects through a proxy instead, which looks up the name itself.
    """

    resolve: Callable[[str, int], Awaitable[list[str]]] = resolve
    connect: Callable[[str, int, str], Awaitable[Streams]] = connect
    tunnel: Callable[[Target], Awaitable[Streams]] | None = None


async def dial(target: Target, *, private: bool, timeout: float, network: Network) -> Streams:
    """Connect to one of the host's addresses within ``timeout`` seconds; raises OutboundError and OSError."""
    if network.tunnel is not None:
        return await _through(network.tunnel, target, timeout)
    addresses = await checked_addresses(target.host, target.port, private=private, network=network)
    try:
        async with asyncio.timeout(timeout):
            return await _first_that_answers(addresses[:_MAX_ADDRESSES], target, network)
    except TimeoutError:
        raise OutboundError("connect_timeout") from None


async def _through(
    tunnel: Callable[[Target], Awaitable[Streams]], target: Target, timeout: float
) -> Streams:
    try:
        async with asyncio.timeout(timeout):
            return await tunnel(target)
    except TimeoutError:
        raise OutboundError("connect_timeout") from None


async def checked_addresses(
    host: str, port: int, *, private: bool, network: Network
) -> Sequence[str]:
    """The addresses of a host; raises OutboundError if any of them may not be dialled, because that may be an attack."""
    try:
        addresses = await network.resolve(host, port)
    except (OSError, UnicodeError):
        raise OutboundError("dns") from None
    if not addresses:
        raise OutboundError("dns")
    for address in map(parse_address, addresses):
        if address is None or not may_be_dialled(address, private=private):
            raise OutboundError("private_address")
    return addresses


async def _first_that_answers(
    addresses: Sequence[str], target: Target, network: Network
) -> Streams:
    tls_name = target.host if target.scheme == "https" else ""
    failure: Exception = OutboundError("connection")
    for address in addresses:
        try:
            return await network.connect(address, target.port, tls_name)
        except ssl.SSLError:
            raise
        except OSError as error:
            failure = error
    raise failure


@functools.cache
def tls_context() -> ssl.SSLContext:
    """TLS 1.2 or later with the system's certificate authorities, for HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

"""Whether somebody answers a TCP connection. Pure; the address policy of ``guard`` holds before every connection."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from . import guard
from .fetching import Network
from .links import Node

Endpoint = tuple[str, int]

TRIES = 3
# Seconds: for one connection, and between two tries.
TIMEOUT = 4.0
PAUSE = 0.3
CONCURRENCY = 50
_UDP_PROTOCOLS = frozenset({"hysteria", "hysteria2", "tuic", "wireguard"})
_UDP_NETWORKS = frozenset({"kcp", "quic"})


class Pace(msgspec.Struct, frozen=True):
    tries: int = TRIES
    timeout: float = TIMEOUT
    pause: float = PAUSE
    concurrency: int = CONCURRENCY


class Probe(msgspec.Struct, frozen=True):
    """``latency``: the best of the tries, in milliseconds; None: none was answered. ``loss``: percent of the tries.

    ``refused``: nothing was dialled, for the server is inside somebody's own network.
    """

    latency: int | None = None
    loss: int = 100
    refused: bool = False


def is_udp(node: Node) -> bool:
    """Whether the server listens to UDP: then it is no news that nobody answers TCP."""
    return node.protocol in _UDP_PROTOCOLS or node.params.get("network") in _UDP_NETWORKS


async def probe_all(
    endpoints: Iterable[Endpoint],
    progress: Callable[[], object],
    pace: Pace = Pace(),  # noqa: B008  frozen
    network: Network = Network(),  # noqa: B008
) -> dict[Endpoint, Probe]:
    """``progress`` is called after each."""
    gate = asyncio.Semaphore(pace.concurrency)
    # Names are looked up in threads; a handful of them would make everybody wait for the slowest resolver.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(pace.concurrency))

    async def one(endpoint: Endpoint) -> Probe:
        async with gate:
            found = await _probe(endpoint, pace, network)
        progress()
        return found

    asked = list(endpoints)
    return dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))


async def _probe(endpoint: Endpoint, pace: Pace, network: Network) -> Probe:
    server, port = endpoint
    if guard.is_private_host(server):
        return Probe(refused=True)
    try:
        async with asyncio.timeout(pace.timeout):
            addresses = await network.resolve(server, port)
    except (OSError, UnicodeError, TimeoutError):
        return Probe()
    parsed = [guard.parse_address(address) for address in addresses]
    if not all(address is not None and guard.is_public(address) for address in parsed):
        return Probe(refused=True)
    # Always the same one: what changes from check to check is the server, not the choice.
    return await _tries(addresses[0], port, pace, network) if addresses else Probe()


async def _tries(address: str, port: int, pace: Pace, network: Network) -> Probe:
    answered: list[float] = []
    for number in range(pace.tries):
        if number:
            await asyncio.sleep(pace.pause)
        if (seconds := await _seconds(address, port, pace, network)) is not None:
            answered.append(seconds)
    loss = 100 * (pace.tries - len(answered)) // pace.tries
    return Probe(max(round(min(answered) * 1000), 1) if answered else None, loss)


async def _seconds(address: str, port: int, pace: Pace, network: Network) -> float | None:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(pace.timeout):
            _, writer = await network.connect(address, port, "")
    except (OSError, TimeoutError):
        return None
    found = time.perf_counter() - begun
    writer.transport.abort()
    return found

"""Whether somebody answers a TCP connection. Pure; the address policy of ``operations.outbound`` holds before every connection."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from operations.outbound import pacing, url_policy
from operations.outbound.dial import Network, checked_addresses
from operations.outbound.errors import OutboundError
from subscriptions.links import Node

Endpoint = tuple[str, int]

TRIES = 3
# Seconds for one connection, and between two tries.
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
    """``latency``: milliseconds of the fastest try; None: no try was answered. ``loss``: percent of failed tries.

    ``refused``: nothing was dialled, because the server has a private address.
    """

    latency: int | None = None
    loss: int = 100
    refused: bool = False


def is_udp(node: Node) -> bool:
    """Whether the server listens on UDP, so that a refused TCP connection means nothing."""
    return node.protocol in _UDP_PROTOCOLS or node.params.get("network") in _UDP_NETWORKS


async def probe_all(
    endpoints: Iterable[Endpoint],
    progress: Callable[[], object],
    pace: Pace = Pace(),  # noqa: B008  frozen
    network: Network = Network(),  # noqa: B008
) -> dict[Endpoint, Probe]:
    """``progress`` is called after each endpoint."""
    # Names are looked up in threads. With only a few threads every probe would wait for the slowest resolver.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(pace.concurrency))

    async def one(endpoint: Endpoint) -> Probe:
        return await _probe(endpoint, pace, network)

    asked = list(endpoints)
    found = await pacing.gather(one, asked, pace.concurrency, lambda _: progress())
    return dict(zip(asked, found, strict=True))


async def _probe(endpoint: Endpoint, pace: Pace, network: Network) -> Probe:
    server, port = endpoint
    if url_policy.is_private_host(server):
        return Probe(refused=True)
    try:
        async with asyncio.timeout(pace.timeout):
            addresses = await checked_addresses(server, port, private=False, network=network)
    except OutboundError as error:
        return Probe(refused=error.code == "private_address")
    except TimeoutError:
        return Probe()
    # Always the same address, so that checks of one server can be compared.
    return await _tries(addresses[0], port, pace, network)


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

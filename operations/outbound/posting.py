"""One POST to a URL that an operator has set, with bounds on time and size, and without redirects.

A confirmation is not read beyond its headers. The body of a refusal is read, because it may say what to do.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import h11
import msgspec

from . import retry_after
from .dial import Network
from .errors import OutboundError
from .exchange import Answer, Limits, Request, exchange, failures_as_codes
from .url_policy import Policy, check_url

# A receiver may take the whole time of the exchange to respond.
LIMITS = Limits(connect=15, gap=15, total=15, body=16384)
# Seconds for reading the body of a refusal.
_BODY_TIME = 2.0


class Message(msgspec.Struct, frozen=True):
    """JSON for a URL. ``policy``: where the URL may point."""

    url: str
    body: bytes
    policy: Policy
    headers: Mapping[str, str] = {}


def post(message: Message, limits: Limits = LIMITS, network: Network = Network()) -> None:  # noqa: B008  frozen
    """Return if the response is 2xx, within ``limits.total`` seconds; raises OutboundError and nothing else."""
    with failures_as_codes():
        asyncio.run(_post(message, limits, network))


async def _post(message: Message, limits: Limits, network: Network) -> None:
    target = check_url(message.url, message.policy)
    usual = {"User-Agent": "xpert-panel", "Content-Type": "application/json"}
    request = Request("POST", {**usual, **message.headers}, message.body)
    private = message.policy.private
    async with (
        asyncio.timeout(limits.total),
        exchange(target, request, private=private, limits=limits, network=network) as answer,
    ):
        if answer.status // 100 != 2:
            wait = retry_after.parse(answer.field(b"retry-after"), datetime.now(UTC))
            raise OutboundError(f"http_{answer.status}", wait, await _refusal(answer, limits.body))


async def _refusal(answer: Answer, limit: int) -> bytes:
    """The beginning of the body. Errors and delays are ignored, because the status is already known."""
    found = bytearray()
    with suppress(h11.ProtocolError, OutboundError, OSError, TimeoutError):
        async with asyncio.timeout(_BODY_TIME):
            async for data in answer.body():
                found += data
                if len(found) >= limit:
                    break
    return bytes(found[:limit])

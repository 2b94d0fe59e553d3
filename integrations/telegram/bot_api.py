"""Calls of Telegram's Bot API (core.telegram.org/bots/api).

The token is a part of every URL, so no URL leaves this module: errors are codes.
"""

import asyncio
import json
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from operations.outbound import retry_after
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Answer, Limits, Request, exchange, failures_as_codes
from operations.outbound.proxies import network_of
from operations.outbound.url_policy import Policy, check_url

from .conf import conf

# Seconds for a call that does not wait for updates, and the most bytes of a response.
_TIME, _SIZE = 15.0, 8 * 2**20
# Seconds between two looks at whether the process has to stop.
_LOOK = 0.2


class StoppedError(Exception):
    """The process has to stop, and the call was given up."""


class _Parameters(msgspec.Struct):
    retry_after: int | None = None


class _Response(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class Upload(msgspec.Struct, frozen=True):
    """A picture that is sent along, as the field ``name``."""

    name: str
    content: bytes


def call(
    method: str,
    fields: Mapping[str, Any],
    *,
    upload: Upload | None = None,
    wait: float = 0,
    stopping: threading.Event | None = None,
) -> bytes:
    """The result as JSON. ``wait``: seconds that Telegram may take longer.

    Raises OutboundError, and StoppedError once ``stopping`` is set.
    """
    kind, body = _multipart(fields, upload) if upload else _json(fields)
    request = Request("POST", {"User-Agent": "xpert-panel", "Content-Type": kind}, body)
    limits = Limits(connect=15, gap=_TIME + wait, total=_TIME + wait, body=_SIZE)
    work = _call(method, request, limits, network_of(conf.telegram_proxy))
    with failures_as_codes():
        return asyncio.run(_until_stopped(work, stopping) if stopping else work)


async def _call(method: str, request: Request, limits: Limits, network: Network) -> bytes:
    # The address comes from the environment, so it may be a private Bot API server.
    url = f"{conf.telegram_url}/bot{conf.telegram_token}/{method}"
    target = check_url(url, Policy(private=True))
    async with (
        asyncio.timeout(limits.total),
        exchange(target, request, private=True, limits=limits, network=network) as answer,
    ):
        return _result(answer, await _whole(answer, limits.body))


async def _until_stopped(work: Any, stopping: threading.Event) -> bytes:
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=_LOOK)
        if stopping.is_set() and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, OutboundError, OSError):
                await task
            raise StoppedError
    result: bytes = task.result()
    return result


async def _whole(answer: Answer, limit: int) -> bytes:
    found = bytearray()
    async for data in answer.body():
        found += data
        if len(found) > limit:
            raise OutboundError("too_large")
    return bytes(found)


def _result(answer: Answer, body: bytes) -> bytes:
    try:
        response = msgspec.json.decode(body, type=_Response)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        response = None
    if answer.status // 100 != 2:
        raise OutboundError(f"http_{answer.status}", _pause(answer, response), body[:16384])
    if response is None:
        raise OutboundError("bad_response")
    return bytes(response.result)


def _pause(answer: Answer, response: _Response | None) -> int | None:
    if response is not None and response.parameters.retry_after is not None:
        return retry_after.bounded(response.parameters.retry_after)
    return retry_after.parse(answer.field(b"retry-after"), datetime.now(UTC))


def _json(fields: Mapping[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(fields).encode()


def _multipart(fields: Mapping[str, Any], upload: Upload) -> tuple[str, bytes]:
    """RFC 7578. Values are plain text."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{upload.name}"; filename="qr.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    parts += [head.encode(), upload.content, f"\r\n--{boundary}--\r\n".encode()]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)

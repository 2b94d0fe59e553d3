"""Questions to a linked panel: bounded in time and size, and followed nowhere."""

import asyncio
import re
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Self, TypeVar

from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits, Request, asked, failures_as_codes
from operations.outbound.url_policy import Policy, check_url

# The operator sets the address, which is usually in the same network.
POLICY = Policy(private=True)
# Seconds for the whole question. An answer about one admin or one person has a few hundred bytes.
LIMITS = Limits(connect=3, gap=3, total=3, body=64 * 1024)
# If a proxy in front of the panel sends the question back to us, we must not ask again.
MARKER = "X-Xpert-Asks"
Step = TypeVar("Step")
_USUAL = {"User-Agent": "xpert-panel", "Accept": "application/json", MARKER: "1"}


# PasarGuard's API keys.
_API_KEY = re.compile(r"pg_key_[0-9a-f-]{36}", re.ASCII)


def is_api_key(token: str) -> bool:
    """Whether a token has the shape of an API key of PasarGuard. That alone proves nothing."""
    return bool(_API_KEY.fullmatch(token))


def credentials(token: str) -> dict[str, str]:
    """The header by which a panel knows who asks."""
    return {"X-Api-Key": token} if is_api_key(token) else {"Authorization": f"Bearer {token}"}


class Answer(NamedTuple):
    status: int
    body: bytes


def get(
    url: str,
    headers: Mapping[str, str],
    limits: Limits = LIMITS,
    network: Network = Network(),  # noqa: B008  frozen
) -> Answer:
    """The answer, whatever its status. Raises OutboundError and nothing else."""
    return send(url, Request("GET", headers), limits, network)


def send(
    url: str,
    request: Request,
    limits: Limits = LIMITS,
    network: Network = Network(),  # noqa: B008  frozen
) -> Answer:
    """The same for any request."""
    full = Request(request.method, {**_USUAL, **request.headers}, request.body)
    with OpenAnswer(url, full, limits, network) as answer:
        body = answer.receive(limits.body)
        if not answer.is_complete:
            raise OutboundError("too_large")
        return Answer(answer.status, body)


class OpenAnswer:
    """A question that was sent, and its answer, which is received later and in pieces.

    It must be closed. Raises OutboundError and nothing else. ``limits.total``: seconds from the question to the last
    piece.
    """

    def __init__(
        self,
        url: str,
        request: Request,
        limits: Limits,
        network: Network = Network(),  # noqa: B008  frozen
    ) -> None:
        self.is_complete = self._is_closed = False
        self._exit = AsyncExitStack()
        # An event loop for one answer costs less than a thread that all answers share.
        self._loop = asyncio.new_event_loop()
        self._deadline = self._loop.time() + limits.total
        try:
            self._run(self._ask(url, request, limits, network))
        except BaseException:
            self.close()
            raise

    def receive(self, most: int) -> bytes:
        """Wait for the answer; return the body, or somewhat more than ``most`` bytes of it if it is longer."""
        return self._run(self._beginning(most))

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names are in lower case."""
        return [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in self._answer.headers
        ]

    def pieces(self) -> Iterator[bytes]:
        """The rest of the body."""
        while not self.is_complete:
            yield self._run(self._piece())

    def close(self) -> None:
        try:
            if not self._is_closed:
                self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, step: Coroutine[Any, Any, Step]) -> Step:
        with failures_as_codes():
            return self._loop.run_until_complete(self._in_time(step))

    async def _in_time(self, step: Coroutine[Any, Any, Step]) -> Step:
        async with asyncio.timeout_at(self._deadline):
            return await step

    async def _ask(self, url: str, request: Request, limits: Limits, network: Network) -> None:
        target = check_url(url, POLICY)
        question = asked(target, request, private=True, limits=limits, network=network)
        self._answer = await self._exit.enter_async_context(question)
        self._pieces = self._answer.body()

    async def _beginning(self, most: int) -> bytes:
        await self._answer.read_head()
        found = bytearray()
        while not self.is_complete and len(found) <= most:
            found += await self._piece()
        return bytes(found)

    async def _piece(self) -> bytes:
        piece = await anext(self._pieces, b"")
        if not piece:
            self.is_complete = True
            await self._end()
        return piece

    async def _end(self) -> None:
        self._is_closed = True
        await self._exit.aclose()
        await self._loop.shutdown_asyncgens()

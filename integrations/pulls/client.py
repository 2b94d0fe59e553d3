"""Carries an adapter's questions to a panel, with bounds on paths, time and size, and follows no redirect."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

from operations.outbound import retry_after
from operations.outbound.cookies import Cookies
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Answer, Limits, Request, exchange, failures_as_codes
from operations.outbound.unpacking import Unpacker, coding_of
from operations.outbound.url_policy import Policy, Target, check_url
from operations.own_mark import HEADER, own_mark

from .adapters.asking import Access, Adapter, BadAnswerError, Question, SignIn

T = TypeVar("T")
# Limits of one answer: seconds and bytes.
LIMITS = Limits(connect=5, gap=10, total=10, body=4 * 2**20)
# Seconds for all answers of one panel together.
TIME = 300.0


class Panel(NamedTuple, Generic[T]):
    """A panel to ask. ``headers``: extra headers that a proxy in front of it requires."""

    adapter: Adapter[T]
    url: str
    access: Access
    policy: Policy
    headers: Mapping[str, str] = {}


async def read(panel: Panel[T], limits: Limits = LIMITS, network: Network = Network()) -> T:  # noqa: B008  both are frozen
    """What the adapter finds, such as all accounts of the panel; raises OutboundError and BadAnswerError, and nothing else."""
    with failures_as_codes():
        async with asyncio.timeout(TIME):
            return await _Reading(panel, limits, network).all()


class _Reading(Generic[T]):
    """One reading of one panel. Cookies are kept until it ends."""

    def __init__(self, panel: Panel[T], limits: Limits, network: Network) -> None:
        self._panel = panel
        self._limits = limits
        self._network = network
        self._cookies = Cookies()

    async def all(self) -> T:
        panel = self._panel
        conversation = panel.adapter.talk[panel.access.way](panel.access)
        answer: bytes | None = None
        while True:
            try:
                question = conversation.send(answer)  # type: ignore[arg-type]  # None begins it
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = await self._ask(question)

    async def _ask(self, question: Question) -> bytes:
        if not self._panel.adapter.may_ask(question):
            raise BadAnswerError("forbidden_path")
        target = check_url(self._url(question), self._panel.policy)
        private = self._panel.policy.private
        request = self._request(question, target)
        async with (
            asyncio.timeout(self._limits.total),
            exchange(
                target, request, private=private, limits=self._limits, network=self._network
            ) as answer,
        ):
            self._cookies.keep(target.host, answer.fields(b"set-cookie"))
            return await _judged(answer, self._limits.body)

    def _url(self, question: Question) -> str:
        base = self._panel.adapter.base_of(self._panel.url)
        query = urlencode(question.query) if not isinstance(question, SignIn) else ""
        return f"{base}{question.path}" + (f"?{query}" if query else "")

    def _request(self, question: Question, target: Target) -> Request:
        usual = {
            "User-Agent": "xpert-panel",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Cookie": self._cookies.of(target.host),
            **self._panel.headers,
        }
        if isinstance(question, SignIn):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            return Request("POST", usual | form, urlencode(question.form).encode())
        return Request("GET", {**usual, **question.headers})


async def _judged(answer: Answer, limit: int) -> bytes:
    if answer.field(HEADER.lower().encode()) == own_mark():
        raise OutboundError("own_panel")
    if answer.status != 200:
        wait = retry_after.parse(answer.field(b"retry-after"), datetime.now(UTC))
        raise OutboundError(f"http_{answer.status}", wait)
    unpacker = Unpacker(coding_of(answer.fields(b"content-encoding")), limit)
    async for data in answer.body():
        unpacker.feed(data)
    return unpacker.finish()

"""Fetching an untrusted list, with bounds on time, size and redirects."""

import asyncio
import re
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from . import retry_after
from .cookies import Cookies
from .dial import Network
from .errors import OutboundError
from .exchange import Answer, Limits, Request, exchange, failures_as_codes, printable
from .unpacking import Unpacker, coding_of
from .url_policy import Policy, Target, check_url, is_same_place, redirected

# 203 comes from a proxy that has changed the body.
_GOOD = frozenset({200, 203})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)


class Asked(msgspec.Struct, frozen=True):
    """What to fetch. ``etag`` and ``last_modified`` belong to the copy that we have.

    ``header``: the name, in lower case, of a further header whose values are wanted.
    """

    url: str
    policy: Policy
    user_agent: str
    etag: str = ""
    last_modified: str = ""
    header: bytes = b""


class Fetched(msgspec.Struct, frozen=True):
    """``body``: decompressed; None: our copy is still valid. ``charset``: as the server names it.

    ``header``: the values of the header that was asked for, joined by ``;``.
    """

    body: bytes | None
    etag: str = ""
    last_modified: str = ""
    header: str = ""
    charset: str = ""


async def fetch(asked: Asked, limits: Limits = Limits(), network: Network = Network()) -> Fetched:  # noqa: B008  both are frozen
    """Fetch within ``limits.total`` seconds; raises OutboundError and nothing else."""
    with failures_as_codes():
        async with asyncio.timeout(limits.total):
            return await _follow(asked, limits, network)


async def _follow(asked: Asked, limits: Limits, network: Network) -> Fetched:
    first = target = check_url(asked.url, asked.policy)
    cookies = Cookies()
    for _ in range(_MAX_REDIRECTS + 1):
        private = asked.policy.private and is_same_place(target, first)
        request = _request(asked, target, cookies.of(target.host))
        async with exchange(
            target, request, private=private, limits=limits, network=network
        ) as answer:
            if answer.status not in _REDIRECTS:
                return await _judged(answer, asked, limits)
            cookies.keep(target.host, answer.fields(b"set-cookie"))
        location = _location(answer)
        if not location:
            raise OutboundError("bad_response")
        target = redirected(target, location, first, asked.policy)
    raise OutboundError("too_many_redirects")


def _request(asked: Asked, target: Target, cookie: str) -> Request:
    return Request(
        "GET",
        {
            "User-Agent": asked.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Authorization": target.authorization,
            "Cookie": cookie,
            "If-None-Match": asked.etag,
            "If-Modified-Since": asked.last_modified,
        },
    )


async def _judged(answer: Answer, asked: Asked, limits: Limits) -> Fetched:
    status, header = answer.status, _values(answer, asked.header)
    etag, last_modified = answer.field(b"etag"), answer.field(b"last-modified")
    if status == 304 and (asked.etag or asked.last_modified):
        return Fetched(None, etag or asked.etag, last_modified or asked.last_modified, header)
    if status not in _GOOD:
        wait = retry_after.parse(answer.field(b"retry-after"), datetime.now(UTC))
        raise OutboundError(f"http_{status}", wait)
    body = await _unpacked(answer, limits.body)
    charset = _CHARSET.search(";" + answer.field(b"content-type"))
    return Fetched(body, etag[:255], last_modified[:64], header, charset[1] if charset else "")


async def _unpacked(answer: Answer, limit: int) -> bytes:
    unpacker = Unpacker(coding_of(answer.fields(b"content-encoding")), limit)
    async for data in answer.body():
        unpacker.feed(data)
    return unpacker.finish()


def _location(answer: Answer) -> str:
    """The target of a redirect, with characters escaped that are not allowed in a URL: spaces, UTF-8, quotes."""
    value = next((value for name, value in answer.headers if name == b"location"), b"")
    return quote(value.strip(), safe="!#$%&'()*+,/:;=?@[]~")


def _values(answer: Answer, header: bytes) -> str:
    """All values of a header. Object storage adds a prefix to the name; the plain name comes first."""
    if not header:
        return ""
    found = [(name, value) for name, value in answer.headers if name.endswith(header)]
    found.sort(key=lambda field: field[0] != header)
    return ";".join(filter(None, (text.strip() for text in printable(value for _, value in found))))

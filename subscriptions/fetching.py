"""Fetching a source that nobody trusts: bounded in time, in size and in where it may lead.

A connection is made to an address that was checked, never to a name, so there is no second
look-up between check and use. h11 only parses: what is dialled, how long it may take and
how much is kept is decided here. Nothing is read from the environment: no proxies, no .netrc.
"""

import asyncio
import functools
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import h11
import msgspec

from .guard import Policy, Refused, Target, check_url, is_same_place, may_be_dialled, parse_address, redirected

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_MAX_WAIT = 86_400
_CHUNK = 65536
_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 65536
# Answers of honest servers come in pieces of hundreds of bytes; a million pieces of one byte cost seconds of CPU.
_MAX_EVENTS = 20_000
# Addresses of one name that are tried.
_MAX_ADDRESSES = 4


class FetchError(Exception):
    """Why there is no body: ``code`` for programs. ``retry_after``: seconds that the server asks to wait."""

    def __init__(self, code: str, retry_after: int | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        super().__init__(code)


class Limits(msgspec.Struct, frozen=True):
    """Seconds and bytes. ``body``: of the decoded body."""

    connect: float = 5
    gap: float = 10
    total: float = 20
    body: int = 5 * 2**20


class Asked(msgspec.Struct, frozen=True):
    """What to fetch. ``etag`` and ``last_modified``: of the copy that we have."""

    url: str
    policy: Policy
    user_agent: str
    etag: str = ""
    last_modified: str = ""


class Fetched(msgspec.Struct, frozen=True):
    """``body``: decoded; None: what we have is still right. ``userinfo``: the provider's Subscription-Userinfo."""

    body: bytes | None
    etag: str = ""
    last_modified: str = ""
    userinfo: str = ""


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, each once; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def connect(address: str, port: int, tls_name: str) -> Streams:
    """Connect to an address; ``tls_name``: whose certificate is asked for, empty = no TLS."""
    context = _tls() if tls_name else None
    return await asyncio.open_connection(
        address, port, ssl=context, server_hostname=tls_name or None, limit=_CHUNK, happy_eyeballs_delay=None
    )


class Network(msgspec.Struct, frozen=True):
    """How names become addresses and addresses connections."""

    resolve: Callable[[str, int], Awaitable[list[str]]] = resolve
    connect: Callable[[str, int, str], Awaitable[Streams]] = connect


async def fetch(asked: Asked, limits: Limits = Limits(), network: Network = Network()) -> Fetched:  # noqa: B008  both are frozen
    """The body, or that it is unchanged; raises FetchError and nothing else, in ``limits.total`` seconds at most."""
    try:
        async with asyncio.timeout(limits.total):
            return await _follow(asked, limits, network)
    except Refused as error:
        raise FetchError(error.code) from None
    except TimeoutError:
        raise FetchError("timeout") from None
    except ssl.SSLError:
        raise FetchError("tls") from None
    except OSError:
        raise FetchError("connection") from None
    except h11.ProtocolError:
        raise FetchError("bad_response") from None


async def _follow(asked: Asked, limits: Limits, network: Network) -> Fetched:
    first = target = check_url(asked.url, asked.policy)
    for _ in range(_MAX_REDIRECTS + 1):
        private = asked.policy.private and is_same_place(target, first)
        reader, writer = await _connected(target, private=private, limits=limits, network=network)
        try:
            answer = _Answer(reader, limits)
            writer.write(answer.send(target, asked))
            response = await answer.begin()
            if response.status_code not in _REDIRECTS:
                return await _judged(answer, response, asked)
            location = _field(response, b"location")
        finally:
            # Not close(): that waits for a peer that need not answer.
            writer.transport.abort()
        if not location:
            raise FetchError("bad_response")
        target = redirected(target, location, first, asked.policy)
    raise FetchError("too_many_redirects")


async def _connected(target: Target, *, private: bool, limits: Limits, network: Network) -> Streams:
    """To one of the host's addresses, all of which must be allowed: one that is not would be a trap."""
    try:
        addresses = await network.resolve(target.host, target.port)
    except (OSError, UnicodeError):
        raise FetchError("dns") from None
    parsed = [parse_address(address) for address in addresses]
    if not parsed or not all(address is not None and may_be_dialled(address, private=private) for address in parsed):
        raise FetchError("private_address" if parsed else "dns")
    failure: Exception = FetchError("connection")
    try:
        async with asyncio.timeout(limits.connect):
            for address in addresses[:_MAX_ADDRESSES]:
                try:
                    return await network.connect(address, target.port, target.host if target.scheme == "https" else "")
                except ssl.SSLError:
                    raise
                except OSError as error:
                    failure = error
    except TimeoutError:
        raise FetchError("connect_timeout") from None
    raise failure


async def _judged(answer: "_Answer", response: h11.Response, asked: Asked) -> Fetched:
    status = response.status_code
    etag, last_modified = _field(response, b"etag"), _field(response, b"last-modified")
    userinfo = _field(response, b"subscription-userinfo")
    if status == 304 and (asked.etag or asked.last_modified):
        return Fetched(None, etag or asked.etag, last_modified or asked.last_modified, userinfo)
    if status != 200:
        raise FetchError(f"http_{status}", _retry_after(_field(response, b"retry-after"), datetime.now(UTC)))
    body = await answer.body(_field(response, b"content-encoding").strip().lower())
    return Fetched(body, etag[:255], last_modified[:64], userinfo[:512])


class _Answer:
    """One request and its answer on one connection."""

    def __init__(self, reader: asyncio.StreamReader, limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
        self._received = 0
        self._events = 0

    def send(self, target: Target, asked: Asked) -> bytes:
        """The bytes of the request."""
        given = {
            "Host": target.host_header,
            "User-Agent": asked.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Connection": "close",
            "Authorization": target.authorization,
            "If-None-Match": asked.etag,
            "If-Modified-Since": asked.last_modified,
        }
        fields = [(name, value) for name, value in given.items() if value]
        request = h11.Request(method="GET", target=target.target, headers=fields)
        return (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    async def begin(self) -> h11.Response:
        """Status and headers of the final response."""
        async for event in self._read():
            if isinstance(event, h11.Response):
                if len(event.headers) > _MAX_HEADERS:
                    raise FetchError("bad_response")
                return event
        raise FetchError("bad_response")

    async def body(self, encoding: str) -> bytes:
        """The decoded body. No more than the limit is ever unpacked."""
        unpack = _Unpacker(encoding, self._limits.body)
        async for event in self._read():
            if isinstance(event, h11.Data):
                unpack.feed(bytes(event.data))
        return unpack.finish()

    async def _read(self) -> AsyncIterator[h11.Event]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._some())
                continue
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
                return
            self._events += 1
            if self._events > _MAX_EVENTS:
                raise FetchError("bad_response")
            yield event  # type: ignore[misc]  # the sentinels are gone

    async def _some(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.gap):
                found = await self._reader.read(_CHUNK)
        except TimeoutError:
            raise FetchError("stalled") from None
        self._received += len(found)
        # What is compressed is no larger, and chunking adds little.
        if self._received > self._limits.body + 2**20:
            raise FetchError("too_large")
        return found


class _Unpacker:
    """Bytes as they come in, at most ``limit`` as they go out."""

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:  # also "gzip, gzip"
            raise FetchError("bad_encoding")
        self._encoding = encoding
        self._limit = limit
        self._found = bytearray()
        # 32 + 15: gzip or zlib, as the data say.
        self._zlib = None if encoding in {"", "identity"} else zlib.decompressobj(47)
        self._is_first = True

    def feed(self, data: bytes) -> None:
        self._found += self._unpacked(data) if self._zlib else data
        if len(self._found) > self._limit:
            raise FetchError("too_large")

    def finish(self) -> bytes:
        if self._zlib and not self._zlib.eof and not self._is_first:
            raise FetchError("bad_encoding")
        return bytes(self._found)

    def _unpacked(self, data: bytes) -> bytes:
        if self._is_first and self._encoding == "deflate" and data and data[0] & 0x0F != 8:
            self._zlib = zlib.decompressobj(-15)  # many servers leave the zlib header out
        self._is_first = False
        if self._zlib is None or self._zlib.eof:
            raise FetchError("bad_encoding")
        try:
            return self._zlib.decompress(data, self._limit + 1 - len(self._found))
        except zlib.error:
            raise FetchError("bad_encoding") from None


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _field(response: h11.Response, name: bytes) -> str:
    """The first header of this name, without what could break a line of ours."""
    value = next((value for found, value in response.headers if found == name), b"")
    return "".join(letter for letter in value.decode("latin-1") if letter.isprintable())


def _retry_after(text: str, now: datetime) -> int | None:
    """Seconds, at most a day; from a number or from a date."""
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _MAX_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(int(seconds), 0), _MAX_WAIT)

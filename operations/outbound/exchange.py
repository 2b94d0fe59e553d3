"""One request and its response on one connection. h11 only parses; the limits are enforced here.

Nothing is read from the environment: no proxies and no .netrc.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import h11
import msgspec

from .dial import CHUNK, Network, dial
from .errors import OutboundError
from .url_policy import Refused, Target

_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 65536
# Honest servers send pieces of hundreds of bytes; a million pieces of one byte cost seconds of CPU time.
_MAX_EVENTS = 20_000


class Limits(msgspec.Struct, frozen=True):
    """Seconds and bytes. ``gap``: seconds between two pieces. ``body``: bytes of the decoded body."""

    connect: float = 5
    gap: float = 10
    total: float = 20
    body: int = 5 * 2**20


class Request(msgspec.Struct, frozen=True):
    """A request without ``Host`` and ``Connection``, which are added. Headers without a value are left out."""

    method: str
    headers: Mapping[str, str]
    body: bytes = b""


@contextmanager
def failures_as_codes() -> Iterator[None]:
    """Turn every failure of the other side within the block into an OutboundError."""
    try:
        yield
    except Refused as error:
        raise OutboundError(error.code) from None
    except TimeoutError:
        raise OutboundError("timeout") from None
    except ssl.SSLError:
        raise OutboundError("tls") from None
    except OSError:
        raise OutboundError("connection") from None
    except h11.ProtocolError:
        raise OutboundError("bad_response") from None


@asynccontextmanager
async def exchange(
    target: Target, request: Request, *, private: bool, limits: Limits, network: Network
) -> AsyncIterator["Answer"]:
    """Dial, send the request and read the response's head. The connection ends with the block."""
    async with asked(target, request, private=private, limits=limits, network=network) as answer:
        await answer.read_head()
        yield answer


@asynccontextmanager
async def asked(
    target: Target, request: Request, *, private: bool, limits: Limits, network: Network
) -> AsyncIterator["Answer"]:
    """The same without waiting for the response, of which nothing was read yet."""
    reader, writer = await dial(target, private=private, timeout=limits.connect, network=network)
    try:
        answer = Answer(reader, limits)
        writer.write(answer.bytes_of(target, request))
        yield answer
    finally:
        # close() would wait for a peer that may not respond.
        writer.transport.abort()


class Answer:
    """The response, read within the limits. Raises OutboundError and h11.ProtocolError."""

    def __init__(self, reader: asyncio.StreamReader, limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
        self._received = 0
        self._events = 0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    def bytes_of(self, target: Target, request: Request) -> bytes:
        given = {"Host": target.host_header, "Connection": "close", **request.headers}
        if request.body:
            given["Content-Length"] = str(len(request.body))
        head = h11.Request(
            method=request.method,
            target=target.target,
            # A header that is passed on may hold any byte.
            headers=[
                (name.encode(), value.encode("latin-1")) for name, value in given.items() if value
            ],
        )
        events = (head, h11.Data(data=request.body), h11.EndOfMessage())
        return b"".join(self._http.send(event) or b"" for event in events)

    async def read_head(self) -> None:
        """Read status and headers of the final response; interim responses are skipped."""
        async for event in self._read():
            if isinstance(event, h11.Response):
                if len(event.headers) > _MAX_HEADERS:
                    break
                self.status, self.headers = event.status_code, list(event.headers)
                return
        raise OutboundError("bad_response")

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces, including bytes beyond the Content-Length."""
        async for event in self._read():
            if isinstance(event, h11.Data):
                yield bytes(event.data)
        if self.fields(b"content-length"):
            async for data in self._beyond():
                yield data

    def fields(self, name: bytes) -> list[str]:
        """The values of all headers with this name, without unprintable characters."""
        return list(printable(value for found, value in self.headers if found == name))

    def field(self, name: bytes) -> str:
        """The first header with this name; empty if there is none."""
        return next(iter(self.fields(name)), "")

    async def _beyond(self) -> AsyncIterator[bytes]:
        """Bytes beyond the Content-Length: some scripts count characters instead of bytes.

        The connection carries nothing else, so these bytes are the end of the list.
        """
        data, _ = self._http.trailing_data
        while data:
            yield data
            data = await self._some()

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
                raise OutboundError("bad_response")
            yield event  # type: ignore[misc]  # the sentinels are gone

    async def _some(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.gap):
                found = await self._reader.read(CHUNK)
        except TimeoutError:
            raise OutboundError("stalled") from None
        self._received += len(found)
        # A compressed body is not larger, and chunking adds little.
        if self._received > self._limits.body + 2**20:
            raise OutboundError("too_large")
        return found


def printable(values: Iterable[bytes]) -> Iterator[str]:
    for value in values:
        yield "".join(letter for letter in value.decode("latin-1") if letter.isprintable())

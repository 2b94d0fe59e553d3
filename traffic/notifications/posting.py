"""One POST to an address that an operator has set: bounded in time and size, and followed nowhere.

h11 only parses: what is dialled and how long it may take is decided here. Nothing is read from the environment: no
proxies, no .netrc. Of the answer only the status is of interest, so no more than its headers is read.
"""

import asyncio
import functools
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11
import msgspec

# Seconds, from the look-up of the name to the status.
TOTAL = 15.0
_MAX_HEADER_BYTES = 65536
_CHUNK = 16384


class PostError(Exception):
    """Why nothing was confirmed: a code, never a text from outside, for that could hold the address."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Address(msgspec.Struct, frozen=True):
    """What a URL says of the way: ``authority`` is the Host header."""

    host: str
    port: int
    authority: str
    path: str
    is_tls: bool


def read_url(url: str) -> Address:
    """Of a URL with http or https and a host, without user and password; ValueError otherwise."""
    parts = urlsplit(url)
    is_clean = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not is_clean:
        raise ValueError("no URL to post to")
    is_tls = parts.scheme == "https"
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Address(parts.hostname, parts.port or (443 if is_tls else 80), parts.netloc, path, is_tls)


def post(url: str, body: bytes, headers: Mapping[str, str], *, total: float = TOTAL) -> None:
    """Return when the answer is 2xx; raises PostError and nothing else, after ``total`` seconds at most."""
    try:
        status = asyncio.run(_post(read_url(url), body, headers, total))
    except TimeoutError:
        raise PostError("timeout") from None
    except ssl.SSLError:
        raise PostError("tls") from None
    except OSError:
        raise PostError("connection") from None
    except h11.ProtocolError:
        raise PostError("bad_response") from None
    except ValueError:
        raise PostError("bad_url") from None
    if status // 100 != 2:
        raise PostError(f"http_{status}")


async def _post(to: Address, body: bytes, headers: Mapping[str, str], total: float) -> int:
    async with asyncio.timeout(total):
        reader, writer = await asyncio.open_connection(to.host, to.port, ssl=_tls() if to.is_tls else None)
        try:
            http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
            writer.write(_request(http, to, body, headers))
            return await _status(http, reader)
        finally:
            # Not close(): that waits for a peer that need not answer.
            writer.transport.abort()


def _request(http: h11.Connection, to: Address, body: bytes, headers: Mapping[str, str]) -> bytes:
    sent = {
        "Host": to.authority,
        "User-Agent": "xpert-panel",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    request = h11.Request(method="POST", target=to.path, headers=list((sent | dict(headers)).items()))
    events = (request, h11.Data(data=body), h11.EndOfMessage())
    return b"".join(http.send(event) or b"" for event in events)


async def _status(http: h11.Connection, reader: asyncio.StreamReader) -> int:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK))
        elif not isinstance(event, h11.InformationalResponse):
            raise PostError("bad_response")


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()

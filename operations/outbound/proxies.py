"""Connections through a proxy of the operator's: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, RFC 1929).

The proxy looks up the host's name. So the caller decides where it may lead: only to addresses that the operator has set.
"""

import asyncio
import ipaddress
import re
from base64 import b64encode
from contextlib import suppress
from functools import partial

from operations.hosts import join_host_port
from operations.proxy_urls import Proxy

from .dial import CHUNK, Network, Streams, tls_context
from .errors import OutboundError
from .url_policy import Target

_MAX_HEAD = 16384
_CONNECTED = re.compile(rb"HTTP/1\.[01] 2\d\d ")


def network_of(proxy: Proxy | None) -> Network:
    return Network() if proxy is None else Network(tunnel=partial(_tunnel, proxy))


async def _tunnel(proxy: Proxy, target: Target) -> Streams:
    """Raises OutboundError and OSError."""
    context = tls_context() if proxy.scheme == "https" else None
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port, ssl=context, limit=CHUNK)
    try:
        await (_socks if proxy.scheme.startswith("socks5") else _http)(
            proxy, target, reader, writer
        )
        if target.scheme == "https":
            await writer.start_tls(tls_context(), server_hostname=target.host)
    except asyncio.IncompleteReadError:
        writer.transport.abort()
        raise OutboundError("proxy") from None
    except BaseException:
        with suppress(OSError):
            writer.transport.abort()
        raise
    return reader, writer


async def _http(
    proxy: Proxy, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    place = join_host_port(target.host, target.port)
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.username:
        secret = b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    writer.write("\r\n".join([*lines, "", ""]).encode("ascii"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise OutboundError("proxy") from None
    if len(head) > _MAX_HEAD or not _CONNECTED.match(head):
        raise OutboundError("proxy")


async def _socks(
    proxy: Proxy, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    method = b"\x02" if proxy.username else b"\x00"
    writer.write(b"\x05\x01" + method)
    if await reader.readexactly(2) != b"\x05" + method:
        raise OutboundError("proxy")
    if proxy.username:
        user, password = proxy.username.encode(), proxy.password.encode()
        writer.write(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if (await reader.readexactly(2))[1]:
            raise OutboundError("proxy")
    writer.write(b"\x05\x01\x00" + _socks_address(target.host) + target.port.to_bytes(2, "big"))
    _, reply, _, kind = await reader.readexactly(4)
    if reply or kind not in {1, 3, 4}:
        raise OutboundError("proxy")
    length = (await reader.readexactly(1))[0] if kind == 3 else {1: 4, 4: 16}[kind]
    await reader.readexactly(length + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        name = host.encode("ascii")
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed

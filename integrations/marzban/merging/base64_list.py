"""Links, one per line, in base64: what Marzban calls v2ray."""

import re
from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import unquote

from subscriptions import links
from subscriptions.formats import Written
from subscriptions.links.base64text import decode_text

from .names import Names, NotUnderstood

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S", re.ASCII)


def merged(body: bytes, servers: Sequence[Written]) -> bytes:
    lines = _lines(body.decode())
    names = Names(map(_name, lines))
    return b64encode("\n".join([*lines, *(_named(server, names) for server in servers)]).encode())


def _lines(body: str) -> list[str]:
    """The panel's own links, as it wrote them. The body of a person without any is empty."""
    if not body.strip():
        return []
    try:
        lines = decode_text(body).splitlines()
    except links.LinkError:
        raise NotUnderstood from None
    if not all(_LINK.match(line) for line in lines):
        raise NotUnderstood
    return lines


def _name(line: str) -> str:
    try:
        return links.parse(line).remark
    except links.LinkError:
        return unquote(line.partition("#")[2])


def _named(server: Written, names: Names) -> str:
    name = names.free(server.name)
    return server.text if name == server.name else links.outgoing(links.parse(server.text), name)

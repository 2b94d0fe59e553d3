"""What a source sends: bytes in, servers out. Pure; facts about the forms: docs, page on subscriptions.

The text is decoded by hand: HTTP libraries guess ISO-8859-1 and break every Cyrillic name,
and Python's own base64 silently drops bad characters and fails on missing padding.
"""

import binascii
import codecs
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address

import msgspec

from . import guard, links

MAX_LINES = 5000
MAX_NODES = 2000
_LAYERS = 2
_SCHEMES = [scheme for protocol in links.PROTOCOLS for scheme in protocol.schemes]
_LINK = re.compile(rf"^[^\S\n]*(?:{'|'.join(_SCHEMES)})://", re.IGNORECASE | re.MULTILINE)
# A page's address in a name begins no link of its own.
_GLUED = re.compile(rf"\s(?=(?:{'|'.join(set(_SCHEMES) - {'http', 'https'})})://)", re.IGNORECASE)
_YAML = re.compile(r"^(?:proxies|proxy-providers):", re.MULTILINE)
# A bracket before a name begins a section of other configurations: [Proxy], [Interface].
_JSON = re.compile(r"""\{|\[\s*[\[\]{"\d]""")
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")
_BASE64 = re.compile(r"([A-Za-z0-9+/]+)={0,2}", re.ASCII)
_LINE_END = re.compile(r"\r\n|\n|\r")
_NOT_LINKS = ("#", "//", "STATUS=", "REMARKS=")
_NIL = "00000000-0000-0000-0000-000000000000"


class BodyError(ValueError):
    """Why a body holds no list: ``code`` is empty, html, json, clash-yaml, too_many_lines, no_nodes or unknown."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Parsed(msgspec.Struct, frozen=True):
    """``nodes``: each once, in their order. ``skipped``: how many lines were left out, by reason."""

    nodes: list[links.Node]
    skipped: dict[str, int]


def parse(body: bytes, *, private: bool = False) -> Parsed:
    """The servers of a body. ``private``: those inside somebody's own network as well. Raises BodyError."""
    return nodes_of(lines_of(body), private=private)


def lines_of(body: bytes) -> list[str]:
    """The lines that may be links, out of up to two layers of base64. Raises BodyError."""
    text = _text(body)
    for _ in range(_LAYERS):
        if _kind(text) == "links":
            break
        text = _decoded(text)
    if _kind(text) != "links":
        raise BodyError("unknown")
    return _split(text)


def nodes_of(lines: Iterable[str], *, private: bool = False) -> Parsed:
    """Each line judged by itself; raises BodyError when none is left."""
    found: dict[str, links.Node] = {}
    skipped: Counter[str] = Counter()
    for line in lines:
        try:
            node = links.parse(line)
        except links.LinkError as error:
            skipped[error.code] += 1
            continue
        fingerprint = links.fingerprint(node)
        if reason := _refusal(node, private=private) or ("duplicate" if fingerprint in found else ""):
            skipped[reason] += 1
        elif len(found) >= MAX_NODES:
            skipped["over_limit"] += 1
        else:
            found[fingerprint] = node
    if not found:
        raise BodyError("no_nodes")
    return Parsed(list(found.values()), dict(sorted(skipped.items())))


def is_pseudo(node: links.Node) -> bool:
    """A note of another panel ("limit reached") dressed up as a server."""
    address = guard.parse_address(node.server)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is not None and (address.is_unspecified or (address.is_loopback and node.port == 1)):
        return True
    return node.params.get("uuid") == _NIL


def _refusal(node: links.Node, *, private: bool) -> str:
    if is_pseudo(node):
        return "pseudo"
    return "private_host" if not private and guard.is_private_host(node.server) else ""


def _text(body: bytes) -> str:
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "cp1251"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    return body.decode("latin-1")


def _kind(text: str) -> str:
    """``links``, or ``other``: perhaps encoded. Raises BodyError for what is recognised as no list."""
    stripped = text.strip("\ufeff\0 \t\r\n\f\v")
    if not stripped:
        raise BodyError("empty")
    if stripped.startswith("<"):
        raise BodyError("html")
    if _LINK.search(stripped.replace("\r", "\n")):
        return "links"
    if _JSON.match(stripped):
        raise BodyError("json")
    if _YAML.search(stripped):
        raise BodyError("clash-yaml")
    return "other"


def _decoded(text: str) -> str:
    """One layer of base64: of each line by itself when each gives a link, else of the whole."""
    # Some panels put their comments before the encoded list, not into it.
    lines = [line.strip() for line in _lines(text) if not line.lstrip().startswith("#")]
    # More are one text, wrapped: what counts are the lines inside.
    if 1 < len(lines) <= MAX_LINES:
        by_line = [_base64(line) for line in lines]
        if all(line is not None and _LINK.match(line) for line in by_line):
            return "\n".join(line for line in by_line if line is not None)
    whole = _base64(_BLANKS.sub("", "".join(lines)))
    if whole is not None:
        return whole
    found = [decoded for line in _few(lines) if (decoded := _base64(line)) is not None and _LINK.search(decoded)]
    if not found:
        raise BodyError("unknown")
    return "\n".join(found)


def _base64(text: str) -> str | None:
    """Either alphabet, padded or not; None for anything else."""
    found = _BASE64.fullmatch(text.replace("-", "+").replace("_", "/"))
    if found is None:
        return None
    try:
        return _text(b64decode(found[1] + "=" * (-len(found[1]) % 4)))
    except binascii.Error:
        return None


def _lines(text: str) -> list[str]:
    return [line for line in _LINE_END.split(text.strip("\ufeff\0")) if line.strip()]


def _few(lines: list[str]) -> list[str]:
    if len(lines) > MAX_LINES:
        raise BodyError("too_many_lines")
    return lines


def _split(text: str) -> list[str]:
    lines = _few([part for line in _few(_lines(text)) for part in _GLUED.split(line.strip())])
    return [line for line in lines if line.strip() and not line.lstrip().startswith(_NOT_LINKS)]

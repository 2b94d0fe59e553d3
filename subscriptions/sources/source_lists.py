"""Parses what a source sends: bytes in, servers out. Pure.

The text is decoded here, because HTTP libraries guess ISO-8859-1 and break every Cyrillic name.
Python's base64 is not used alone, because it drops bad characters silently and fails on missing padding.
"""

import binascii
import codecs
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv6Address
from itertools import compress, groupby
from typing import Any

import msgspec

from operations.outbound import url_policy
from subscriptions import links, readers
from subscriptions.readers import Found

from . import provider_notes

MAX_LINES = 5000
MAX_NODES = 2000
_LAYERS = 2
_SCHEMES = [scheme for protocol in links.PROTOCOLS for scheme in protocol.schemes]
_LINK = re.compile(
    rf"^(?:[^\S\n]|[{links.AROUND}])*(?:{'|'.join(_SCHEMES)})://", re.IGNORECASE | re.MULTILINE
)
# What separates two links in one line.
_BETWEEN = re.compile(r"(?:\s|[|,;，、；｜•]|</?\w+\s*/?>|&nbsp;|\\[rn])+$")
_WORD = re.compile(r"\w")
# A bracket before a name starts a section of other configuration formats: [Proxy], [Interface].
_JSON = re.compile(r"""\{|\[\s*[\[\]{"\d]""")
# sing-box allows comments before its JSON.
_COMMENTED_JSON = re.compile(r"(?:\s*(?://[^\n]*\n|/\*[^*]*\*/))+\s*[\[{]")
_SSD = re.compile(r"ssd://", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")
_BASE64 = re.compile(r"([A-Za-z0-9+/]+)={0,2}", re.ASCII)
_BLOCK = re.compile(r"\s*[A-Za-z0-9+/_-]{4,}={0,2}\s*", re.ASCII)
_LINE_END = re.compile(r"\r\n|\n|\r")
_NOT_LINKS = ("#", "//", "STATUS=", "REMARKS=")
_NIL = "00000000-0000-0000-0000-000000000000"
# HiddifyPanel's lines about the account: the first has the time as its address, the other says that it has expired.
_HIDDIFY_MARK = "fake_ip_for_sub_link"
_HIDDIFY_END = {"server": "1.1.1.1", "protocol": "trojan", "password": "1"}
# A list that starts with this many copies of one server has notes at its top: V2Board adds two or three.
_MANY_COPIES = 3
_USERINFO = re.compile(
    r"^[^\S\r\n]*(?:#|//)[^\S\r\n]*[\w-]*subscription-userinfo[^\S\r\n]*[:=]([^\r\n]+)",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
# Encodings that are older than UTF-8, by their Python names.
_LEGACY = re.compile(
    r"gb18030|big5(?:hkscs)?|shift_jis(?:_2004|x0213)?|euc_(?:jp|kr|jis_2004|jisx0213)|iso8859-\d+|cp\d+|koi8-\w"
    r"|tis-620|mac-cyrillic|johab"
)
_GUESS = "cp1251"


class BodyError(ValueError):
    """The body is not a list: ``code`` is empty, html, json, clash-yaml, too_many_lines, no_nodes or unknown.

    json and clash-yaml: a document of that kind without servers. ``left_out``: what it holds instead.
    """

    def __init__(self, code: str, left_out: Sequence[Found] = ()) -> None:
        self.code = code
        self.left_out = left_out
        super().__init__(code)


class Parsed(msgspec.Struct, frozen=True):
    """``nodes``: each once, in order. ``left_out``: names of lines and entries that are not, with their reasons.

    ``userinfo``: the provider's quota from a comment, in the form of the header.
    """

    nodes: list[links.Node]
    left_out: Sequence[Found] = ()
    userinfo: str = ""

    @property
    def skipped(self) -> dict[str, int]:
        """The number of lines left out, by reason."""
        return dict(sorted(Counter(line.code for line in self.left_out).items()))


def parse(body: bytes, *, private: bool = False, charset: str = "") -> Parsed:
    """The servers of a body. Raises BodyError.

    ``private``: also accept servers with private addresses. ``charset``: named by the server; used only for
    text that is not UTF-8.
    """
    layers = _layers(decoded_text(body, charset), charset)
    found = _servers(_found_in(layers[-1]), private=private)
    comments = (comment[1].strip() for text in layers for comment in _USERINFO.finditer(text))
    return msgspec.structs.replace(found, userinfo=next(comments, ""))


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines of a pasted list or a file that may be links, each with its number, from 1.

    In base64 or JSON the decoded lines are counted. Unlike a source, the list may have any number of lines.
    """
    with suppress(BodyError):  # each line is then refused separately, with its number
        last = _layers(text, "")[-1]
        text = text if _is_document(last) else last
    lines = enumerate(_LINE_END.split(text), 1)
    return [(number, link) for number, line in lines for link in _links_of(line)]


def _links_of(line: str) -> list[str]:
    try:
        return _split(line)
    except BodyError:
        return [line]


def decoded_text(body: bytes, charset: str = "") -> str:
    """Decodes UTF-8, UTF-16 with a mark, or an older encoding: the named one, else the usual one for Russian."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", errors="replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _mixed_text(body.removeprefix(codecs.BOM_UTF8), charset)


def _layers(text: str, charset: str) -> list[str]:
    """The received text and every decoded layer; the last one has links, or is a document. Raises BodyError."""
    layers = [_unquoted(text)]
    while _kind(layers[-1]) == "other":
        if len(layers) > _LAYERS:
            raise BodyError("unknown")
        layers.append(_unquoted(_decoded(layers[-1], charset)))
    if _is_document(layers[-1]):
        return layers
    return [*layers, _with_encoded_lines(layers[-1], charset)]


def nodes_of(lines: Iterable[str], *, private: bool = False) -> Parsed:
    """The servers of the lines, each line parsed separately; raises BodyError if there are none."""
    return _servers(map(_found, lines), private=private)


def _found(line: str) -> Found:
    try:
        node = links.parse(line)
    except links.LinkError as error:
        return Found("", code=error.code)
    return Found(node.remark, node)


def _found_in(text: str) -> list[Found]:
    """The entries of a list of links, or of a document. Raises BodyError."""
    if not _is_document(text):
        return list(map(_found, _split(text)))
    try:
        found = readers.read(text)
    except readers.NoDocument:
        raise BodyError(_document_code(text)) from None
    if len(found) > MAX_LINES:
        raise BodyError("too_many_lines")
    return found


def _servers(lines: Iterable[Found], *, private: bool) -> Parsed:
    copies: dict[str, list[links.Node]] = {}
    left_out: list[Found] = []
    leading = 0
    for line in lines:
        if line.node is None:
            left_out.append(line)
            continue
        fingerprint = links.fingerprint(line.node)
        reason = _refusal(line.node, private=private)
        if fingerprint not in copies and len(copies) >= MAX_NODES:
            reason = reason or "over_limit"
        if reason:
            left_out.append(Found(line.name, line.node, reason))
        else:
            copies.setdefault(fingerprint, []).append(line.node)
            leading += len(copies) == 1
    return _distinct(list(copies.values()), leading, left_out)


def _distinct(copies: list[list[links.Node]], leading: int, left_out: list[Found]) -> Parsed:
    """One of each server. ``leading``: number of copies of the first server at the top of the list."""
    found: list[links.Node] = []
    for place, same in enumerate(copies):
        notes = [node for node in same if provider_notes.is_note(node.remark)]
        servers = [node for node in same if not provider_notes.is_note(node.remark)]
        left_out += [Found(node.remark, node, "pseudo") for node in notes]
        if servers:
            best = _best_named(same, servers, leading if place == 0 else 0)
            others = [node for node in servers if node is not best]
            left_out += [Found(node.remark, node, "duplicate") for node in others]
            found.append(best)
    if not found:
        raise BodyError("no_nodes", left_out)
    return Parsed(found, left_out)


def _best_named(same: list[links.Node], servers: list[links.Node], leading: int) -> links.Node:
    """The first copy whose name describes the server. After notes it is the last copy, because notes come first."""
    if len(same) == 1:
        return servers[0]
    is_named = [not provider_notes.mentions_account(node.remark) for node in same]
    named = list(compress(same, is_named))
    in_front = sum(is_named[:leading])
    has_notes = in_front < leading
    if in_front and (has_notes or leading >= _MANY_COPIES):
        return named[in_front - 1]
    return (named or servers)[0]


def is_pseudo(node: links.Node) -> bool:
    """Whether it is a note of another panel ("limit reached") in the form of a server."""
    address = url_policy.parse_address(node.server)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is not None and (address.is_unspecified or (address.is_loopback and node.port == 1)):
        return True
    return node.params.get("uuid") == _NIL or _is_of_hiddify(node)


def _is_of_hiddify(node: links.Node) -> bool:
    said = {
        "server": node.server,
        "protocol": node.protocol,
        "password": node.params.get("password"),
    }
    return said == _HIDDIFY_END or _HIDDIFY_MARK in {*node.params.values(), *node.extra.values()}


def _refusal(node: links.Node, *, private: bool) -> str:
    if is_pseudo(node):
        return "pseudo"
    return "private_host" if not private and url_policy.is_private_host(node.server) else ""


def _mixed_text(body: bytes, charset: str) -> str:
    """Decodes text that is only partly UTF-8, line by line, so that one truncated name does not change the others."""
    lines = re.split(rb"([\r\n]+)", body)
    named = _legacy(charset)
    guess = "" if named or _is_mostly_utf8(lines) else _GUESS
    return "".join(_line(line, named, guess) for line in lines)


def _line(line: bytes, named: str, guess: str) -> str:
    for encoding in filter(None, ("utf-8", named)):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    return line.decode(guess or "utf-8", errors="replace")


def _is_mostly_utf8(lines: list[bytes]) -> bool:
    """Whether a line is non-ASCII UTF-8, or most of the characters are."""
    good = bad = 0
    for line in lines:
        text = line.decode(errors="replace")
        broken = text.count("\ufffd")
        beyond = len(text.encode()) - len(text)
        if beyond and not broken:
            return True
        bad += broken
        good += sum(not letter.isascii() for letter in text) - broken
    return good >= bad


def _legacy(charset: str) -> str:
    """Python's name of a text encoding; empty for UTF-8, for unknown names and for codecs that are not for text."""
    try:
        name = codecs.lookup(charset.lower().removeprefix("x-")).name
    except (LookupError, ValueError):
        return ""
    name = "gb18030" if name in {"gb2312", "gbk"} else name
    return name if _LEGACY.fullmatch(name) else ""


def _unquoted(text: str) -> str:
    """Links from JSON: an array, an object that holds them, or the whole list as one string."""
    stripped = text.strip("\ufeff\0 \t\r\n\f\v")
    if not stripped.startswith(("[", "{", '"')):
        return text
    try:
        found = msgspec.json.decode(stripped.encode())
    except (ValueError, RecursionError):
        return text
    if isinstance(found, str):
        return found
    strings = [each for each in map(_with_links, _strings(found)) if each]
    # The address of a web page is not a list.
    return "\n".join(strings) if any(map(_is_proxy, strings)) else text


def _with_links(text: str) -> str:
    """Also decodes base64, because some panels answer ``{"code": 0, "data": "dmxl…"}``."""
    return text if _LINK.match(text) else _decoded_line(text, "")


def _is_proxy(text: str) -> bool:
    return not text.lstrip().lower().startswith(("http://", "https://"))


def _strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value, in order."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case list() as items:
                waiting += reversed(items)
            case dict() as fields:
                waiting += reversed(fields.values())


def _kind(text: str) -> str:
    """``links``, ``document``, or ``other`` for text that may be encoded. Raises BodyError for a web page."""
    stripped = text.strip("\ufeff\0 \t\r\n\f\v")
    if not stripped:
        raise BodyError("empty")
    if stripped.startswith("<"):
        raise BodyError("html")
    if _LINK.search(stripped.replace("\r", "\n")):
        return "links"
    if _is_document(stripped):
        return "document"
    return "links" if links.holds_link(stripped) else "other"


def _is_document(text: str) -> bool:
    stripped = text.strip("\ufeff\0 \t\r\n\f\v")
    if _LINK.search(stripped.replace("\r", "\n")):
        return False
    begins = _JSON.match(stripped) or _COMMENTED_JSON.match(stripped) or _SSD.match(stripped)
    return begins is not None or readers.is_yaml(stripped)


def _document_code(text: str) -> str:
    return "clash-yaml" if readers.is_yaml(text) else "json"


def _decoded(text: str, charset: str) -> str:
    """The text without one layer of base64."""
    # Some panels put comments before the encoded list.
    lines = [line.strip() for line in _lines(text) if not line.lstrip().startswith("#")]
    together = _decoded_together(lines, charset)
    if together is not None:
        return together
    found = [decoded for line in _few(lines) if (decoded := _decoded_line(line, charset))]
    if not found:
        raise BodyError("unknown")
    return "\n".join(found)


def _decoded_together(lines: list[str], charset: str) -> str | None:
    """Decodes each line separately if each gives a link, else all lines as one block."""
    if 1 < len(lines) <= MAX_LINES:
        by_line = [_base64(line, charset) for line in lines]
        if all(line is not None and _LINK.match(line) for line in by_line):
            return "\n".join(line for line in by_line if line is not None)
    return _base64(_BLANKS.sub("", "".join(lines)), charset)


def _decoded_line(line: str, charset: str) -> str:
    """The decoded line; empty unless it gives a link."""
    decoded = _base64(line.strip(), charset) or ""
    return decoded if _LINK.search(decoded) else ""


def _with_encoded_lines(text: str, charset: str) -> str:
    """Some lists hold base64 blocks beside plain links, one per line or wrapped."""
    all_lines = _LINE_END.split(text)
    if len(all_lines) > MAX_LINES:
        return text
    found: list[str] = []
    for may_be, group in groupby(all_lines, lambda line: bool(_BLOCK.fullmatch(line))):
        lines = list(group)
        found += _encoded(lines, charset) if may_be else lines
    return "\n".join(found)


def _encoded(lines: list[str], charset: str) -> list[str]:
    """The links in a block of base64; lines that give no link stay as they are, and are refused later."""
    together = _decoded_together([line.strip() for line in lines], charset) or ""
    if _LINK.search(together):
        return _lines(together)
    return [inside for line in lines for inside in _lines(_decoded_line(line, charset) or line)]


def _base64(text: str, charset: str) -> str | None:
    """Either alphabet, padded or not; None for anything else."""
    found = _BASE64.fullmatch(text.replace("-", "+").replace("_", "/"))
    if found is None:
        return None
    try:
        return decoded_text(b64decode(found[1] + "=" * (-len(found[1]) % 4)), charset)
    except binascii.Error:
        return None


def _lines(text: str) -> list[str]:
    return [line for line in _LINE_END.split(text.strip("\ufeff\0")) if line.strip()]


def _few(lines: list[str]) -> list[str]:
    if len(lines) > MAX_LINES:
        raise BodyError("too_many_lines")
    return lines


def _split(text: str) -> list[str]:
    lines = _few([part for line in _few(_lines(text)) for part in _apart(line.strip())])
    return [line for line in lines if line.strip() and not line.lstrip().startswith(_NOT_LINKS)]


def _apart(line: str) -> list[str]:
    """The links of a line, whatever stands between them; a page's address in a name begins none."""
    starts = [found.start() for found in links.LINK_BEGINS.finditer(line)]
    if not starts or line.startswith(_NOT_LINKS):
        return [line]
    # A quote before the first belongs to it: its other half is behind.
    if not _WORD.search(_BETWEEN.sub("", line[: starts[0]])):
        starts[0] = 0 if not _BETWEEN.search(line[: starts[0]]) else starts[0]
    else:
        starts = [0, *starts]
    ends = [*starts[1:], None]
    parts = [line[start:end] for start, end in zip(starts, ends, strict=True)]
    return [*(_BETWEEN.sub("", part) for part in parts[:-1]), parts[-1]]

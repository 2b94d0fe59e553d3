"""Configurations of apps as lists of servers: Clash YAML, sing-box and Xray JSON, SIP008, SSD. Pure.

Each entry becomes the server that a share link would give, or is left out with a reason. What a link cannot say
exactly is never guessed.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from subscriptions.links import Node, clean_remark

from . import clash, shadowsocks_lists, sing_box, xray
from .documents import DocumentError, read_json, read_yaml
from .settings import ReadError

__all__ = ["Found", "NoDocument", "is_yaml", "read"]

_YAML = re.compile(r"^(?:proxies|proxy-providers|Proxy)\s*:", re.MULTILINE)
# The name of our own and of most apps' first server, which says nothing.
_NO_TAG = frozenset({"", "proxy"})


class NoDocument(ValueError):  # noqa: N818  an answer about a text
    """The text is not a configuration that holds servers."""


class Found(msgspec.Struct, frozen=True):
    """An entry of a list: its server, or the code of the reason why it has none."""

    name: str
    node: Node | None = None
    code: str = ""


def is_yaml(text: str) -> bool:
    return _YAML.search(text) is not None


def read(text: str) -> list[Found]:
    """All entries that are meant as servers, in order. Raises NoDocument."""
    try:
        document = _document(text.strip("\ufeff\0 \t\r\n\f\v"))
    except (DocumentError, ReadError):
        raise NoDocument from None
    found = list(_entries(document))
    if not found:
        raise NoDocument
    return found


def _document(text: str) -> Any:
    if text.lower().startswith(shadowsocks_lists.SSD):
        return read_json(shadowsocks_lists.ssd_text(text))
    return (
        read_json(text)
        if text.startswith(("{", "[", "/", "#")) and not is_yaml(text)
        else read_yaml(text)
    )


def _entries(document: Any) -> Iterator[Found]:
    """A configuration, or a list of configurations, outbounds or servers."""
    for each in document if isinstance(document, list) else [document]:
        if isinstance(each, dict):
            yield from _of_document(each)


def _of_document(document: dict[str, Any]) -> Iterator[Found]:
    servers, proxies = document.get("servers"), document.get("proxies", document.get("Proxy"))
    if isinstance(proxies, list):
        yield from _each(proxies, clash.read, clash.name_of, clash.NOT_SERVERS, "type")
    elif "outbounds" in document or "endpoints" in document:
        yield from _of_core(document)
    elif isinstance(servers, list):
        reader = shadowsocks_lists
        yield from _each(reader.ssd_servers(document), reader.read, reader.name_of)
    elif "protocol" in document:
        yield from _of_core({"outbounds": [document]})
    elif "server" in document:
        yield from _each([document], *_single(document))


def _single(document: dict[str, Any]) -> tuple[Callable[[Any], Node], Callable[[Any], str]]:
    """How a server that stands alone in a list is read."""
    reader = sing_box if "type" in document else shadowsocks_lists
    return reader.read, reader.name_of


def _of_core(document: dict[str, Any]) -> Iterator[Found]:
    """Outbounds of Xray have a protocol, those of sing-box a type."""
    outbounds = [*_list(document.get("outbounds")), *_list(document.get("endpoints"))]
    if any(isinstance(each, dict) and "protocol" in each for each in outbounds):
        yield from _of_xray(document, outbounds)
    else:
        yield from _each(outbounds, sing_box.read, sing_box.name_of, sing_box.NOT_SERVERS, "type")


def _of_xray(document: dict[str, Any], outbounds: list[Any]) -> Iterator[Found]:
    """The only server has the name of the configuration; each of several has its tag too."""
    title, tags = document.get("remarks"), {xray.name_of(each): each for each in outbounds}
    title = title if isinstance(title, str) else ""
    servers = [each for each in outbounds if not _is_no_server(each, xray.NOT_SERVERS, "protocol")]
    for each in servers:
        tag = xray.name_of(each)
        name = title if title and len(servers) == 1 else _titled(title, tag)
        yield _one(each, name, lambda value, name=name: xray.read(value, name, tags))  # type: ignore[misc]


def _titled(title: str, tag: str) -> str:
    return " ".join(filter(None, [title, "" if tag.lower() in _NO_TAG else tag]))


def _each(
    entries: Iterable[Any],
    reader: Callable[[Any], Node],
    name_of: Callable[[Any], str],
    not_servers: frozenset[str] = frozenset(),
    key: str = "type",
) -> Iterator[Found]:
    for each in entries:
        if not _is_no_server(each, not_servers, key):
            yield _one(each, name_of(each), reader)


def _one(entry: Any, name: str, reader: Callable[[Any], Node]) -> Found:
    shown = clean_remark(name)
    try:
        return Found(shown, reader(entry))
    except ReadError as error:
        return Found(shown, code=error.code)


def _is_no_server(entry: Any, names: frozenset[str], key: str) -> bool:
    kind = entry.get(key) if isinstance(entry, dict) else None
    return isinstance(kind, str) and kind.lower() in names


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

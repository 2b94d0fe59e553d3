"""Output formats of a list of servers: one module per format, and one table of all. Pure: nodes in, bytes out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from subscriptions.links import Node

from . import mihomo, plain, sing_box, xray
from .common import Writer, Written, expressed, text_of, unique_names, written

__all__ = [
    "ASKABLE",
    "NAMES",
    "FormatError",
    "Written",
    "chosen",
    "content_type",
    "entries",
    "left_out",
    "render",
    "text_of",
    "unique_names",
]


class _Format(NamedTuple):
    """``render``: is given the nodes and names that they must not have. ``entry``: writes one node or raises Inexpressible; None if the format can express every link."""

    content_type: str
    render: Callable[[Sequence[Node], frozenset[str]], bytes]
    entry: Writer | None = None


_TEXT, _YAML, _JSON = "text/plain; charset=utf-8", "text/yaml; charset=utf-8", "application/json"
_FORMATS = {
    "plain": _Format(_TEXT, plain.render),
    "base64": _Format(_TEXT, plain.render_base64),
    "mihomo": _Format(_YAML, mihomo.render, mihomo.entry),
    "sing-box": _Format(_JSON, sing_box.render, sing_box.entry),
    "xray": _Format(_JSON, xray.render, xray.entry),
}
NAMES = tuple(_FORMATS)
_ALIASES = {"universal": "plain", "clash": "mihomo"}
# All values of ``format=``; "html" is the subscriber's page.
ASKABLE = (*NAMES, *_ALIASES, "html")


class FormatError(ValueError):
    """The requested format is not available."""


def chosen(asked: str, preferred: str) -> str:
    """The format to render: the requested one, else the client's preferred one, else plain. Raises FormatError."""
    if not asked:
        return preferred if preferred in _FORMATS else "plain"
    name = _ALIASES.get(asked, asked)
    if name not in _FORMATS:
        raise FormatError(f"Unknown format; take one of {', '.join(_FORMATS)}, html.")
    return name


def content_type(name: str) -> str:
    return _FORMATS[name].content_type


def render(name: str, nodes: Sequence[Node], reserved: frozenset[str] = frozenset()) -> bytes:
    """``name``: a result of ``chosen``. Nodes that the format cannot express are left out.

    ``reserved``: as for ``unique_names``.
    """
    return _FORMATS[name].render(nodes, reserved)


def entries(
    name: str, nodes: Sequence[Node], reserved: frozenset[str] = frozenset()
) -> list[Written]:
    """Each server by itself under its unique name: a link, or JSON, for lists that another program has begun."""
    writer = _FORMATS[name].entry
    return list(
        plain.entries(nodes, reserved) if writer is None else written(nodes, writer, reserved)
    )


def left_out(nodes: Sequence[Node]) -> dict[str, int]:
    """The number of nodes that each format cannot express, for formats with such nodes."""
    counts = {
        name: sum(not expressed(node, form.entry) for node in nodes)
        for name, form in _FORMATS.items()
        if form.entry is not None
    }
    return {name: count for name, count in counts.items() if count}

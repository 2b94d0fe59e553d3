"""Forms in which a list of servers goes out: one module a form, one table that names them. Pure: nodes in, bytes out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from subscriptions.links import Node

from . import mihomo, plain, sing_box, xray
from .common import Writer, expressed

__all__ = ["NAMES", "FormatError", "chosen", "content_type", "left_out", "render"]


class _Format(NamedTuple):
    """``entry``: a node in its words, or Inexpressible; None when it can express whatever is a link."""

    content_type: str
    render: Callable[[Sequence[Node]], bytes]
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


class FormatError(ValueError):
    """Why there is no answer in the format that was asked for."""


def chosen(asked: str, preferred: str) -> str:
    """The format to render: what was asked for, else what the client prefers, else plain. Raises FormatError."""
    if not asked:
        return preferred if preferred in _FORMATS else "plain"
    name = _ALIASES.get(asked, asked)
    if name not in _FORMATS:
        raise FormatError(f"Unknown format; take one of {', '.join(_FORMATS)}, html.")
    return name


def content_type(name: str) -> str:
    return _FORMATS[name].content_type


def render(name: str, nodes: Sequence[Node]) -> bytes:
    """``name``: what ``chosen`` gave. Nodes that the format can't express are left out."""
    return _FORMATS[name].render(nodes)


def left_out(nodes: Sequence[Node]) -> dict[str, int]:
    """How many of the nodes each format can't express, for the formats with such nodes."""
    counts = {
        name: sum(not expressed(node, form.entry) for node in nodes)
        for name, form in _FORMATS.items()
        if form.entry is not None
    }
    return {name: count for name, count in counts.items() if count}

"""One link per line, and base64 of that. Almost every app reads it."""

from base64 import b64encode
from collections.abc import Iterator, Sequence

from subscriptions.links import Node, outgoing

from .common import Written, unique_names


def render(nodes: Sequence[Node], _reserved: frozenset[str] = frozenset()) -> bytes:
    """UTF-8 without a byte order mark, with which mihomo would lose the first link."""
    return "".join(f"{outgoing(node)}\n" for node in nodes).encode()


def render_base64(nodes: Sequence[Node], _reserved: frozenset[str] = frozenset()) -> bytes:
    """The standard alphabet with padding on one line, which even the strictest app accepts."""
    return b64encode(render(nodes))


def entries(nodes: Sequence[Node], reserved: frozenset[str] = frozenset()) -> Iterator[Written]:
    """Each link with a unique name."""
    for node, name in zip(nodes, unique_names(nodes, reserved), strict=True):
        yield Written(name, outgoing(node, name))

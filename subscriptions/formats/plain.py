"""One link a line, and base64 of that: what almost every app reads."""

from base64 import b64encode
from collections.abc import Sequence

from subscriptions.links import Node, outgoing


def render(nodes: Sequence[Node]) -> bytes:
    """UTF-8 without a byte order mark: it would cost the first link in mihomo."""
    return "".join(f"{outgoing(node)}\n" for node in nodes).encode()


def render_base64(nodes: Sequence[Node]) -> bytes:
    """Standard alphabet, padded, in one line: what the strictest app takes."""
    return b64encode(render(nodes))

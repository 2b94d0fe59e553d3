"""A panel's list with external servers added to it. Pure: the answer's body in, bytes out.

The panel's answer decides on the format. Whatever is not understood completely is NotUnderstood: it must be passed on
as it is.
"""

from collections.abc import Callable, Sequence

from subscriptions.formats import Written

from . import base64_list, clash, sing_box, xray
from .names import NotUnderstood

__all__ = ["NotUnderstood", "format_of", "merged"]

_JSON = {b"[": "xray", b"{": "sing-box"}


def format_of(content_type: str, body: bytes) -> str:
    """Our name of the format of an answer. Raises NotUnderstood for every other."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/plain":
        return "base64"
    if kind in {"text/yaml", "application/yaml", "application/x-yaml"}:
        return "mihomo"
    if kind == "application/json" and (found := _JSON.get(body.lstrip()[:1])):
        return found
    raise NotUnderstood


def merged(
    format_name: str, body: bytes, servers: Sequence[Written], *, is_old_clash: bool = False
) -> bytes:
    """``servers``: as ``formats.entries`` writes them. ``is_old_clash``: for cores that know few kinds of servers.

    Raises NotUnderstood.
    """
    if format_name == "mihomo":
        servers = clash.known_to_old(servers) if is_old_clash else servers
    try:
        return _MERGERS[format_name](body, servers)
    except (UnicodeError, RecursionError):
        raise NotUnderstood from None


_MERGERS: dict[str, Callable[[bytes, Sequence[Written]], bytes]] = {
    "base64": base64_list.merged,
    "mihomo": clash.merged,
    "sing-box": sing_box.merged,
    "xray": xray.merged,
}

"""Routing rules for Happ, which the operator gives as a link or as JSON. Source: happ.su/main/dev-docs/routing. Pure."""

import json
import re
from base64 import b64decode, b64encode

# Longer headers are refused by nginx with its defaults.
MAX_LENGTH = 3000
_LINK = re.compile(r"happ://routing/(?:off|(?:on)?add/([A-Za-z0-9+/_-]+={0,2}))", re.ASCII)
_ADD = "happ://routing/onadd/"


class NotRouting(ValueError):  # noqa: N818  an answer about a text
    """Neither a link nor a routing profile, or too long."""


def link_of(text: str) -> str:
    """The link that the header holds; empty for an empty text. Raises NotRouting."""
    text = text.strip()
    if text.startswith("{"):
        text = _ADD + b64encode(_compact(text).encode()).decode()
    found = _LINK.fullmatch(text)
    if text and (found is None or len(text) > MAX_LENGTH):
        raise NotRouting
    if found and found[1]:
        _check(found[1])
    return text


def _check(encoded: str) -> None:
    padded = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        text = b64decode(padded + "=" * (-len(padded) % 4), validate=True).decode()
    except ValueError:
        raise NotRouting from None
    _compact(text)


def _compact(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotRouting from None
    if not isinstance(found, dict):
        raise NotRouting
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

"""User ids: UUIDs, and the short texts that Xray, mihomo and sing-box hash into one."""

import re
from uuid import UUID

from .common import LinkError

_UUID = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def parse_uuid(text: str, code: str = "bad_uuid") -> str:
    """A UUID in lower case with dashes."""
    if not text:
        raise LinkError("missing_id")
    if not _UUID.fullmatch(text):
        raise LinkError(code)
    return str(UUID(text))


def parse_id(text: str) -> str:
    """A UUID, or a text of 1 to 30 bytes unchanged."""
    short = text and len(text.encode(errors="replace")) <= 30
    return text if short else parse_uuid(text, "bad_id")

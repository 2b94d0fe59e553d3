"""User ids: UUIDs, and the short texts that Xray, mihomo and sing-box hash into one."""

import re
from uuid import UUID

from .common import LinkError

_UUID = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def parse_uuid(text: str) -> str:
    """Lower case, with dashes."""
    if not text:
        raise LinkError("missing_id")
    if not _UUID.fullmatch(text):
        raise LinkError("bad_id")
    return str(UUID(text))


def parse_id(text: str) -> str:
    """A UUID, or 1 to 30 bytes of text as they are."""
    short = text and len(text.encode(errors="replace")) <= 30
    return text if short else parse_uuid(text)

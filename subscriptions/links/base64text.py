"""Base64 as links contain it: either alphabet, with or without padding and line breaks."""

import binascii
import re
from base64 import b64decode, b64encode, urlsafe_b64encode

from .common import LinkError

_BASE64 = re.compile(r"([A-Za-z0-9+/]*)={0,2}", re.ASCII)


def decode_bytes(text: str, code: str = "bad_base64") -> bytes:
    """Unlike Python's decoder this accepts only base64 and the whitespace of a wrapped text."""
    found = _BASE64.fullmatch("".join(text.split()).replace("-", "+").replace("_", "/"))
    if not found or not found[1]:
        raise LinkError(code)
    try:
        return b64decode(found[1] + "=" * (-len(found[1]) % 4))
    except binascii.Error:
        raise LinkError(code) from None


def decode_text(text: str) -> str:
    """Decode base64 of UTF-8."""
    try:
        return decode_bytes(text).decode()
    except UnicodeDecodeError:
        raise LinkError("bad_base64") from None


def encode(text: str) -> str:
    """The standard alphabet with its padding."""
    return b64encode(text.encode()).decode()


def encode_urlsafe(text: str) -> str:
    """The URL-safe alphabet without padding."""
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_key(text: str, size: int) -> str:
    """A key of exactly ``size`` bytes in the form that cores read: the standard alphabet with padding."""
    if not text:
        raise LinkError("missing_key")
    # A form decoder has turned each plus into a space.
    key = decode_bytes(text.replace(" ", "+"), "bad_key")
    if len(key) != size:
        raise LinkError("bad_key")
    return b64encode(key).decode()

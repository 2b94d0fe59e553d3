"""Headers that VPN apps read. Pure; one slip in their grammar makes some apps refuse the whole subscription."""

import hashlib
import re
from base64 import b64encode
from urllib.parse import quote

# Hours; apps take nothing but digits.
UPDATE_INTERVAL = "1"
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def total(limit: int | None, used: int, *, mode: str, is_quota: bool) -> int:
    """``total`` of the header: the data limit; without one ``used`` bytes, or 0 for "unlimited".

    ``mode``: ``used`` or ``quota`` for everybody, ``auto``: by whether the app reads it as a quota.
    """
    if limit is not None:
        return limit
    if mode == "auto":
        mode = "quota" if is_quota else "used"
    return used if mode == "used" else 0


def userinfo(upload: int, download: int, total: int, expire: int) -> str:
    """``Subscription-Userinfo``: bytes of the period and Unix seconds, all four, no ``;`` at the end."""
    return f"upload={upload}; download={download}; total={total}; expire={expire}"


def profile_title(title: str) -> str:
    """``Profile-Title``: as it is when ASCII, else base64, standard and padded, for a header carries no UTF-8."""
    return title if title.isascii() else f"base64:{b64encode(title.encode()).decode()}"


def content_disposition(title: str, kind: str = "attachment") -> str:
    """``Content-Disposition``: where most apps take the profile's name from. Hiddify wants the quotes.

    ``kind``: ``inline`` for what a browser shall show instead of saving it.
    """
    plain = _UNSAFE.sub("", title).strip() or "subscription"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(title, safe='')}"


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Whether ``If-None-Match`` (a list, or ``*``) names the tag; compared weakly, as RFC 9110 has it."""
    return if_none_match.strip() == "*" or tag in _ENTITY_TAG.findall(if_none_match)

"""Headers that VPN apps read. Pure. Some apps refuse the whole subscription if one header is malformed."""

import hashlib
import re
from base64 import b64encode
from datetime import datetime
from urllib.parse import quote

# Hours; apps accept only digits.
UPDATE_INTERVAL = "1"
# 1 January 2100, for apps that show 0 as 1 January 1970.
FAR_AWAY = 4_102_444_800
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def total(limit: int | None, used: int, *, mode: str, is_quota: bool) -> int:
    """``total`` of the header: the data limit; without one ``used`` bytes, or 0 for "unlimited".

    ``mode``: ``used`` or ``quota`` for every app; ``auto``: depends on whether the app reads it as a quota.
    """
    if limit is not None:
        return limit
    if mode == "auto":
        mode = "quota" if is_quota else "used"
    return used if mode == "used" else 0


def expire(expires_at: datetime | None, *, zero_is_1970: bool) -> int:
    """``expire`` of the header: Unix seconds; "never" is 0, or a date in 2100 for apps that would show 1970."""
    if expires_at is None:
        return FAR_AWAY if zero_is_1970 else 0
    return max(int(expires_at.timestamp()), 1)


def userinfo(upload: int, download: int, total: int, expire: int) -> str:
    """``Subscription-Userinfo``: bytes of the period and Unix seconds, all four, no ``;`` at the end."""
    return f"upload={upload}; download={download}; total={total}; expire={expire}"


def readable(text: str) -> str:
    """``Profile-Title`` and ``Announce``: unchanged when ASCII, else standard padded base64, because a header cannot carry UTF-8."""
    return text if text.isascii() else f"base64:{b64encode(text.encode()).decode()}"


def content_disposition(title: str, kind: str = "attachment") -> str:
    """``Content-Disposition``: most apps take the profile's name from it. Hiddify needs the quotes.

    ``kind``: ``inline`` for content that a browser should show instead of saving.
    """
    plain = _UNSAFE.sub("", title).strip() or "subscription"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(title, safe='')}"


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Whether ``If-None-Match`` (a list, or ``*``) names the tag, by the weak comparison of RFC 9110."""
    return if_none_match.strip() == "*" or tag in _ENTITY_TAG.findall(if_none_match)

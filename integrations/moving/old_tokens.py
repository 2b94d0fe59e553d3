"""Subscription tokens that Marzban and PasarGuard have signed. Pure.

A token is ``name,seconds`` in base64url and ten characters of SHA-256; PasarGuard's is ``v3,id,seconds``, a dot and an
HMAC-SHA256. The oldest ones are JSON Web Tokens. A panel makes a new one for every answer, and all of them stay valid.
"""

import binascii
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256

import msgspec

_HASHED = re.compile(r"([\w-]{10,190})([\w-]{10})", re.ASCII)
_KEYED = re.compile(r"([\w-]{10,190})\.([\w-]{43})", re.ASCII)
_JWT = re.compile(r"(eyJ[\w-]{10,190}\.[\w-]{10,190})\.([\w-]{43})", re.ASCII)
_PAYLOAD = re.compile(
    rb"(?:(?P<name>[A-Za-z0-9_.@-]{1,128})|v[23],(?P<number>\d{1,18})),(?P<at>\d{9,12})"
)


class Token(msgspec.Struct, frozen=True):
    """What a token claims: a user by name or by number, and when it was made, in Unix seconds."""

    signed: str
    signature: str
    sign: Callable[[str, str], str]
    made: int
    username: str = ""
    number: int | None = None

    def is_signed_with(self, secret: str) -> bool:
        return hmac.compare_digest(self.sign(self.signed, secret), self.signature)


class _Claims(msgspec.Struct):
    sub: str
    access: str
    iat: int


def read(token: str) -> Token | None:
    """What a token claims, which nobody has confirmed; None if it has none of the forms."""
    for form, sign in ((_KEYED, _hmac), (_HASHED, _sha256)):
        found = form.fullmatch(token)
        payload = _PAYLOAD.fullmatch(_decoded(found[1])) if found else None
        if found and payload:
            name, number = (payload["name"] or b"").decode(), payload["number"]
            made = int(payload["at"])
            return Token(
                found[1], found[2], sign, made, name, None if number is None else int(number)
            )
    return _jwt(token)


def _jwt(token: str) -> Token | None:
    found = _JWT.fullmatch(token)
    if not found:
        return None
    try:
        claims = msgspec.json.decode(_decoded(found[1].partition(".")[2]), type=_Claims)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if claims.access != "subscription":
        return None
    return Token(found[1], found[2], _hmac, claims.iat, claims.sub)


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _sha256(signed: str, secret: str) -> str:
    return urlsafe_b64encode(sha256((signed + secret).encode()).digest()).decode()[:10]


def _hmac(signed: str, secret: str) -> str:
    digest = hmac.digest(secret.encode(), signed.encode(), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")

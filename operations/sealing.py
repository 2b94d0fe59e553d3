"""Encryption of secrets that the panel must be able to read again, such as passwords of other panels.

The keys are derived from ``SECRET_KEY``, so that a copy of the database alone does not reveal the secrets. The scheme is
encrypt-then-MAC with the standard library: HMAC-SHA256 in counter mode with a random nonce, then HMAC-SHA256 of nonce
and ciphertext.
"""

import binascii
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import count

from django.conf import settings
from django.utils.crypto import salted_hmac

_NONCE, _TAG, _BLOCK = 16, 32, 32


class CannotOpenError(Exception):
    """The text was sealed under another SECRET_KEY, or was changed."""


def seal(secret: str) -> str:
    """Encrypt; the result differs every time. Empty stays empty."""
    if not secret:
        return ""
    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + _mask(secret.encode(), nonce, settings.SECRET_KEY)
    return urlsafe_b64encode(sealed + _tag(sealed, settings.SECRET_KEY)).decode()


def unseal(sealed: str) -> str:
    """Decrypt with SECRET_KEY or one of SECRET_KEY_FALLBACKS; raises CannotOpenError."""
    if not sealed:
        return ""
    whole = _decoded(sealed)
    body, tag = whole[:-_TAG], whole[-_TAG:]
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if len(body) > _NONCE and hmac.compare_digest(tag, _tag(body, key)):
            return _mask(body[_NONCE:], body[:_NONCE], key).decode()
    raise CannotOpenError


def _decoded(sealed: str) -> bytes:
    try:
        return urlsafe_b64decode(sealed)
    except (binascii.Error, ValueError):
        raise CannotOpenError from None


def _mask(text: bytes, nonce: bytes, key: str | bytes) -> bytes:
    """The text XOR the key stream: the same in both directions."""
    own = _derived("encryption", key)
    stream = b"".join(
        hmac.digest(own, nonce + block.to_bytes(8), "sha256")
        for block, _ in zip(count(), range(0, len(text), _BLOCK), strict=False)
    )
    return bytes(one ^ other for one, other in zip(text, stream, strict=False))


def _tag(sealed: bytes, key: str | bytes) -> bytes:
    return hmac.digest(_derived("authentication", key), sealed, "sha256")


def _derived(purpose: str, key: str | bytes) -> bytes:
    return salted_hmac(f"operations.sealing.{purpose}", "", key, algorithm="sha256").digest()

"""Signatures of webhooks, which prove their sender and time. Described in docs/notifications.md."""

import hashlib
import hmac
from datetime import datetime

TIMESTAMP, SIGNATURE, ID = "Xpert-Timestamp", "Xpert-Signature", "Xpert-Id"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over ``timestamp``, a full stop and the body, as ``sha256=`` and hexadecimal digits."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def signed_headers(secret: str, id_: int, body: bytes, now: datetime) -> dict[str, str]:
    timestamp = str(int(now.timestamp()))
    return {ID: str(id_), TIMESTAMP: timestamp, SIGNATURE: signature(secret, timestamp, body)}

"""The API key with which PasarGuard calls our node. Only its digest is kept."""

import hashlib
import hmac
import uuid

from .models import PanelLink


def renew(link: PanelLink) -> str:
    """A new key, to be shown or sent once; the old one ends."""
    key = str(uuid.uuid4())
    link.node_key = digest(key)
    link.save(update_fields=["node_key"])
    return key


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_right(expected: str, key: str) -> bool:
    """``expected``: a digest; empty: no key is right."""
    return bool(expected) and hmac.compare_digest(expected, digest(key))

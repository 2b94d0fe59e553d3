"""What one person shows a gateway for one server. Derived, so that nothing is stored and a new token changes it. Pure."""

import hmac
import uuid
from base64 import b64encode, urlsafe_b64encode

CIPHER = "2022-blake3-aes-128-gcm"
# VLESS's flow with REALITY: it hides that there is TLS inside of TLS.
VISION = "xtls-rprx-vision"
_KEY_SIZE = 16


def personal(secret: str, token: str, server: str) -> bytes:
    """32 bytes for one person and server. ``server``: its tag."""
    return _derived(secret, f"person\0{server}\0{token}")


def nobody(secret: str, server: str) -> bytes:
    """32 bytes that are given to nobody. ``server``: its tag."""
    return _derived(secret, f"nobody\0{server}")


def password(digest: bytes) -> str:
    return urlsafe_b64encode(digest).decode().rstrip("=")


def uuid_of(digest: bytes) -> str:
    return str(uuid.UUID(bytes=digest[:16], version=4))


def shadowsocks_key(digest: bytes) -> str:
    return b64encode(digest[:_KEY_SIZE]).decode()


def shadowsocks_server_key(secret: str) -> str:
    """The part of the password that all people of a gateway share."""
    return shadowsocks_key(_derived(secret, "shadowsocks"))


def short_id(secret: str) -> str:
    """What apps show for REALITY, beside the public key."""
    return _derived(secret, "short id")[:8].hex()


def api_secret(secret: str) -> str:
    """For the core's own interface, which its agent reads."""
    return password(_derived(secret, "api"))


def _derived(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")

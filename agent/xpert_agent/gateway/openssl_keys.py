"""REALITY keys and certificates made by openssl, for a core that makes none or makes them in a form of its own."""

from __future__ import annotations

import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Sequence

TIMEOUT = 60.0
_X25519 = 32
"""Bytes of a key; they are the last ones of its DER form (RFC 8410)."""


def reality_pair() -> tuple[str, str]:
    """The private and the public key as Xray writes them. Raises OSError."""
    private = _openssl(["genpkey", "-algorithm", "X25519", "-outform", "DER"])
    public = _openssl(["pkey", "-inform", "DER", "-pubout", "-outform", "DER"], private)
    return _text(private), _text(public)


def certificate(host: str, days: int) -> str:
    """The PEM texts of a key and of a certificate for it. Raises OSError."""
    arguments = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    arguments += ["-days", str(days), "-subj", "/CN=gateway", "-addext", f"subjectAltName={_alternative(host)}"]  # fmt: skip
    return _openssl([*arguments, "-keyout", "-", "-out", "-"]).decode("ascii")


def _alternative(host: str) -> str:
    is_address = ":" in host or host.replace(".", "").isdigit()
    return f"{'IP' if is_address else 'DNS'}:{host}"


def _text(der: bytes) -> str:
    return urlsafe_b64encode(der[-_X25519:]).decode().rstrip("=")


def _openssl(arguments: Sequence[str], given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(  # noqa: S603
            ["openssl", *arguments],  # noqa: S607
            input=given,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError("openssl does not answer") from error
    if done.returncode:
        raise OSError("openssl cannot make it")
    return done.stdout

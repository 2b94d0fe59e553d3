"""The node's own certificate, and how it recognises the panel's."""

import hashlib
import ipaddress
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

from operations.conf import MAX_DAYS

from . import marks

# Marzban checks this name, and no other.
NAME = "Gozargah"
_DAYS = MAX_DAYS
_PATIENCE = 30


class CertificateError(Exception):
    """Why there is no usable certificate, as a sentence."""


class Own(NamedTuple):
    key: Path
    certificate: Path


def own() -> Own:
    """Key and certificate, made on the first start. Self-signed, because Marzban fetches and pins the leaf alone.

    Raises CertificateError.
    """
    folder = marks.make_folder()
    found = Own(folder / "node.key", folder / "node.pem")
    if not (found.key.exists() and found.certificate.exists()):
        _make(found)
    return found


def of_host(host: str) -> Own:
    """The same for a panel that checks the name or address by which it reaches the node."""
    folder = marks.make_folder()
    digest = hashlib.sha256(host.encode()).hexdigest()[:16]
    found = Own(folder / f"host-{digest}.key", folder / f"host-{digest}.pem")
    if not (found.key.exists() and found.certificate.exists()):
        _make(found, host)
    return found


def _make(target: Own, host: str = "") -> None:
    key = target.key.with_suffix(".key.new")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", str(_DAYS), "-subj", f"/CN={NAME}", "-addext", f"subjectAltName={_names(host)}",
        "-keyout", str(key), "-out", str(target.certificate),
    ]  # fmt: skip
    key.touch(mode=0o600)
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)  # noqa: S603
    except FileNotFoundError:
        raise CertificateError(
            "The program openssl is missing; the node makes its certificate with it."
        ) from None
    except subprocess.SubprocessError:
        raise CertificateError(f"openssl could not make {target.certificate}.") from None
    key.replace(target.key)
    for path in target:
        marks.own_like_folder(path)


def _names(host: str) -> str:
    if not host:
        return f"DNS:{NAME}"
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def open_context(ours: Own) -> ssl.SSLContext:
    """Lets in everybody: who calls is known by a key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(ours.certificate, ours.key)
    return context


def der(pem: str) -> bytes:
    """Raises CertificateError when it is not one certificate in PEM."""
    try:
        found = ssl.PEM_cert_to_DER_cert(pem.strip())
        ssl.create_default_context(cadata=found)
    except (ValueError, ssl.SSLError):
        raise CertificateError(
            "The client certificate is not the one from Node Settings of the panel."
        ) from None
    return found


def server_context(panel: str, ours: Own) -> ssl.SSLContext:
    """Lets in whoever holds the key of the panel's certificate. Raises CertificateError.

    TLS 1.3 alone: with TLS 1.2, Marzban's first connection, which has no certificate, would not get ours.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(ours.certificate, ours.key)
    context.load_verify_locations(cadata=der(panel))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def fingerprint(pem: str) -> str:
    """SHA-256, as browsers and openssl show it. Raises CertificateError."""
    digest = hashlib.sha256(der(pem)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))

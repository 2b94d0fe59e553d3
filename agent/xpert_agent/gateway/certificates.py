"""What apps pin of a certificate, and until when it is valid (RFC 5280, X.690). Pure."""

from __future__ import annotations

import ssl
from base64 import b64encode
from datetime import datetime, timezone
from hashlib import sha256
from typing import NamedTuple

_VERSION = 0xA0
_UTC_TIME = 0x17


class CertificateError(ValueError):
    """This is not a certificate."""


class Certificate(NamedTuple):
    sha256: str
    """The whole of it, in hexadecimal."""
    public_key_sha256: str
    """Its SubjectPublicKeyInfo, in base64."""
    ends_at: int
    """Unix seconds."""


class _Part(NamedTuple):
    tag: int
    content: bytes
    whole: bytes


def certificate(pem: str) -> Certificate:
    """The first one of a PEM text; raises `CertificateError`."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    at = pem.find(begin)
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[at : pem.index(end, at) + len(end)])
        signed = _parts(_parts(_parts(der)[0].content)[0].content)
        fields = signed[1:] if signed[0].tag == _VERSION else signed
        # After the serial number, the algorithm and the issuer: validity, subject, public key.
        validity, public_key = fields[3], fields[5]
        ends_at = _moment(_parts(validity.content)[1])
    except (ValueError, IndexError) as error:
        raise CertificateError from error
    key = b64encode(sha256(public_key.whole).digest()).decode()
    return Certificate(sha256(der).hexdigest(), key, ends_at)


def _parts(data: bytes) -> list[_Part]:
    found = []
    at = 0
    while at < len(data):
        start = at
        tag, size, at = data[at], data[at + 1], at + 2
        if size > 0x7F:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        found.append(_Part(tag, data[at : at + size], data[start : at + size]))
        at += size
    return found


def _moment(part: _Part) -> int:
    text = part.content.decode("ascii")
    if part.tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp())

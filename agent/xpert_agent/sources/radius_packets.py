"""RADIUS accounting packets (RFC 2866; gigawords from RFC 2869): checked, parsed, answered."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from typing import NamedTuple

REQUEST, RESPONSE = 4, 5
START, STOP, INTERIM, ON, OFF = 1, 2, 3, 7, 8
_HEADER = struct.Struct("!BBH16s")
_USER_NAME, _NAS_ADDRESS, _CALLING, _NAS_IDENTIFIER, _PROXY_STATE = 1, 4, 31, 32, 33
_STATUS, _DELAY, _INPUT, _OUTPUT, _SESSION_ID, _SESSION_TIME = 40, 41, 42, 43, 44, 46
_INPUT_HIGH, _OUTPUT_HIGH, _NAS_ADDRESS_6 = 52, 53, 95


class Octets(NamedTuple):
    """One direction's counter, as 32 bits and how often they ran over (None: not told)."""

    low: int
    high: int | None


class Accounting(NamedTuple):
    """What a NAS tells of one session, or of itself."""

    status: int
    nas: str
    """The NAS's own address, "" if it does not tell it."""
    nas_name: str
    session_id: str
    user: str
    received: Octets | None
    """From the user, as the NAS sees it."""
    sent: Octets | None
    session_time: int | None
    delay: int
    """Seconds for which the NAS has been trying to send this."""


def is_authentic(packet: bytes, secret: bytes) -> bool:
    """Whether an Accounting-Request was made with this secret."""
    whole = _whole(packet)
    if whole is None:
        return False
    code, identifier, length, authenticator = _HEADER.unpack_from(whole)
    signed = _HEADER.pack(code, identifier, length, bytes(16)) + whole[_HEADER.size :] + secret
    expected = _md5(signed)
    return code == REQUEST and hmac.compare_digest(expected, authenticator)


def parse(packet: bytes) -> Accounting | None:
    """An authentic request's content; None if its attributes are malformed."""
    attributes = _attributes(packet)
    if attributes is None:
        return None
    first = dict(reversed(attributes))
    numbers = {number: _number(value) for number, value in first.items()}
    return Accounting(
        status=numbers.get(_STATUS) or 0,
        nas=_address(first.get(_NAS_ADDRESS, b"")) or _address(first.get(_NAS_ADDRESS_6, b"")),
        nas_name=_text(first.get(_NAS_IDENTIFIER, b"")),
        session_id=_text(first.get(_SESSION_ID, b"")),
        user=_text(first.get(_USER_NAME) or first.get(_CALLING, b"")),
        received=_octets(numbers.get(_INPUT), numbers.get(_INPUT_HIGH)),
        sent=_octets(numbers.get(_OUTPUT), numbers.get(_OUTPUT_HIGH)),
        session_time=numbers.get(_SESSION_TIME),
        delay=numbers.get(_DELAY) or 0,
    )


def response(packet: bytes, secret: bytes) -> bytes:
    """The answer that tells the NAS to forget this request. A proxy's own state goes back."""
    code_id = struct.pack("!BB", RESPONSE, packet[1])
    states = b"".join(
        bytes((number, len(value) + 2)) + value
        for number, value in _attributes(packet) or []
        if number == _PROXY_STATE
    )
    head = code_id + struct.pack("!H", _HEADER.size + len(states))
    signed = head + packet[4 : _HEADER.size] + states + secret
    return head + _md5(signed) + states


def _md5(signed: bytes) -> bytes:
    """What RFC 2866 prescribes; allowed on machines where MD5 is switched off for security."""
    return hashlib.md5(signed, usedforsecurity=False).digest()


def _whole(packet: bytes) -> bytes | None:
    """The packet without padding; None if it is cut off."""
    if len(packet) < _HEADER.size:
        return None
    length = int(_HEADER.unpack_from(packet)[2])
    return packet[:length] if _HEADER.size <= length <= len(packet) else None


def _attributes(packet: bytes) -> list[tuple[int, bytes]] | None:
    rest = (_whole(packet) or b"")[_HEADER.size :]
    found = []
    while rest:
        if len(rest) < 2 or not 2 <= rest[1] <= len(rest):
            return None
        found.append((rest[0], rest[2 : rest[1]]))
        rest = rest[rest[1] :]
    return found


def _number(value: bytes) -> int | None:
    return int.from_bytes(value, "big") if len(value) == 4 else None


def _octets(low: int | None, high: int | None) -> Octets | None:
    return Octets(low, high) if low is not None else None


def _address(value: bytes) -> str:
    return str(ipaddress.ip_address(value)) if len(value) in (4, 16) else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip("\0")

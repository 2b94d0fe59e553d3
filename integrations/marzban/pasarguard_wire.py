"""What PasarGuard and its nodes say to each other: pure functions on bytes, like ``wire``.

Source of the names and numbers: ``common/service.proto`` of PasarGuard's nodes. Users have no name there, only an id.
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .wire import WireError, bytes_of, fields_of, text_of, varint

# Those newer than 0.2.0 are sent users in chunks. Neither may be empty.
_CORE_VERSION, _NODE_VERSION = b"1.0.0", b"0.5.2"
_MAX_DIGITS = 18
_OUTBOUNDS, _USERS = 0, 4


class User(NamedTuple):
    """``is_active``: somebody without an inbound is limited, expired, disabled or deleted."""

    user_id: int
    is_active: bool


class StatsQuery(NamedTuple):
    is_of_users: bool
    is_of_outbounds: bool
    reset: bool


def backend(message: bytes) -> list[User]:
    """The users of a ``Backend``, which is a complete list. Its configuration and credentials are skipped."""
    return list(_users(message, 3))


def users(message: bytes) -> list[User]:
    """Read ``Users`` or ``UsersChunk``, which bring changes. Raises WireError."""
    return list(_users(message, 1))


def user(message: bytes) -> list[User]:
    """Read one ``User``; empty for an id that is not a number. Raises WireError."""
    is_active, email = False, ""
    for number, value in fields_of(message):
        if number == 1:
            email = text_of(value)
        is_active = is_active or (number == 3 and bool(bytes_of(value)))
    known = email.isascii() and email.isdecimal() and len(email) <= _MAX_DIGITS
    return [User(int(email), is_active)] if known else []


def chunks(body: bytes) -> Iterator[bytes]:
    """Messages of a stream, each after its length. Raises WireError."""
    while body:
        size, at = _length(body)
        if at + size > len(body):
            raise WireError("A message is longer than its stream.")
        yield body[at : at + size]
        body = body[at + size :]


def stats_query(message: bytes) -> StatsQuery:
    """Raises WireError."""
    found = dict(fields_of(message))
    kind = found.get(3, _OUTBOUNDS)
    return StatsQuery(kind == _USERS, kind == _OUTBOUNDS, bool(found.get(2, 0)))


def user_stat(user_id: int, _username: str, value: int) -> bytes:
    """One entry of a ``StatResponse``. Raises WireError."""
    return _stat(str(user_id).encode(), b"downlink", value)


def outbound_stats(tag: str, upload: int, download: int) -> bytes:
    name = tag.encode()
    directions = ((b"uplink", upload), (b"downlink", download))
    return b"".join(_stat(name, direction, value) for direction, value in directions if value)


def base_info(*, is_started: bool) -> bytes:
    started = b"\x08\x01" if is_started else b""
    return started + _field(2, _CORE_VERSION) + _field(3, _NODE_VERSION)


def system_stats(uptime: int) -> bytes:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        b"\x08" + varint(total) + b"\x18" + varint(os.cpu_count() or 1) + b"\x38" + varint(uptime)
    )


def log(line: str) -> bytes:
    return _field(1, line.encode())


def _users(message: bytes, field: int) -> Iterable[User]:
    for number, value in fields_of(message):
        if number == field:
            yield from user(bytes_of(value))


def _stat(name: bytes, direction: bytes, value: int) -> bytes:
    if value <= 0:
        raise WireError(f"PasarGuard cannot take {value} bytes.")
    body = _field(1, name) + _field(2, direction) + _field(3, b"traffic") + b"\x20" + varint(value)
    return _field(1, body)


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def _length(body: bytes) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(body[:5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, place + 1
    raise WireError("A length has no end.")

"""sing-box's connection events (daemon/started_service.proto, sing-box 1.14), decoded quickly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from xpert_agent.protobuf import as_number, bytes_field, fields

NEW, UPDATE, CLOSED = 0, 1, 2

_USER, _OUTBOUND, _INBOUND = 10, 19, 2
_CREATED, _CLOSED_AT, _UP, _DOWN = 12, 13, 16, 17
_WANTED = frozenset({_USER, _OUTBOUND, _INBOUND, _CREATED, _CLOSED_AT, _UP, _DOWN})
_LONGEST = 16 * 1024
"""Bytes of a connection; the longest that was seen has 400."""


class Event(NamedTuple):
    kind: int
    id: str
    connection: bytes
    """Not decoded: most connections are decoded once, when they close. Empty: not sent."""
    up: int
    """Bytes since the last event of this connection, for an UPDATE."""
    down: int


class Connection(NamedTuple):
    user: str
    inbound: str
    outbound: str
    created_at: float
    """Unix seconds."""
    is_closed: bool
    up: int
    """Bytes since it was opened, as down."""
    down: int


def events(message: bytes) -> Iterator[Event]:
    """The events of one ConnectionEvents message, in order. Raises ValueError for a broken one."""
    for number, value in fields(message):
        if number == 1 and isinstance(value, bytes):
            found = dict(fields(value))
            yield Event(
                as_number(found.get(1)),
                _text(found.get(2)),
                _bytes(found.get(3)),
                as_number(found.get(4)),
                as_number(found.get(5)),
            )


def events_of(message: bytes, identities: Iterable[str]) -> Iterator[Event]:
    """The events of these connections, one each, in a message that lists all of them.

    Most of it is not decoded. Raises ValueError for a broken one.
    """
    for identity in identities:
        mark = bytes_field(2, identity.encode())
        at = message.find(mark)
        if at >= 0:
            after = fields(message[at + len(mark) : at + len(mark) + _LONGEST])
            number, value = next(after, (0, b""))
            if number == 3:
                yield Event(NEW, identity, _bytes(value), 0, 0)


def connection(message: bytes) -> Connection:
    """Raises ValueError for a broken message."""
    found = _wanted(message)
    return Connection(
        user=_text(found.get(_USER)),
        inbound=_text(found.get(_INBOUND)),
        outbound=_text(found.get(_OUTBOUND)),
        created_at=as_number(found.get(_CREATED)) / 1000,
        is_closed=as_number(found.get(_CLOSED_AT)) > 0,
        up=as_number(found.get(_UP)),
        down=as_number(found.get(_DOWN)),
    )


def _wanted(message: bytes) -> dict[int, int | bytes]:
    return {number: value for number, value in fields(message) if number in _WANTED}


def _bytes(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: int | bytes | None) -> str:
    return _bytes(value).decode("utf-8", "replace")

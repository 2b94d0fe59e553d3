"""Ends connections of people who are out, by the core's own interface."""

from __future__ import annotations

from collections.abc import Collection

from xpert_agent.protobuf import bytes_field, number_field
from xpert_agent.sources.grpc_web import Stream, Target, call
from xpert_agent.sources.singbox import SERVICE
from xpert_agent.sources.singbox_events import connection, events

TIMEOUT = 5.0
_SLOWLY = 3600 * 10**9
"""Nanoseconds between two updates: the first message alone is wanted."""


def close_connections(target: Target, users: Collection[str]) -> int:
    """How many connections of these users were ended; raises `SourceError`."""
    found = [identity for identity, user in _open(target) if user in users]
    for identity in found:
        call(target, f"{SERVICE}/CloseConnection", bytes_field(1, identity.encode()), TIMEOUT)
    return len(found)


def close_all(target: Target) -> None:
    """Ends every connection, each with its last figures told; raises `SourceError`."""
    call(target, f"{SERVICE}/CloseAllConnections", b"", TIMEOUT)


def people_online(target: Target) -> int:
    """How many people have a connection; raises `SourceError`."""
    return len({user.partition("-")[0] for _, user in _open(target) if user})


def _open(target: Target) -> list[tuple[str, str]]:
    """(id, user) of what the core tells first: all that is open."""
    stream = Stream(target, f"{SERVICE}/SubscribeConnections", number_field(1, _SLOWLY), TIMEOUT)
    try:
        messages = stream.messages()
    finally:
        stream.close()
    found = []
    for message in messages:
        for event in events(message):
            told = connection(event.connection)
            if not told.is_closed:
                found.append((event.id, told.user))
    return found

"""The body of 3x-ui's External Traffic Inform, as versions 2.8 to 3.6 send it. No Django here.

It holds the bytes of the last five seconds, and is never sent again. Therefore one bad client never
costs the others their traffic. Only ``email``, ``up`` and ``down`` mean anything: all other fields
are zeros or repeat them, and ``inboundTraffics`` counts the same bytes once more.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from traffic.reports import (
    MAX_BATCH,
    MAX_BYTES,
    Errors,
    InvalidReport,
    field_errors,
    with_whole_characters,
)

MAX_EMAIL = 255
_BYTES = f"Expected a whole number from 0 to {MAX_BYTES}."
_CLIENTS = "Expected a list of clients, or null."
_EXPECTED = {"email": "Expected text.", "up": _BYTES, "down": _BYTES}


class Inform(msgspec.Struct, frozen=True):
    """``traffic``: bytes up and down by e-mail, without zeros. ``rejected``: errors of clients by their place."""

    traffic: dict[str, tuple[int, int]]
    rejected: dict[int, Errors]


_Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)] | None


class _Client(msgspec.Struct):
    email: str = ""
    up: _Bytes = 0
    down: _Bytes = 0


class _Envelope(msgspec.Struct, rename={"clients": "clientTraffics"}):
    clients: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_one = msgspec.json.Decoder(_Client).decode
_decode_many = msgspec.json.Decoder(list[_Client] | None).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode(body: bytes) -> Inform:
    """Take a message apart.

    Raises InvalidReport if it is not an object or its clients are not a list, and
    msgspec.DecodeError, UnicodeError or RecursionError if it is not JSON.
    """
    return with_whole_characters(body, _decoded)


def _decoded(body: bytes) -> Inform:
    traffic: dict[str, tuple[int, int]] = {}
    rejected: dict[int, Errors] = {}
    for place, item in enumerate(_items(body)):
        try:
            client = item if isinstance(item, _Client) else _decode_one(item)
            _add(traffic, client)
        except msgspec.ValidationError as error:
            rejected[place] = field_errors(error, _EXPECTED)
        except InvalidReport as error:
            rejected[place] = error.errors
    if len(traffic) > MAX_BATCH:
        raise InvalidReport("clientTraffics", f"Expected up to {MAX_BATCH} clients with traffic.")
    return Inform(traffic, rejected)


def _items(body: bytes) -> Sequence[_Client | msgspec.Raw]:
    """All at once if all have the right types, else each by itself, so that the bad ones can be named."""
    try:
        clients = _decode_envelope(body).clients
    except msgspec.ValidationError:
        raise InvalidReport("detail", "Expected an object with clientTraffics.") from None
    if clients is msgspec.UNSET:
        return ()
    try:
        return _decode_many(clients) or ()
    except msgspec.ValidationError:
        pass
    try:
        return _decode_items(clients)
    except msgspec.ValidationError:
        raise InvalidReport("clientTraffics", _CLIENTS) from None


def _add(traffic: dict[str, tuple[int, int]], client: _Client) -> None:
    upload, download = client.up or 0, client.down or 0
    if not upload and not download:
        return
    if not 1 <= len(client.email) <= MAX_EMAIL or not client.email.isprintable():
        raise InvalidReport("email", f"Expected 1 to {MAX_EMAIL} printable characters.")
    before = traffic.get(client.email, (0, 0))
    total = before[0] + upload, before[1] + download
    if max(total) > MAX_BYTES:
        raise InvalidReport("up" if total[0] > MAX_BYTES else "down", _BYTES)
    traffic[client.email] = total

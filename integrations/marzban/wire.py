"""What Marzban and its nodes say to each other: pure functions on bytes, without Django and without a protobuf package.

Source of the names and numbers: Xray's ``app/stats/command/command.proto`` and ``app/proxyman/command/command.proto``, and
the requests of Marzban 0.8.4.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

# Marzban's client throws an answer of more than 4 MiB away silently, after the counters were reset. Ten
# thousand entries with Marzban's longest names (32 characters) are less than 1 MiB.
MAX_STATS = 10_000
_MAX_VARINT = 10
_SHORT = [bytes((value,)) for value in range(0x80)]
_MAX_DIGITS, _MAX_NAME = 18, 64
_ADD = "xray.app.proxyman.command.AddUserOperation"
_REMOVE = "xray.app.proxyman.command.RemoveUserOperation"
_EMAIL_OF_USER = 2


class WireError(ValueError):
    """A message that does not follow the protocol."""


class Person(NamedTuple):
    """A user of the panel, as e-mail addresses of the protocol name them: ``{id}.{username}``."""

    user_id: int
    username: str


class Pair(NamedTuple):
    """A person who may use one inbound of the panel."""

    tag: str
    person: Person


class StatsQuery(NamedTuple):
    pattern: str
    reset: bool


class Stat(NamedTuple):
    name: str
    value: int


class Alteration(NamedTuple):
    """One person comes to an inbound, or leaves it."""

    pair: Pair
    is_added: bool


def person(email: str) -> Person | None:
    """None for an address that is not a user of the panel. A user name may hold dots, an id never does."""
    number, dot, username = email.partition(".")
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS
    is_name = username.isascii() and username.isprintable() and 0 < len(username) <= _MAX_NAME
    return Person(int(number), username) if dot and is_number and is_name else None


class _Client(msgspec.Struct):
    email: str = ""


class _InboundSettings(msgspec.Struct):
    clients: list[_Client] | None = None


class _Inbound(msgspec.Struct):
    tag: str = ""
    settings: _InboundSettings | None = None


class _Config(msgspec.Struct):
    inbounds: list[_Inbound] = []


class Call(msgspec.Struct):
    """The body of a REST call. ``config`` is there on ``/start`` and ``/restart``."""

    session_id: str | None = None
    config: str | None = None


_call = msgspec.json.Decoder(Call)
_config = msgspec.json.Decoder(_Config)


def call(body: bytes) -> Call:
    """Raises WireError."""
    try:
        return _call.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WireError("The body is not what Marzban sends.") from None


def pairs(config: str) -> set[Pair]:
    """The people of each inbound. Everything else of the configuration, keys and passwords, is never decoded.

    Raises WireError, without a word of the configuration in it.
    """
    try:
        inbounds = _config.decode(config).inbounds
    except (msgspec.DecodeError, UnicodeError):
        raise WireError("The configuration is not one of Xray.") from None
    found = set()
    for inbound in inbounds:
        for client in (inbound.settings.clients if inbound.settings else None) or ():
            if known := person(client.email):
                found.add(Pair(inbound.tag, known))
    return found


def user_stat(user_id: int, username: str, value: int) -> bytes:
    """Raises WireError, like ``encoded``."""
    name = _user_name(user_id, username)
    if value <= 0:
        raise WireError(f"Marzban cannot take {value} bytes.")
    body = name + varint(value)
    return b"\x0a" + varint(len(body)) + body


@functools.lru_cache(maxsize=65_536)
def _user_name(user_id: int, username: str) -> bytes:
    """The part of an entry that is the same each time: thousands of people are handed over every ten seconds."""
    return _name(f"user>>>{user_id}.{username}>>>traffic>>>downlink") + b"\x10"


def _name(name: str) -> bytes:
    if name.count(">>>") != 3 or ">>>>" in name:
        raise WireError(f"Marzban cannot take {name!r}.")
    encoded = name.encode()
    return b"\x0a" + varint(len(encoded)) + encoded


def outbound_stats(tag: str, upload: int, download: int) -> bytes:
    name = f"outbound>>>{tag.replace('>', '_')}>>>traffic>>>"
    return b"".join(
        encoded(Stat(name + direction, value))
        for direction, value in (("uplink", upload), ("downlink", download))
        if value
    )


def encoded(stat: Stat) -> bytes:
    """One entry of a ``QueryStatsResponse``.

    Raises WireError for a name or a value that would end Marzban's round for all of its nodes.
    """
    if stat.value <= 0:
        raise WireError(f"Marzban cannot take {stat.value} bytes.")
    body = _name(stat.name) + b"\x10" + varint(stat.value)
    return b"\x0a" + varint(len(body)) + body


def sys_stats(uptime: int) -> bytes:
    """A ``SysStatsResponse``: only that there is one matters."""
    return b"\x08\x01\x50" + varint(uptime)


def stats_query(message: bytes) -> StatsQuery:
    """Raises WireError."""
    found = dict(fields_of(message))
    return StatsQuery(text_of(found.get(1, b"")), bool(found.get(2, 0)))


def alteration(message: bytes) -> Alteration | None:
    """Whom an ``AlterInboundRequest`` adds or removes; None when it is about somebody who is not a user.

    The credentials in it are skipped. Raises WireError.
    """
    request = dict(fields_of(message))
    operation = dict(fields_of(bytes_of(request.get(2, b""))))
    kind, value = text_of(operation.get(1, b"")), bytes_of(operation.get(2, b""))
    if kind not in {_ADD, _REMOVE}:
        raise WireError("Neither adds nor removes a user.")
    content = dict(fields_of(value)).get(1, b"")
    if kind == _ADD:
        content = dict(fields_of(bytes_of(content))).get(_EMAIL_OF_USER, b"")
    found = person(text_of(content))
    return Alteration(Pair(text_of(request.get(1, b"")), found), kind == _ADD) if found else None


def varint(value: int) -> bytes:
    if value <= 0x7F:
        return _SHORT[value]
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def fields_of(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field, in order."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                value, at = _varint(message, at)
                yield key >> 3, value
            case 2:
                size, at = _varint(message, at)
                if at + size > len(message):
                    raise WireError("A field is longer than its message.")
                yield key >> 3, message[at : at + size]
                at += size
            case _:
                raise WireError("A field of a kind that these messages don't have.")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + _MAX_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise WireError("A number has no end.")


def bytes_of(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise WireError("A number where there should be bytes.")
    return value


def text_of(value: int | bytes) -> str:
    try:
        return bytes_of(value).decode()
    except UnicodeDecodeError:
        raise WireError("A text is not UTF-8.") from None

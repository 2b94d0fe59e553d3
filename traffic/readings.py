"""The wire format of meter readings: totals that a program has read, strictly checked. No Django here.

Field rules: docs/api.md. Whatever a row has in common with a report is checked by ``reports``.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from .reports import (
    MAX_AGE,
    MAX_AHEAD,
    MAX_BATCH,
    Errors,
    InvalidReport,
    checked_moment,
    checked_token,
    decode_items,
    field_errors,
    is_token,
    normalised_port,
    normalised_protocol,
    normalised_server,
    with_whole_characters,
)

MAX_TOTAL = 2**60
MAX_SOURCES = 50
# Characters that are kept of what a program says about one of its sources.
_MAX_NAME, _MAX_ERROR = 64, 300
_METER = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TOTALS = f"Expected a whole number from 0 to {MAX_TOTAL}."
_EXPECTED = {
    "total_uploaded": _TOTALS,
    "total_downloaded": _TOTALS,
    "person": "Expected text.",
    "meter": "Expected text.",
    "run": "Expected whole Unix seconds.",
    "baseline": "Expected true or false.",
    "readings": "Expected a list of readings.",
    "sources": "Expected a list of sources, each with a name.",
}


Endpoint = tuple[str, int, str]  # host, port, protocol


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One row, normalised: the totals of a person (by token or by name) on a server.

    ``moment``: Unix seconds at which they were read.
    """

    user_token: str
    person: str
    endpoint: Endpoint
    upload: int
    download: int
    moment: int

    @property
    def server(self) -> str:
        return self.endpoint[0]

    @property
    def port(self) -> int:
        return self.endpoint[1]


class Source(msgspec.Struct, frozen=True):
    """What a program reads, and whether it reaches it."""

    name: str
    kind: str = ""
    ok: bool = True
    read_at: int | float | None = None
    error: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A body taken apart: good rows by their place in it, and errors by theirs. ``run``: Unix seconds.

    ``deltas``: its rows hold growth instead of totals, from a program that has no totals; ``run`` then means nothing.
    ``event_id`` (1 to 64 characters, unique among all senders): such a message counts once only.
    """

    meter: str
    run: int
    baseline: bool
    readings: dict[int, Reading]
    rejected: dict[int, Errors]
    sources: tuple[Source, ...] | None = None
    deltas: bool = False
    event_id: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a part of this panel has read of one person on one server, before it is checked.

    One of ``user_token`` and ``person``. ``upload`` and ``download``: totals, or growth in a message of deltas.
    ``timestamp``: Unix seconds at which it was read; None: now.
    """

    server: str
    port: int
    protocol: str
    upload: int = 0
    download: int = 0
    user_token: str | None = None
    person: str | None = None
    timestamp: float | None = None


_Total = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOTAL)]


class _Wire(msgspec.Struct):
    server: str
    port: int | str
    protocol: str
    total_uploaded: _Total
    total_downloaded: _Total
    user_token: str | msgspec.UnsetType = msgspec.UNSET
    person: str | msgspec.UnsetType = msgspec.UNSET
    timestamp: int | float | str | None = None


class _Envelope(msgspec.Struct):
    meter: str
    run: int
    readings: msgspec.Raw
    baseline: bool = False
    sources: list[Source] | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_one = msgspec.json.Decoder(_Wire).decode
_decode_many = msgspec.json.Decoder(list[_Wire]).decode


def decode(body: bytes, now: datetime, *, max_age: timedelta = MAX_AGE) -> Message:
    """Take a message of meter readings apart.

    Raises InvalidReport when something beside its rows is wrong, and msgspec.DecodeError,
    UnicodeError or RecursionError if the body is not JSON at all.
    """
    try:
        return with_whole_characters(body, lambda whole: _decoded(whole, now, max_age))
    except msgspec.ValidationError as error:
        raise _refusal(error) from None


def checked_rows(
    rows: Iterable[Row], now: datetime
) -> tuple[dict[int, Reading], dict[int, Errors]]:
    """The good rows and the errors of the others, by their place, as ``Message`` holds them.

    What a part of this panel has read is checked as what a program sends.
    """
    readings: dict[int, Reading] = {}
    rejected: dict[int, Errors] = {}
    rules = _Rules(now, MAX_AGE)
    for place, row in enumerate(rows):
        try:
            readings[place] = rules.checked(_wire(row))
        except InvalidReport as error:
            rejected[place] = error.errors
    return readings, rejected


def _wire(row: Row) -> _Wire:
    if not (0 <= row.upload <= MAX_TOTAL and 0 <= row.download <= MAX_TOTAL):
        raise InvalidReport("detail", _TOTALS)
    return _Wire(
        server=row.server,
        port=row.port,
        protocol=row.protocol,
        total_uploaded=row.upload,
        total_downloaded=row.download,
        user_token=msgspec.UNSET if row.user_token is None else row.user_token,
        person=msgspec.UNSET if row.person is None else row.person,
        timestamp=row.timestamp,
    )


def _decoded(body: bytes, now: datetime, max_age: timedelta) -> Message:
    envelope = _decode_envelope(body)
    if not _METER.fullmatch(envelope.meter):
        raise InvalidReport("meter", "Expected 1 to 64 characters of A-Z a-z 0-9 . _ -")
    if not 0 <= envelope.run <= now.timestamp() + MAX_AHEAD.total_seconds():
        raise InvalidReport("run", "Expected Unix seconds, at most 5 minutes ahead.")
    readings, rejected = _rows(envelope.readings, now, max_age)
    return Message(
        envelope.meter,
        envelope.run,
        envelope.baseline,
        readings,
        rejected,
        None if envelope.sources is None else _sources(envelope.sources),
    )


def _rows(
    raw: msgspec.Raw, now: datetime, max_age: timedelta
) -> tuple[dict[int, Reading], dict[int, Errors]]:
    readings: dict[int, Reading] = {}
    rejected: dict[int, Errors] = {}
    rules = _Rules(now, max_age)
    for index, item in enumerate(_items(raw)):
        try:
            wire = item if isinstance(item, _Wire) else _decode_one(item)
            readings[index] = rules.checked(wire)
        except msgspec.ValidationError as error:
            rejected[index] = field_errors(error, _EXPECTED)
        except InvalidReport as error:
            rejected[index] = error.errors
    return readings, rejected


def _items(raw: msgspec.Raw) -> Sequence[_Wire | msgspec.Raw]:
    found = decode_items(raw, _decode_many, InvalidReport("readings", _EXPECTED["readings"]))
    if len(found) > MAX_BATCH:
        raise InvalidReport("readings", f"Expected up to {MAX_BATCH} readings, got {len(found)}.")
    return found


class _Rules:
    """The rules that a type can't say, for the rows of one message."""

    def __init__(self, now: datetime, max_age: timedelta) -> None:
        self._now, self._max_age = now, max_age
        self._moment = checked_moment(None, now, max_age)
        self._servers: dict[tuple[str, int | str, str], Endpoint] = {}

    def checked(self, wire: _Wire) -> Reading:
        """Raises InvalidReport."""
        token, person = wire.user_token, ""
        if token is msgspec.UNSET or wire.person is not msgspec.UNSET or not is_token(token):
            token, person = _who(wire)
        moment = self._moment
        if wire.timestamp is not None:
            moment = checked_moment(wire.timestamp, self._now, self._max_age)
        return Reading(
            token, person, self._server(wire), wire.total_uploaded, wire.total_downloaded, moment
        )

    def _server(self, wire: _Wire) -> Endpoint:
        """Normalised once per message: a thousand people use a handful of servers."""
        written = wire.server, wire.port, wire.protocol
        found = self._servers.get(written)
        if found is None:
            found = self._servers[written] = (
                normalised_server(wire.server),
                normalised_port(wire.port),
                normalised_protocol(wire.protocol),
            )
        return found


def _who(wire: _Wire) -> tuple[str, str]:
    token, person = wire.user_token, wire.person
    if token is not msgspec.UNSET:
        if person is not msgspec.UNSET:
            raise InvalidReport("person", "Expected user_token or person, not both.")
        return checked_token(token), ""
    if person is msgspec.UNSET:
        raise InvalidReport("user_token", "This field is required.")
    if not 1 <= len(person) <= 255 or not person.isprintable():
        raise InvalidReport("person", "Expected 1 to 255 printable characters.")
    return "", person


def _sources(found: list[Source]) -> tuple[Source, ...]:
    if len(found) > MAX_SOURCES:
        raise InvalidReport("sources", f"Expected up to {MAX_SOURCES} sources, got {len(found)}.")
    return tuple(
        Source(
            source.name[:_MAX_NAME],
            source.kind[:_MAX_NAME],
            source.ok,
            source.read_at,
            source.error[:_MAX_ERROR] if source.error else None,
        )
        for source in found
    )


def _refusal(error: msgspec.ValidationError) -> InvalidReport:
    if "$.sources" in str(error):
        return InvalidReport("sources", _EXPECTED["sources"])
    field, messages = next(iter(field_errors(error, _EXPECTED).items()))
    if field == "detail":
        return InvalidReport("detail", "Expected an object with meter, run and readings.")
    return InvalidReport(field, messages[0])

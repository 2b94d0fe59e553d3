"""Finds the owners of the rows of a message, and the key under which each row is stored."""

import hashlib
from collections.abc import Mapping

import msgspec

from operations.conf import Rate
from operations.metering import Meant, Names
from traffic.models import Reporter
from traffic.readings import Reading
from traffic.reports import Errors

from . import metered_people, reporters
from .lookup import Endpoint
from .metered_people import Named
from .reporters import Sender, Terms
from .rollups import EventKey, FoundSubscriber

UNKNOWN_TOKEN: Errors = {"user_token": ["This token is unknown."]}
NEEDS_KEY: Errors = {"person": ["People are named with an API key only; otherwise by user_token."]}
NOT_YOURS: Errors = {"person": ["This key may not report about this person."]}
TOO_MANY_METERS: Errors = {
    "detail": [f"This person has {reporters.MAX_METERS_OF_A_PERSON} meters already."]
}
TOO_MANY_PEOPLE: Errors = {
    "person": [
        f"Unknown, and {metered_people.MAX_UNKNOWN} unknown people of this reporter are kept already."
    ]
}


class Sending(msgspec.Struct, frozen=True):
    """The sender of readings, and the rules for them.

    ``key``: id of the API key. ``origin``: the part of this panel that has read them itself: ``pull:5``. Neither: people
    who read for themselves. ``kind``, ``grade``: see ``Reporter``; without a grade people's own devices are
    *reported* and all others *provider*. ``names``: finds whom the names in this sender's messages mean, called inside
    the transaction. A name must mean the same person for ever; rows with other names are rejected. None: names are
    found as docs/api.md says. ``max_per_hour``: bytes of growth that are plausible per hour since the last reading;
    0 = any. ``new_servers``: how many servers that the panel does not know a subscriber may name who reads for themselves.
    """

    key: int | None = None
    max_per_hour: int = 0
    new_servers: Rate | None = None
    origin: str = ""
    kind: str = Reporter.Kind.READINGS
    grade: str = ""
    names: Names | None = None

    @property
    def is_trusted(self) -> bool:
        """May tell of anybody, and by names of its own."""
        return self.key is not None or bool(self.origin)

    @property
    def terms(self) -> Terms:
        usual = Reporter.Grade.PROVIDER if self.is_trusted else Reporter.Grade.REPORTED
        return Terms(self.kind, self.grade or usual)

    def sender(self, person: int | None, meter: str) -> Sender:
        """``person``: of the row."""
        return Sender(self.key, None if self.is_trusted else person, self.origin, meter)


class Row(msgspec.Struct, gc=False):
    """One row of a message: its place, whose it is and which server is meant."""

    place: int
    reading: Reading
    endpoint: Endpoint
    reporter: Reporter
    key: EventKey
    token: str
    person: int | None


class Owners:
    """Whose the rows of one message are. ``meant``, ``named``: people whom it calls by names."""

    def __init__(
        self,
        sending: Sending,
        meter: str,
        found: Mapping[Sender, Reporter],
        known: Mapping[str, FoundSubscriber],
    ) -> None:
        self._sending, self._meter, self._found, self._known = sending, meter, found, known
        self._one = found[sending.sender(None, meter)] if sending.is_trusted else None
        self._ends: dict[Endpoint, str] = {}
        self.meant: Mapping[str, Meant] = {}
        self.named: Mapping[str, Named] = {}

    def row(self, place: int, reading: Reading) -> Row | Errors:
        if self._sending.names is not None:
            return self._by_own_name(place, reading)
        return self._by_name(place, reading) if reading.person else self._by_token(place, reading)

    def _by_own_name(self, place: int, reading: Reading) -> Row | Errors:
        meant = self.meant.get(reading.person)
        known = self._known.get(meant.token) if meant else None
        if meant is None or known is None or self._one is None:
            return NOT_YOURS
        endpoint = meant.server or reading.endpoint
        key = known.id, self._hash(self._one, f"own\n{reading.person}", endpoint)
        return Row(place, reading, endpoint, self._one, key, meant.token, None)

    def _by_name(self, place: int, reading: Reading) -> Row | Errors:
        if self._one is None:
            return NEEDS_KEY
        name = metered_people.folded(reading.person)
        if name not in self.named:
            return TOO_MANY_PEOPLE
        person, subscriber, token = self.named[name]
        endpoint = reading.endpoint
        key = subscriber, self._hash(self._one, f"person\n{name}", endpoint)
        return Row(place, reading, endpoint, self._one, key, token, person)

    def _by_token(self, place: int, reading: Reading) -> Row | Errors:
        token = reading.user_token
        known = self._known.get(token)
        if known is None:
            return UNKNOWN_TOKEN
        reporter = self._one or self._found.get(self._sending.sender(known.id, self._meter))
        if reporter is None:
            return TOO_MANY_METERS
        endpoint = reading.endpoint
        key = known.id, self._hash(reporter, f"token\n{token}", endpoint)
        return Row(place, reading, endpoint, reporter, key, token, None)

    def _hash(self, reporter: Reporter, name: str, endpoint: Endpoint) -> str:
        """The reporter distinguishes a person's meters from a key's; its id belongs to one sender and meter forever."""
        end = self._ends.get(endpoint)
        if end is None:
            end = self._ends[endpoint] = "\n".join(map(str, endpoint))
        text = f"{reporter.id}\n{name}\n{end}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

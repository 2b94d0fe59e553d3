"""What a 3x-ui has told becomes usage: people and servers by its e-mails, counted once per message."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from operations.models import ApiKey
from traffic.intake import acceptance, key_limits
from traffic.key_options import grade_of
from traffic.ledger import metered_people
from traffic.ledger.lookup import Endpoint
from traffic.ledger.metered_people import folded
from traffic.ledger.meters import Answer
from traffic.ledger.owners import Sending
from traffic.models import Reporter
from traffic.readings import Message, Row, Source, checked_rows

from . import key_options, server_names

METER = "3x-ui"
_PORT, _PROTOCOL = 443, "3x-ui"


class Told(msgspec.Struct, frozen=True):
    """A message as it waits for the database.

    ``id``: unique, so that it counts once. ``key``: id of the API key. ``address``: of the sender. ``moment``: Unix
    seconds at which it came. ``traffic``: bytes up and down by e-mail. ``unread``: why clients were not read, by
    their place.
    """

    id: str
    key: int
    address: str
    moment: int
    traffic: dict[str, tuple[int, int]]
    unread: dict[int, str] = {}


def book(told: Told, now: datetime) -> Answer:
    """Count a message; when it has been counted before, nothing. What returns is on disk.

    Raises TrackingOffError and OperationalError as ``acceptance.accept`` does.
    """
    key = ApiKey.objects.get(pk=told.key)
    message = key_limits.within_readings(_message(told, now), key)
    sending = Sending(told.key, kind=Reporter.Kind.INFORM, grade=grade_of(key))
    return acceptance.book(message, sending, now)


def _message(told: Told, now: datetime) -> Message:
    readings, rejected = checked_rows(_rows(told), now)
    return Message(
        METER,
        run=0,
        baseline=False,
        readings=readings,
        rejected=rejected,
        sources=(_source(told),),
        deltas=True,
        event_id=told.id if told.traffic else "",
    )


def default_server(told: Told) -> Endpoint:
    return key_options.server_of(told.key) or (told.address, _PORT, _PROTOCOL)


def _rows(told: Told) -> Iterator[Row]:
    whose = _Emails(told)
    for email, (upload, download) in told.traffic.items():
        person, (server, port, protocol) = whose.meaning(email)
        yield Row(
            person=person,
            server=server,
            port=port,
            protocol=protocol,
            upload=upload,
            download=download,
            timestamp=told.moment,
        )


class _Emails:
    """Whom and which server the e-mails of a message mean."""

    def __init__(self, told: Told) -> None:
        split = {email: email.rpartition("@")[::2] for email in told.traffic if "@" in email}
        self._parts: Mapping[str, tuple[str, str]] = {
            email: parts for email, parts in split.items() if all(parts)
        }
        people = {*self._parts, *(person for person, _ in self._parts.values())}
        self._known = metered_people.known(people, key=told.key, meter=METER)
        self._servers = server_names.find({server for _, server in self._parts.values()})
        self._default = default_server(told)

    def meaning(self, email: str) -> tuple[str, Endpoint]:
        """The whole e-mail if somebody is known by it; else the part before its last ``@``, on the server after it.

        A whole e-mail of nobody is kept as it is, unless it ends in a server: then one name stands for all servers.
        """
        person, name = self._parts.get(email, ("", ""))
        server = self._servers.get(folded(name))
        if email in self._known or (person not in self._known and server is None):
            return email, self._default
        return person, server or self._default


def _source(told: Told) -> Source:
    """What could not be read is shown in the admin, because the sender does not look at the answer."""
    first = [f"client {place}: {why}" for place, why in sorted(told.unread.items())[:3]]
    error = f"Clients that were not read: {len(told.unread)}. {' '.join(first)}" if first else None
    return Source(METER, "inform", ok=not first, error=error)

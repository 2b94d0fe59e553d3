"""Finds the person whom a reporter means by a name, in the order given in docs/api.md; unknown names are kept.

A total is counted once, for whichever person: when a name begins to mean somebody else, the rows of ``Meter`` move
to that person, and the bytes counted so far stay where they are.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.db.models import F, Q
from django.db.models.functions import Lower

from traffic.models import NOBODY, Balance, KnownAs, Meter, MeteredPerson, Reporter, Subscriber

from .desk import Desk

# The number of unknown people kept per reporter.
MAX_UNKNOWN = 1000
# Names per query.
_STEP = 500


class Named(NamedTuple):
    """``person``: id of the MeteredPerson; ``token``: of the subscriber, empty if the person is unknown."""

    person: int
    subscriber: int
    token: str


def folded(name: str) -> str:
    """The form in which names are compared: without letter case."""
    return name.casefold()


def find(reporter: Reporter, names: Collection[str], desk: Desk) -> dict[str, Named]:
    """By folded name; without those that are unknown and more than are kept. The reporter is locked by the caller."""
    asked = {folded(name): name for name in names}
    tokens = _tokens(reporter, asked)
    known = desk.people(tokens.values())
    meant = {
        key: (known[token].id, token)
        for key, token in tokens.items()
        if token in known
    }  # fmt: skip
    people = _stored(reporter, asked)
    for key, person in people.items():
        move(person, meant.get(key, (NOBODY, ""))[0])
    people |= _remembered(reporter, asked, people, meant, desk)
    return {key: Named(person.pk, *meant.get(key, (NOBODY, ""))) for key, person in people.items()}


def known(
    names: Collection[str], *, key: int | None = None, origin: str = "", meter: str
) -> set[str]:
    """Those of these names that mean somebody in the messages of this sender."""
    found = tokens_of(names, key=key, origin=origin, meter=meter)
    return {name for name in names if folded(name) in found}


def tokens_of(
    names: Collection[str], *, key: int | None = None, origin: str = "", meter: str
) -> dict[str, str]:
    """By folded name: the tokens of the subscribers whom they mean in the messages of this sender."""
    sender = Reporter.objects.filter(api_key=key, subscriber=None, origin=origin, meter=meter)
    return _tokens(sender.first(), [folded(name) for name in names])


def move(person: MeteredPerson, to: int) -> None:
    """Give the rows of this name to another subscriber, or to NOBODY: only later growth counts for them."""
    owner = person.subscriber_id or NOBODY
    if owner == to:
        return
    stored = Meter.objects.filter(subscriber=owner, person=person)
    rows = list(stored)
    stored.delete()
    release(owner, rows)
    for row in rows:
        row.subscriber_id, row.counted_upload, row.counted_download = to, 0, 0
    Meter.objects.bulk_create(rows)
    person.subscriber_id = to or None
    person.save(update_fields=["subscriber"])


def release(owner: int, rows: Iterable[Meter]) -> None:
    """What they have counted was booked, and stays so; it is no longer the sum of rows."""
    upload = sum(row.counted_upload for row in rows)
    download = sum(row.counted_download for row in rows)
    if owner != NOBODY and (upload or download):
        Balance.objects.filter(pk=owner).update(
            metered_upload=F("metered_upload") - upload,
            metered_download=F("metered_download") - download,
        )


def _stored(reporter: Reporter, keys: Collection[str]) -> dict[str, MeteredPerson]:
    found: dict[str, MeteredPerson] = {}
    for step in _steps(keys):
        for person in reporter.people.filter(folded__in=step):
            found[person.folded] = person
    return found


def _remembered(
    reporter: Reporter,
    asked: Mapping[str, str],
    stored: Mapping[str, MeteredPerson],
    meant: Mapping[str, tuple[int, str]],
    desk: Desk,
) -> dict[str, MeteredPerson]:
    """Those that this reporter names for the first time."""
    new = [key for key in asked if key not in stored]
    if not new:
        return {}
    room = MAX_UNKNOWN - reporter.people.filter(subscriber=None).count()
    unknown = [key for key in new if key not in meant]
    dropped = set(unknown[max(room, 0) :])
    people = [
        MeteredPerson(
            reporter=reporter,
            name=asked[key],
            folded=key,
            subscriber_id=meant[key][0] if key in meant else None,
            first_seen_at=desk.now,
        )
        for key in new
        if key not in dropped
    ]
    return {person.folded: person for person in MeteredPerson.objects.bulk_create(people)}


def _tokens(reporter: Reporter | None, keys: Collection[str]) -> dict[str, str]:
    """Tokens of the subscribers that are meant, in this order: also known as for this reporter, for all, token, name."""
    tokens: dict[str, str] = {}
    for step in _steps(keys):
        tokens |= _tokens_of_names(step)
        aliases = KnownAs.objects.filter(
            Q(reporter=reporter) | Q(reporter=None), folded__in=step
        ).order_by(F("reporter").asc(nulls_first=True))
        tokens |= dict(aliases.values_list("folded", "subscriber__token"))
    return tokens


def _tokens_of_names(keys: Collection[str]) -> dict[str, str]:
    """By token, then by a name that exactly one living subscriber has."""
    spellings = {spelling for key in keys for spelling in _spellings(key)}
    rows = (
        Subscriber.objects.visible()
        .annotate(lower_token=Lower("token"), lower_name=Lower("name"))
        .filter(Q(lower_token__in=spellings) | Q(lower_name__in=spellings))
        .values_list("token", "name")
    )
    by_token: dict[str, set[str]] = {}
    by_name: dict[str, set[str]] = {}
    for token, name in rows:
        by_token.setdefault(folded(token), set()).add(token)
        by_name.setdefault(folded(name), set()).add(token)
    found = {}
    for key in keys:
        meant = by_token.get(key) or by_name.get(key, set())
        if len(meant) == 1:
            found[key] = next(iter(meant))
    return found


def _spellings(key: str) -> set[str]:
    """The spellings that the database may produce: SQLite does not lower letters outside ASCII."""
    return {key} | {_ascii_lower(text) for text in (key.lower(), key.upper(), key.title())}


def _ascii_lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def _steps(keys: Collection[str]) -> Iterable[list[str]]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), _STEP):
        yield ordered[start : start + _STEP]

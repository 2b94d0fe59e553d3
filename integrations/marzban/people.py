"""The users of a linked panel in the database: who came, who left and why, and whose id or name went to somebody else.

The node protocol tells the fact, ``is_active``; the panel's webhook and its API tell the reason, ``status``. A subscriber
is suspended by either. What both say is brought together here alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.models import QuerySet
from django.db.models.functions import Lower

from operations.databases.transactions import write_transaction
from traffic.models import Subscriber

from . import handover
from .models import PanelIdentity, PanelLink
from .wire import Person

# People in one transaction: reports flow between two of them.
STEP = 500
_Status = PanelIdentity.Status
_Suspension = Subscriber.Suspension
# What a subscriber becomes, the strictest first: somebody may be known to several panels.
_STRICTEST = (_Suspension.DISABLED, _Suspension.EXPIRED, _Suspension.LIMITED, "")


def active(link: PanelLink) -> set[Person]:
    """Whom the database holds for active, as far as their ids are known."""
    rows = _current(link).filter(is_active=True).values_list("user_id", "username")
    known = {Person(user_id, username) for user_id, username in rows if user_id is not None}
    return {_nameless(person) for person in known} if _is_nameless(link) else known


def came(link: PanelLink, people: Iterable[Person], now: datetime) -> None:
    """They are active from now on. New people become subscribers, unless the link says otherwise."""
    ordered = sorted(people)
    for start in range(0, len(ordered), STEP):
        _came_step(link, ordered[start : start + STEP], now)


def left(link: PanelLink, people: Iterable[Person], now: datetime) -> None:
    """They are not active any more: limited, expired, disabled or deleted. Their bytes are still handed over."""
    ordered = sorted(people)
    for start in range(0, len(ordered), STEP):
        _left_step(link, [person.user_id for person in ordered[start : start + STEP]], now)


def told(link: PanelLink, statuses: Mapping[str, str], now: datetime) -> None:
    """The status of each user by name, as the panel itself gives it; "" = active. New people become subscribers, too.

    A deleted person is closed once the node protocol says that they have left: the name may be somebody else's by now.
    """
    ordered = sorted(statuses.items())
    for start in range(0, len(ordered), STEP):
        _told_step(link, dict(ordered[start : start + STEP]), now)


@write_transaction
def heal(link: PanelLink, present: Iterable[Person], before: datetime) -> None:
    """Forget statuses from before a moment that the node protocol contradicts: these people are present."""
    doubted = _current(link).filter(is_active=True, status_at__lt=before).exclude(status="")
    ids = {person.user_id for person in present}
    wrong = [row.pk for row in doubted if row.user_id in ids]
    PanelIdentity.objects.filter(pk__in=wrong).update(status="", status_at=None)
    _follow(wrong)


def _current(link: PanelLink) -> QuerySet[PanelIdentity]:
    return PanelIdentity.objects.filter(link=link, closed_at=None)


@write_transaction
def _came_step(link: PanelLink, people: Sequence[Person], now: datetime) -> None:
    if _is_nameless(link):
        people = _named(link, people)
    by_id, by_name = _known(link, people)
    seen: list[int] = []
    new: list[Person] = []
    for person in people:
        same_name, same_id = by_name.get(person.username.lower()), by_id.get(person.user_id)
        if same_name and same_name.user_id not in {None, person.user_id}:
            _close(same_name, now)
            same_name = None
        if same_id and same_id != same_name:
            _close(same_id, now)
        if same_name:
            seen.append(same_name.pk)
            _give_id(same_name, person)
        else:
            new.append(person)
    came = PanelIdentity.objects.filter(pk__in=seen)
    came.exclude(is_active=True, status="").update(is_active=True, status="", status_at=None)
    _follow(seen)
    _add(link, [PanelIdentity(user_id=person.user_id, username=person.username) for person in new])
    handover.set_up(link)


def _is_nameless(link: PanelLink) -> bool:
    """PasarGuard's nodes get ids alone. Names come from its list of users; until then the id is the name."""
    return link.kind == PanelLink.Kind.PASARGUARD


def _nameless(person: Person) -> Person:
    return Person(person.user_id, str(person.user_id))


def _named(link: PanelLink, people: Sequence[Person]) -> list[Person]:
    ids = [person.user_id for person in people]
    known = dict(_current(link).filter(user_id__in=ids).values_list("user_id", "username"))
    return [Person(pk, known.get(pk, str(pk))) for pk in ids]


def name(link: PanelLink, names: Mapping[int, str], now: datetime) -> None:
    """Tell who the users are whom the node protocol knows by their ids alone."""
    ordered = sorted(names.items())
    for start in range(0, len(ordered), STEP):
        _name_step(link, dict(ordered[start : start + STEP]), now)


@write_transaction
def _name_step(link: PanelLink, names: Mapping[int, str], now: datetime) -> None:
    people = [Person(pk, username) for pk, username in names.items()]
    by_id, by_name = _known(link, people)
    for person in people:
        row = by_id.get(person.user_id)
        if row is None or row.username == person.username:
            continue
        if row.username == str(person.user_id) and person.username.lower() not in by_name:
            _rename(row, person.username)
        else:  # the id is somebody else's now, or a subscription token has named the person before
            _close(row, now)


def _rename(row: PanelIdentity, username: str) -> None:
    people = Subscriber.objects.filter(panel_identities=row, name=row.username)
    Subscriber.objects.filter(pk__in=people.values("pk")).update(name=username)
    PanelIdentity.objects.filter(pk=row.pk).update(username=username)


def _known(
    link: PanelLink, people: Sequence[Person]
) -> tuple[dict[int | None, PanelIdentity], dict[str, PanelIdentity]]:
    """The current holders of these ids, and of these names."""
    ids = [person.user_id for person in people]
    names = [person.username.lower() for person in people]
    by_name = _current(link).alias(key=Lower("username")).filter(key__in=names)
    return (
        {known.user_id: known for known in _current(link).filter(user_id__in=ids)},
        {known.username.lower(): known for known in by_name},
    )


def _give_id(known: PanelIdentity, person: Person) -> None:
    """Somebody whom a subscription token made known came without an id."""
    if known.user_id is None:
        PanelIdentity.objects.filter(pk=known.pk).update(user_id=person.user_id)


@write_transaction
def _left_step(link: PanelLink, ids: Sequence[int], now: datetime) -> None:
    gone = list(_current(link).filter(user_id__in=ids))
    keys = [row.pk for row in gone]
    PanelIdentity.objects.filter(pk__in=keys).update(is_active=False)
    _follow(keys)
    for row in gone:
        if row.status == _Status.DELETED:
            _close(row, now)


@write_transaction
def _told_step(link: PanelLink, statuses: Mapping[str, str], now: datetime) -> None:
    names = {name.lower(): name for name in statuses}
    known = list(_current(link).alias(key=Lower("username")).filter(key__in=names))
    for row in known:
        row.status, row.status_at = statuses[names[row.username.lower()]], now
        row.is_active = row.is_active or not row.status
    PanelIdentity.objects.bulk_update(known, ["status", "status_at", "is_active"])
    _follow([row.pk for row in known])
    for row in known:
        if row.status == _Status.DELETED and not (row.is_active and row.user_id):
            _close(row, now)
    found = {row.username.lower() for row in known}
    new = [names[key] for key in names.keys() - found if statuses[names[key]] != _Status.DELETED]
    _add(link, [PanelIdentity(username=name, status=statuses[name], status_at=now) for name in new])


def _close(row: PanelIdentity, now: datetime) -> None:
    """The person is gone from the panel: they get nothing any more, and their usage stays."""
    handover.close(row, now)
    if row.subscriber_id:
        people = Subscriber.objects.filter(pk=row.subscriber_id)
        people.update(is_active=False, suspension="")


def _follow(identities: Sequence[int]) -> None:
    """Suspend the subscribers of these users, or let them go on."""
    subscribers = PanelIdentity.objects.filter(pk__in=identities).values("subscriber")
    current = PanelIdentity.objects.filter(closed_at=None, subscriber__in=subscribers)
    words: dict[int, set[str]] = {}
    for row in current:
        words.setdefault(row.subscriber_id or 0, set()).add(_suspension(row))
    for word in _STRICTEST:
        ids = [pk for pk, said in words.items() if word == next(w for w in _STRICTEST if w in said)]
        if ids:
            Subscriber.objects.filter(pk__in=ids).exclude(suspension=word).update(suspension=word)


def _suspension(row: PanelIdentity) -> str:
    if row.status == _Status.DELETED:
        return _Suspension.DISABLED
    return row.status or ("" if row.is_active else _Suspension.DISABLED)


def _add(link: PanelLink, people: Sequence[PanelIdentity]) -> None:
    if link.makes_subscribers:
        made = Subscriber.objects.bulk_create(
            Subscriber(name=row.username, suspension=row.status) for row in people
        )
        for row, subscriber in zip(people, made, strict=True):
            row.subscriber = subscriber
    for row in people:
        row.link = link
    PanelIdentity.objects.bulk_create(people)

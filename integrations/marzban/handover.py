"""Bytes that leave for a panel: at most once, durable before the answer, and visible.

``take_users`` and ``take_servers`` commit a batch; then the caller answers and says ``sent``, or ``give_back`` when the
panel did not wait. A batch of which neither was said, because the process died, becomes ``unknown`` and counts as
delivered.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db.models import F, FilteredRelation, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from traffic.figures import statistics
from traffic.models import Server
from traffic.periods import DAY, EPOCH, Window, ceil_hour, floor_day

from . import marks, pasarguard_wire, wire
from .models import HandedServerUsage, HandedUsage, HandOver, PanelIdentity, PanelLink

# Reports are at most 31 days old, and a folded day keeps its sums: older days never grow.
_DAYS = 33
_KEPT = timedelta(days=90)
# Rows of one statement.
_STEP = 300


class PausedError(Exception):
    """The link hands nothing over until an operator has chosen from which moment on."""


class ServerItem(NamedTuple):
    """Bytes of one server on one UTC day (days since 1970) in a batch."""

    server: int
    day: int
    upload: int
    download: int


class Batch(msgspec.Struct, frozen=True):
    """A batch that was taken. ``number`` goes into the mark; ``last_id``: where to go on, 0 after the last person."""

    pk: int
    number: int
    answer: bytes
    count: int
    size: int
    last_id: int = 0


def take_users(link: PanelLink, session: str, after: int, highest: int) -> Batch | None:
    """Everything that people with ``after`` < id <= ``highest`` used since the last hand-over, as far as it fits an answer.

    Ids above that of every active user may belong to somebody else in a moment (see ``Membership.highest_id``).
    Committed when it returns. None: there is nothing. Raises PausedError, OSError and DatabaseError.
    """
    return _taken(link, lambda locked: _take_users(locked, session, after, highest))


def take_servers(link: PanelLink, session: str, now: datetime) -> Batch | None:
    """The same of all servers, upload and download apart."""
    return _taken(link, lambda locked: _take_servers(locked, session, now))


def waiting_users(link: PanelLink, highest: int) -> bytes:
    """The same entries as ``take_users`` would hand over, without handing them over. As many as fit an answer."""
    protocol = _protocol(link)
    people = _grown(_current(link.pk).filter(user_id__lte=highest), link.pk)
    rows = people.values_list("user_id", "username", "counted", "handed")[: wire.MAX_STATS]
    return b"".join(
        protocol.user_stat(user_id, name, counted - handed)
        for user_id, name, counted, handed in rows
    )


def waiting_servers(link: PanelLink, now: datetime) -> bytes:
    """The same of all servers."""
    return _outbounds(link, list(_server_growth(link, now)))


def sent(batches: Sequence[int]) -> None:
    """The panel got these answers. Their items are not needed any more."""
    pending = HandOver.objects.filter(pk__in=batches, state=HandOver.State.PENDING)
    pending.update(state=HandOver.State.SENT, items=b"")


@write_transaction
def give_back(pk: int) -> None:
    """The panel did not wait for this answer: the bytes go with the next one."""
    _give_back(HandOver.objects.filter(pk=pk, state=HandOver.State.PENDING))


@write_transaction
def again(link: PanelLink, by: By) -> int:
    """Hand over once more what nobody knows to have arrived; return how many bytes of users. An operator has decided."""
    unknown = link.batches.filter(state=HandOver.State.UNKNOWN)
    total = _give_back(unknown)
    audit.note(Action.CHANGED, link, by, {"handed over again": (None, total)})
    return total


def _give_back(batches: QuerySet[HandOver]) -> int:
    """Bytes of users in these batches, which are handed over with the next answer."""
    total = 0
    for batch in batches.select_for_update().order_by("pk"):
        if batch.what == HandOver.What.USERS:
            _give_back_users(batch)
            total += batch.download
        else:
            _give_back_servers(batch)
        HandOver.objects.filter(pk=batch.pk).update(state=HandOver.State.RETURNED, items=b"")
    return total


def set_up(link: PanelLink) -> None:
    """A row for everybody who came after the link was made: nothing of theirs was handed over yet.

    Whatever gives a user of a panel their subscriber or their id calls it, in the same transaction.
    """
    known = HandedUsage.objects.filter(link=link).values("subscriber")
    new = _current(link.pk).exclude(subscriber__in=known).values_list("subscriber_id", flat=True)
    _set_handed(link.pk, dict.fromkeys(filter(None, new), 0))


def close(identity: PanelIdentity, now: datetime) -> None:
    """The id or the name belongs to another person now: bytes that wait are dropped, visibly. The caller holds the transaction."""
    PanelIdentity.objects.filter(pk=identity.pk).update(closed_at=now, is_active=False)
    for grown in _grown(PanelIdentity.objects.filter(pk=identity.pk), identity.link_id):
        _set_handed(identity.link_id, {grown.subscriber_id: grown.counted})
        size = grown.counted - grown.handed
        HandOver.objects.create(
            link_id=identity.link_id,
            what=HandOver.What.USERS,
            state=HandOver.State.UNDELIVERABLE,
            made_at=now,
            download=size,
            count=1,
            items=msgspec.msgpack.encode([(grown.subscriber_id, size)]),
        )


def adopt(pk: int, now: datetime) -> PanelLink:
    """Call it when the node of a link starts. The link as it is from now on; raises OSError when no mark can be written.

    A new link begins here: what was counted before is not handed over. A link whose database was put back to an earlier
    moment is paused. What an earlier process left pending is unknown.
    """
    link = _adopted(pk, now)
    if link.state == PanelLink.State.ACTIVE:
        marks.write(link.key, link.hand_overs)
    return link


@write_transaction
def pause_restored(pk: int) -> None:
    """Write down that the database was put back while the node ran, until an operator says how to go on."""
    link = PanelLink.objects.select_for_update().filter(pk=pk).first()
    if link and _is_restored(link, marks.read(link.key)):
        PanelLink.objects.filter(pk=pk).update(state=PanelLink.State.PAUSED)


@write_transaction
def pause(link: PanelLink, by: By) -> None:
    """Hand nothing over until ``go_on`` or ``resume``."""
    PanelLink.objects.filter(pk=link.pk).update(state=PanelLink.State.PAUSED)
    audit.note(Action.SWITCHED_OFF, link, by)


def is_restored(link: PanelLink) -> bool:
    """Whether this database does not know of all hand-overs. Raises OSError."""
    return _is_restored(link, marks.read(link.key))


@write_transaction
def go_on(link: PanelLink, by: By) -> None:
    """End a pause where it began: nothing is lost. Only for a database that was not put back."""
    PanelLink.objects.filter(pk=link.pk).update(state=PanelLink.State.ACTIVE)
    audit.note(Action.SWITCHED_ON, link, by)


def waiting(link: PanelLink) -> int:
    """Bytes that people have used and that go with the next answers."""
    grown = _grown(_current(link.pk), link.pk).order_by()
    return int(grown.aggregate(total=Sum(F("counted") - F("handed")))["total"] or 0)


def resume(link: PanelLink, since: datetime, now: datetime) -> None:
    """End the pause: bytes of the hours that began at ``since`` or later are handed over, older ones are not."""
    mark = marks.read(link.key)
    number = _resumed(link.pk, max(mark or 0, link.hand_overs) + 1, since, now)
    marks.write(link.key, number)


def erase(subscriber: int) -> int:
    """Forget whom a subscriber is in the panels, and what is still to be handed over; return how many rows went."""
    identities = PanelIdentity.objects.filter(subscriber=subscriber).delete()[0]
    return identities + HandedUsage.objects.filter(subscriber=subscriber).delete()[0]


def drop_old(now: datetime) -> int:
    """Forget hand-overs of more than 90 days ago; return how many."""
    done = HandOver.objects.filter(made_at__lt=now - _KEPT).exclude(state=HandOver.State.PENDING)
    HandedServerUsage.objects.filter(day__lt=_first_day(now) - DAY).delete()
    return done.delete()[0]


# --- Taking ------------------------------------------------------------------


def _taken(link: PanelLink, take: Callable[[PanelLink], Batch | None]) -> Batch | None:
    mark = marks.read(link.key)
    batch = _take(link.pk, mark, take)
    if batch:
        try:
            marks.write(link.key, batch.number)
        except OSError:
            give_back(batch.pk)
            raise
    return batch


@write_transaction
def _take(pk: int, mark: int | None, take: Callable[[PanelLink], Batch | None]) -> Batch | None:
    link = PanelLink.objects.select_for_update().filter(pk=pk).first()
    if link is None or link.state != PanelLink.State.ACTIVE or _is_restored(link, mark):
        raise PausedError
    return take(link)


def _take_users(link: PanelLink, session: str, after: int, highest: int) -> Batch | None:
    people = _current(link.pk).filter(user_id__gt=after, user_id__lte=highest)
    last_id = _last_that_fits(people, link.pk)
    encode = _protocol(link).user_stat
    answer, items = bytearray(), []
    chosen = people.filter(user_id__lte=last_id) if last_id else people
    for subscriber, user_id, username, size in _raised(link, chosen):
        answer += encode(user_id, username, size)
        items.append((subscriber, size))
    if not items:
        return None
    batch = HandOver(
        what=HandOver.What.USERS, session=session, download=sum(size for _, size in items)
    )
    return _remembered(link, batch, items, bytes(answer), last_id)


def _protocol(link: PanelLink) -> Any:
    """The module that writes entries as the link's panel reads them."""
    return pasarguard_wire if link.kind == PanelLink.Kind.PASARGUARD else wire


def _last_that_fits(people: QuerySet[PanelIdentity], link: int) -> int:
    """The id with which an answer is full; 0 when everybody fits."""
    if people.count() <= wire.MAX_STATS:
        return 0
    ids = _grown(people, link).values_list("user_id", flat=True)
    return next(iter(ids[wire.MAX_STATS - 1 : wire.MAX_STATS]), 0)


def _raised(
    link: PanelLink, people: QuerySet[PanelIdentity]
) -> Iterator[tuple[int, int, str, int]]:
    """Raises what stands as handed over to what was counted: subscriber, id, name and difference of each that rose, by id.

    One statement reads the counters and writes them: reports that come meanwhile are not in it.
    """
    number = link.hand_overs + 1
    counted = statistics.life_total("subscriber")
    HandedUsage.objects.filter(link=link, subscriber__in=people.values("subscriber")).filter(
        handed__lt=counted
    ).update(before=F("handed"), handed=counted, number=number)
    identity = "subscriber__panel_identities"
    rose = HandedUsage.objects.filter(
        **{f"{identity}__link": link, f"{identity}__closed_at": None}, link=link, number=number
    )
    columns = "subscriber_id", f"{identity}__user_id", f"{identity}__username", "handed", "before"
    ordered = rose.order_by(f"{identity}__user_id").values_list(*columns)
    # Subtracted here: Django converts each value of an expression.
    for pk, user_id, name, handed, before in ordered.iterator():
        yield pk, user_id, name, handed - before


def _take_servers(link: PanelLink, session: str, now: datetime) -> Batch | None:
    items = list(_server_growth(link, now))
    if not items:
        return None
    _add_handed_servers(link.pk, items)
    batch = HandOver(
        what=HandOver.What.SERVERS,
        session=session,
        upload=sum(item.upload for item in items),
        download=sum(item.download for item in items),
    )
    return _remembered(link, batch, items, _outbounds(link, items))


def _remembered(
    link: PanelLink,
    batch: HandOver,
    items: Sequence[tuple[int, ...]],
    answer: bytes,
    last_id: int = 0,
) -> Batch:
    now = timezone.now()
    batch.link, batch.made_at = link, now
    batch.count, batch.items = len(items), msgspec.msgpack.encode(items)
    batch.save()
    number = link.hand_overs + 1
    PanelLink.objects.filter(pk=link.pk).update(hand_overs=number, handed_over_at=now)
    return Batch(batch.pk, number, answer, len(items), batch.upload + batch.download, last_id)


def _current(link: int) -> QuerySet[PanelIdentity]:
    return PanelIdentity.objects.filter(
        link=link, closed_at=None, user_id__isnull=False, subscriber__isnull=False
    )


def _grown(people: QuerySet[PanelIdentity], link: int) -> Any:
    """Those of whom more was counted than handed over. After a correction downwards nothing is, until it has grown past.

    Both are joined by subscriber, because Citus refuses a subquery for each person.
    """
    of_link = FilteredRelation("subscriber__handed", condition=Q(subscriber__handed__link=link))
    return (
        people.annotate(
            of_link=of_link,
            counted=F("subscriber__balance__life_upload") + F("subscriber__balance__life_download"),
            handed=Coalesce("of_link__handed", Value(0)),
        )
        .filter(counted__gt=F("handed"))
        .order_by("user_id")
    )


def _set_handed(link: int, counted: Mapping[int, int]) -> None:
    HandedUsage.objects.bulk_create(
        [
            HandedUsage(link_id=link, subscriber_id=subscriber, handed=handed)
            for subscriber, handed in sorted(counted.items())
        ],
        update_conflicts=True,
        update_fields=["handed"],
        unique_fields=["link", "subscriber"],
    )


# --- Servers -----------------------------------------------------------------


def _first_day(now: datetime) -> datetime:
    return floor_day(now - _DAYS * DAY)


def _server_days(start: datetime, now: datetime) -> Iterator[ServerItem]:
    servers = sorted(Server.objects.values_list("pk", flat=True))
    for row in statistics.days_of_servers(servers, Window(_DAYS, start, now)):
        day = (datetime(row.date.year, row.date.month, row.date.day, tzinfo=UTC) - EPOCH).days
        yield ServerItem(row.server_id, day, row.upload, row.download)


def _server_growth(link: PanelLink, now: datetime) -> Iterator[ServerItem]:
    handed = {
        (row.server_id, (row.day - EPOCH).days): row
        for row in HandedServerUsage.objects.filter(link=link)
    }
    for item in _server_days(_first_day(now), now):
        before = handed.get((item.server, item.day))
        upload = max(0, item.upload - (before.upload if before else 0))
        download = max(0, item.download - (before.download if before else 0))
        if upload or download:
            yield ServerItem(item.server, item.day, upload, download)


def _outbounds(link: PanelLink, items: Iterable[ServerItem]) -> bytes:
    sums: dict[int, list[int]] = {}
    for item in items:
        of_server = sums.setdefault(item.server, [0, 0])
        of_server[0] += item.upload
        of_server[1] += item.download
    servers = Server.objects.in_bulk(list(sums))
    return b"".join(
        _protocol(link).outbound_stats(str(servers[pk]), upload, download)
        for pk, (upload, download) in sorted(sums.items())
    )


def _add_handed_servers(link: int, items: Sequence[ServerItem], sign: int = 1) -> None:
    handed = {
        (row.server_id, (row.day - EPOCH).days): row
        for row in HandedServerUsage.objects.filter(link=link)
    }
    rows = []
    for item in items:
        row = handed.get((item.server, item.day)) or HandedServerUsage(
            link_id=link, server_id=item.server, day=EPOCH + item.day * DAY, upload=0, download=0
        )
        row.upload += sign * item.upload
        row.download += sign * item.download
        rows.append(row)
    HandedServerUsage.objects.bulk_create(
        rows,
        update_conflicts=True,
        update_fields=["upload", "download"],
        unique_fields=["link", "server", "day"],
    )


# --- Giving back -------------------------------------------------------------


def _give_back_users(batch: HandOver) -> None:
    sizes = dict(msgspec.msgpack.decode(batch.items, type=list[tuple[int, int]]))
    ids = sorted(sizes)
    for start in range(0, len(ids), _STEP):
        rows = HandedUsage.objects.filter(
            link=batch.link_id, subscriber__in=ids[start : start + _STEP]
        )
        before = dict(rows.values_list("subscriber_id", "handed"))  # without those who were erased
        _set_handed(batch.link_id, {pk: handed - sizes[pk] for pk, handed in before.items()})


def _give_back_servers(batch: HandOver) -> None:
    _add_handed_servers(
        batch.link_id, msgspec.msgpack.decode(batch.items, type=list[ServerItem]), -1
    )


# --- Beginning ---------------------------------------------------------------


def _is_restored(link: PanelLink, mark: int | None) -> bool:
    return link.hand_overs > 1 if mark is None else mark > link.hand_overs


@write_transaction
def _adopted(pk: int, now: datetime) -> PanelLink:
    link = PanelLink.objects.select_for_update().get(pk=pk)
    mark = marks.read(link.key)
    if _is_restored(link, mark):
        link.state = PanelLink.State.PAUSED
    elif mark is None or not link.hand_overs:
        link.hand_overs, link.linked_at = 1, now
        _begin(link, now, now)
    set_up(link)
    link.started_at = now
    link.save(update_fields=["state", "hand_overs", "linked_at", "started_at"])
    link.batches.filter(state=HandOver.State.PENDING).update(state=HandOver.State.UNKNOWN)
    return link


@write_transaction
def _resumed(pk: int, number: int, since: datetime, now: datetime) -> int:
    link = PanelLink.objects.select_for_update().get(pk=pk)
    _begin(link, since, now)
    link.state, link.hand_overs = PanelLink.State.ACTIVE, number
    link.save(update_fields=["state", "hand_overs"])
    return number


def _begin(link: PanelLink, since: datetime, now: datetime) -> None:
    """Everything that was counted until ``since`` stands as handed over."""
    later = statistics.totals_since(since) if since < now else {}
    _set_handed(
        link.pk, {pk: total - later.get(pk, 0) for pk, total in statistics.life_totals() if total}
    )
    HandedServerUsage.objects.filter(link=link).delete()
    _add_handed_servers(link.pk, list(_server_days(_first_day(now), now)))
    if since < now:
        _add_handed_servers(link.pk, list(_server_days(ceil_hour(since), now)), -1)

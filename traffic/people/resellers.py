"""Resellers: whose subscribers a member of the staff may see, and quotas that no change exceeds.

Every page and action of the staff asks here. Resellers have none of Django's permissions, so whatever does not ask here
stays closed to them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import msgspec
from django.db.models import Case, Count, F, Q, Value, When
from django.utils.translation import gettext as _

from operations import audit
from operations.audit import Action, By
from operations.databases.exact_sum import ExactSum
from operations.databases.transactions import write_transaction
from operations.formatting import written_size
from operations.refusals import Refused
from traffic.conf import conf
from traffic.ledger.metered_people import folded
from traffic.models import Balance, MeteredPerson, NextPlan, Reseller, Reset, Subscriber
from traffic.querysets import SubscriberQuerySet

from . import quotas

# What resellers may do with their own subscribers, in the words of Django's permissions.
RIGHTS = frozenset(
    {
        "traffic.view_subscriber",
        "traffic.add_subscriber",
        "traffic.change_subscriber",
        "traffic.delete_subscriber",
        "traffic.hand_out_link",
    }
)
_REMEMBERED = "_xpert_reseller"
# Subscribers and names per query.
_STEP = 500


# Rights


def of(user: Any) -> Reseller | None:
    """The reseller who signs in with this account. A superuser is never one."""
    if not user.is_authenticated or user.is_superuser:
        return None
    if not hasattr(user, _REMEMBERED):
        setattr(user, _REMEMBERED, Reseller.objects.filter(account=user.pk).first())
    return cast("Reseller | None", getattr(user, _REMEMBERED))


def seen_by(user: Any, rows: SubscriberQuerySet) -> SubscriberQuerySet:
    """Those of these subscribers whom this member of the staff may see, if they may see any."""
    reseller = of(user)
    return rows if reseller is None else rows.filter(reseller=reseller.pk)


def may(user: Any, permission: str, subscriber: Subscriber | None = None) -> bool:
    """Whether this member of the staff may do that with this subscriber; without one: with any at all."""
    reseller = of(user)
    if reseller is None:
        return bool(user.has_perm(permission))
    is_own = subscriber is None or subscriber.reseller_id == reseller.pk
    return permission in RIGHTS and is_own


# Quotas


class Sums(msgspec.Struct, frozen=True):
    """The state of one reseller. ``total``: bytes that subscribers have used while they were the reseller's, erased ones too.

    ``used``: since the count was restarted. ``promised``: what is left of the data limits of those who are not deleted,
    and the whole limits of plans bought ahead. ``open_ended``: subscribers without a limit, or whose limit starts again
    by itself.
    """

    people: int = 0
    active: int = 0
    total: int = 0
    used: int = 0
    promised: int = 0
    open_ended: int = 0

    @property
    def given_out(self) -> int:
        """Bytes that count towards the quota: used, or promised to somebody."""
        return self.used + self.promised


def sums(resellers: Collection[Reseller], now: datetime) -> dict[int, Sums]:
    """By id of these resellers, in two queries."""
    ids = [reseller.pk for reseller in resellers]
    counted = _counted(ids, now)
    ahead = _ahead(ids)
    return {row.pk: _sums(row, counted.get(row.pk, {}), ahead.get(row.pk, {})) for row in resellers}


def _sums(reseller: Reseller, own: Mapping[str, Any], ahead: Mapping[str, Any]) -> Sums:
    total = int(own.get("life") or 0) + reseller.carried
    return Sums(
        people=own.get("people", 0),
        active=own.get("active", 0),
        total=total,
        used=total - reseller.counted_from,
        promised=int(own.get("promise") or 0) + int(ahead.get("promise") or 0),
        open_ended=own.get("unbounded", 0) + ahead.get("unbounded", 0),
    )


def _counted(ids: Collection[int], now: datetime) -> dict[int, Mapping[str, Any]]:
    rows: Any = quotas.with_usage(Subscriber.objects.filter(reseller__in=ids), now, conf.time_zone)
    is_there = Q(hidden_at=None)
    has_room = is_there & Q(data_limit__gt=F("period_used"))
    left = Case(When(has_room, then=F("data_limit") - F("period_used")), default=Value(0))
    found = (
        rows.annotate(left=left)
        .order_by()
        .values("reseller_id")
        .annotate(
            people=Count("pk", filter=is_there),
            active=Count("pk", filter=is_there & quotas.may_use(now)),
            life=ExactSum("life_used"),
            promise=ExactSum("left"),
            unbounded=Count("pk", filter=is_there & _is_unbounded()),
        )
    )
    return {row["reseller_id"]: row for row in found}


def _is_unbounded(prefix: str = "") -> Q:
    resets = ~Q(**{f"{prefix}limit_reset": Reset.NEVER})
    return Q(**{f"{prefix}data_limit": None}) | resets


def _ahead(ids: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """What plans that are bought ahead will give."""
    rows = NextPlan.objects.filter(subscriber__reseller__in=ids, subscriber__hidden_at=None)
    unbounded = Q(renews=True) | _is_unbounded("plan__")
    found = (
        rows.order_by()
        .values("subscriber__reseller")
        .annotate(promise=ExactSum("plan__data_limit"), unbounded=Count("pk", filter=unbounded))
    )
    return {row["subscriber__reseller"]: row for row in found}


@contextmanager
def kept(
    subscribers: Iterable[Subscriber], now: datetime, also: Reseller | None = None
) -> Iterator[None]:
    """What happens inside must not exceed a quota of these subscribers' resellers, or of ``also``. Raises Refused.

    Nor may it give a reseller's subscriber a name by which a reporter knows somebody else. To be entered inside a
    transaction, after the subscribers are locked. The resellers are locked until it ends, so that two changes at once do
    not pass together. Changes that take nothing more are always let through.
    """
    rows = list(subscribers)
    ids = {row.reseller_id for row in rows} | {also.pk if also else None}
    found = [pk for pk in ids if pk is not None]
    limited = _locked(found)
    names = _names(rows) if found else set()
    before = sums(limited, now) if limited else {}
    yield
    if found:
        _require_own_names(rows, names)
    after = sums(limited, now) if limited else {}
    for reseller in limited:
        if sentence := _excess(reseller, before[reseller.pk], after[reseller.pk]):
            raise Refused(sentence)


def _names(rows: Sequence[Subscriber]) -> set[tuple[int, str]]:
    """Ids and folded names, as they are stored, of those who are not deleted."""
    ids = [row.pk for row in rows if row.pk is not None]
    found: set[tuple[int, str]] = set()
    for start in range(0, len(ids), _STEP):
        named = Subscriber.objects.visible().filter(pk__in=ids[start : start + _STEP])
        found |= {(pk, folded(name)) for pk, name in named.values_list("pk", "name") if name}
    return found


def _require_own_names(rows: Sequence[Subscriber], before: set[tuple[int, str]]) -> None:
    """Otherwise the name would mean two people, and the traffic of both would wait. Raises Refused.

    It does not tell whose name it is, because that may be another reseller's subscriber.
    """
    new = dict(_names([row for row in rows if row.reseller_id is not None]) - before)
    names = list(set(new.values()))
    for start in range(0, len(names), _STEP):
        known = MeteredPerson.objects.filter(
            folded__in=names[start : start + _STEP], subscriber__hidden_at=None
        )
        for name, pk, own in known.values_list("folded", "subscriber", "subscriber__name"):
            others = {taker for taker, taken in new.items() if taken == name} - {pk}
            if pk is not None and others and folded(own) == name:
                raise Refused(
                    _(
                        "Somebody else's traffic is reported under the name “%(name)s”. Choose another name. Nothing more "
                        "was changed."
                    )
                    % {"name": name}
                )


def _locked(ids: Sequence[int]) -> list[Reseller]:
    """Those with a quota, locked in the order of their ids."""
    if not ids:
        return []
    rows = Reseller.objects.filter(pk__in=ids).order_by("pk").select_for_update()
    return [row for row in rows if (row.people_limit, row.data_limit) != (None, None)]


def _excess(reseller: Reseller, before: Sums, after: Sums) -> str:
    """Why the change is refused; "" if it is not."""
    people, limit = reseller.people_limit, reseller.data_limit
    if people is not None and after.people > max(people, before.people):
        return _(
            "The quota of reseller %(name)s is used up: at most %(limit)d subscribers. Nothing more was changed."
        ) % {
            "name": reseller,
            "limit": people,
        }
    if limit is None:
        return ""
    if after.open_ended > before.open_ended:
        return _(
            "Reseller %(name)s has a traffic quota: subscribers and their next plans need a data limit that does not "
            "start again by itself. Nothing more was changed."
        ) % {"name": reseller}
    if after.given_out > limit and after.promised > before.promised:
        return _(
            "The traffic quota of reseller %(name)s is %(limit)s, of which %(left)s is left; this needs %(needed)s. "
            "Nothing more was changed."
        ) % {
            "name": reseller,
            "limit": written_size(limit),
            "left": written_size(max(limit - before.given_out, 0)),
            "needed": written_size(after.promised - before.promised),
        }
    return ""


# Moving


def carry(moved: Mapping[int, tuple[int | None, int | None]]) -> None:
    """Usage stays with the reseller where it happened. Takes the old and new reseller by id of locked subscribers."""
    if not moved:
        return
    lives = dict(
        Balance.objects.filter(pk__in=moved).values_list(
            "pk", F("life_upload") + F("life_download")
        )
    )
    more: dict[int, int] = {}
    for pk, (old, new) in moved.items():
        life = lives.get(pk, 0)
        for reseller, amount in ((old, life), (new, -life)):
            if reseller is not None:
                more[reseller] = more.get(reseller, 0) + amount
    for reseller in sorted(more):
        Reseller.objects.filter(pk=reseller).update(carried=F("carried") + more[reseller])


def leave(pk: int) -> None:
    """A subscriber who is erased leaves their usage with the reseller."""
    row = Subscriber.objects.select_for_update().filter(pk=pk).first()
    if row is not None and row.reseller_id is not None:
        carry({pk: (row.reseller_id, None)})
        Subscriber.objects.filter(pk=pk).update(reseller=None)


@write_transaction
def restart(resellers: Iterable[int], by: By) -> int:
    """Count the traffic quota from zero; what is promised still counts. Return how many were restarted."""
    rows = list(Reseller.objects.filter(pk__in=list(resellers)).order_by("pk").select_for_update())
    known = sums(rows, by.now)
    for row in rows:
        row.counted_from, row.restarted_at = known[row.pk].total, by.now
    Reseller.objects.bulk_update(rows, ["counted_from", "restarted_at"])
    audit.note_many(
        Action.RESTARTED, [(row, {"used": (known[row.pk].used, 0)}) for row in rows], by
    )
    return len(rows)

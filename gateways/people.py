"""The people whom a gateway lets in at this moment."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from operations import quota_levels
from operations.conf import conf
from subscriptions.models import Group
from traffic.ledger.lookup import Endpoint
from traffic.models import Subscriber
from traffic.people import quotas, server_limits

# Bytes: a limit with less than this left is nearly used up.
NEARLY_USED_UP = 100 * 2**20
_NAME = re.compile(r"p([0-9]{1,18})-(s[0-9a-f]+)", re.ASCII)


class Person(msgspec.Struct, frozen=True):
    """``left``: bytes, also of limits on servers that are nearly used up; None without a limit. ``closed``: servers whose limit is used up for them."""

    pk: int
    token: str
    groups: tuple[int, ...]
    left: int | None
    closed: frozenset[Endpoint] = frozenset()

    def on(self, server: str) -> str:
        """This person on one server, as the gateway calls them: nobody's token or name is there."""
        return f"p{self.pk}-{server}"


class User(NamedTuple):
    """One person on one server, as the core calls them."""

    name: str
    digest: bytes


def named(name: str) -> tuple[int, str] | None:
    """The id of the person and the server that ``Person.on`` has written."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def active(now: datetime) -> Sequence[Person]:
    """Neither deleted, switched off, expired nor over the limit; in the order of their ids."""
    rows = quotas.with_usage(Subscriber.objects.visible(), now, conf.time_zone)
    found: Any = rows.filter(quotas.may_use(now)).order_by("pk")
    groups, used_up = _groups(), server_limits.used_up(now, NEARLY_USED_UP)
    return [
        Person(
            pk,
            token,
            groups.get(pk, ()),
            used_up.least_left(pk, None if limit is None else quota_levels.left(used, limit)),
            used_up.closed_to(pk),
        )
        for pk, token, limit, used in found.values_list("pk", "token", "data_limit", "period_used")
    ]


def _groups() -> dict[int, tuple[int, ...]]:
    """By the id of a person, sorted."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    pairs = Group.subscribers.through.objects.order_by("group_id")
    for subscriber, group in pairs.values_list("subscriber_id", "group_id"):
        found[subscriber].append(group)
    return {subscriber: tuple(groups) for subscriber, groups in found.items()}

"""What the widget in Marzban's dashboard shows: external traffic by server, and how the hand-over is."""

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec
from django.db.models import Sum
from django.db.models.functions import Lower

from traffic.figures import statistics
from traffic.figures.statistics import Share, Traffic
from traffic.periods import Window

from . import admin_tokens, conditions
from .models import HandOver, PanelIdentity, PanelLink

# Servers and users that are listed; the totals are those of all.
TOP = 50
_STEP = 500


class UserShare(msgspec.Struct, frozen=True):
    username: str
    traffic: Traffic


class HandOverState(msgspec.Struct, frozen=True):
    """``state``: connected, silent, paused, never-connected, or none without a node. ``unknown``: bytes."""

    state: str = "none"
    seen_at: datetime | None = None
    handed_over_at: datetime | None = None
    unknown: int = 0


class Widget(msgspec.Struct, frozen=True):
    """``total``: of all servers. ``users``: how many people used any. ``top_users``: of an admin's own alone."""

    total: Traffic
    users: int
    servers: list[Share]
    server_count: int
    top_users: list[UserShare]
    hand_over: HandOverState


def of_everybody(window: Window) -> Widget:
    """All traffic."""
    shares = statistics.server_shares(window)
    users = statistics.active_users(window)
    return Widget(
        _total(shares), users, shares[:TOP], len(shares), [], _hand_over(window.now, lost=True)
    )


def of_own(names: Callable[[], Iterable[str]], window: Window) -> Widget:
    """The same for the users with these names in the panel whose admins sign in here, and for nobody else."""
    people = _subscribers(sorted(names()))
    found = statistics.of_subscribers(sorted(people), window)
    ranked = sorted(found.by_subscriber.items(), key=lambda item: (-item[1].total, item[0]))
    return Widget(
        _total(found.servers),
        len(ranked),
        found.servers[:TOP],
        len(found.servers),
        [UserShare(people[pk], traffic) for pk, traffic in ranked[:TOP]],
        _hand_over(window.now, lost=False),
    )


def _total(shares: Iterable[Share]) -> Traffic:
    upload = download = 0
    for share in shares:
        upload += share.upload
        download += share.download
    return Traffic(upload, download)


def _subscribers(names: list[str]) -> dict[int, str]:
    """Their names in the panel by the subscriber's id."""
    current = PanelIdentity.objects.filter(link__url=admin_tokens.panel_url(), closed_at=None)
    found: dict[int, str] = {}
    for start in range(0, len(names), _STEP):
        step = current.alias(key=Lower("username")).filter(key__in=names[start : start + _STEP])
        found |= {pk: name for pk, name in step.values_list("subscriber_id", "username") if pk}
    return found


def _hand_over(now: datetime, *, lost: bool) -> HandOverState:
    link = PanelLink.objects.filter(url=admin_tokens.panel_url()).first()
    if link is None or not (link.client_certificate or link.node_key):
        return HandOverState()
    unknown = link.batches.filter(state=HandOver.State.UNKNOWN, what=HandOver.What.USERS)
    return HandOverState(
        conditions.of_link(link, now).code.removeprefix("marzban-"),
        link.seen_at,
        link.handed_over_at,
        int(unknown.aggregate(total=Sum("download"))["total"] or 0) if lost else 0,
    )

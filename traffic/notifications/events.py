"""What operators can be told of, and who finds it. Other apps register theirs.

A finder looks at what is the case ``now`` and gives each case a key that is the same as long as it lasts: what was
noticed once is not noticed again.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from traffic import health, overview
from traffic.conf import conf
from traffic.models import Subscriber
from traffic.overview import Used
from traffic.units import format_size

EXPIRES_SOON = timedelta(days=3)
# Of room on the disk, in bytes: time to act, long before ``health.DISK_FLOOR``.
DISK_LOW = 2**30
# Of servers, more than anybody has.
_MANY = 10_000


class Event(msgspec.Struct, frozen=True):
    """A case that was found. ``key``: without its kind; ``text``: one sentence; ``data``: for JSON, no secrets."""

    key: str
    text: str
    data: dict[str, Any]
    subscriber: int | None = None


Finder = Callable[[datetime], Iterable[Event]]


class Kind(msgspec.Struct, frozen=True):
    name: str
    label: str | Promise
    find: Finder


def also_notice(name: str, label: str | Promise, find: Finder) -> None:
    """Register a kind of another app. ``name``: up to 32 letters, for good; ``label``: what the rules in the admin say."""
    _kinds[name] = Kind(name, label, find)


def kinds() -> dict[str, Kind]:
    return dict(_kinds)


def _limits(now: datetime, *, reached: bool) -> Iterator[Event]:
    for subscriber in overview.near_limit(now, conf.time_zone):
        if (subscriber.period_used >= (subscriber.data_limit or 0)) is reached:
            yield _of_limit(subscriber)


def _near_limit(now: datetime) -> Iterator[Event]:
    return _limits(now, reached=False)


def _at_limit(now: datetime) -> Iterator[Event]:
    return _limits(now, reached=True)


def _of_limit(subscriber: Used) -> Event:
    used, limit = subscriber.period_used, subscriber.data_limit or 0
    text = _("%(name)s has used %(percent)d %% of the data limit: %(used)s of %(limit)s.") % {
        "name": subscriber, "percent": used * 100 // limit, "used": format_size(used), "limit": format_size(limit),
    }  # fmt: skip
    began = subscriber.period_began
    # A limit that was changed is another one.
    key = f"{subscriber.pk}:{int(began.timestamp())}:{limit}"
    figures = {"used_bytes": used, "limit_bytes": limit, "period_start": _iso(began)}
    return Event(key, text, _person(subscriber) | figures, subscriber.pk)


def _expiring(now: datetime) -> Iterator[Event]:
    for subscriber in overview.expiring(now, now + EXPIRES_SOON):
        expires = subscriber.expires_at or now
        text = _("%(name)s expires at %(when)s.") % {"name": subscriber, "when": written(expires)}
        data = _person(subscriber) | {"expires_at": _iso(expires)}
        yield Event(f"{subscriber.pk}:{int(expires.timestamp())}", text, data, subscriber.pk)


def _silent_servers(now: datetime) -> Iterator[Event]:
    for silent in overview.silent_servers(now, _MANY):
        text = _("Server %(name)s is silent: the last traffic was before %(when)s.") % {
            "name": silent.who, "when": written(silent.since),
        }  # fmt: skip
        data = {"server": {"id": silent.who.pk, "name": str(silent.who)}, "since": _iso(silent.since)}
        yield Event(f"{silent.who.pk}:{int(silent.since.timestamp())}", text, data)


def _silent_reporters(now: datetime) -> Iterator[Event]:
    for api_key in overview.silent_reporters(now):
        since = api_key.last_used_at or now
        text = _("Reporter %(name)s is silent: its last report came at %(when)s.") % {
            "name": api_key.name, "when": written(since),
        }  # fmt: skip
        data = {"reporter": {"id": api_key.pk, "name": api_key.name}, "since": _iso(since)}
        yield Event(f"{api_key.pk}:{int(since.timestamp())}", text, data)


def _disk(now: datetime) -> Iterator[Event]:
    """Once a day while it lasts, and once more when it gets serious."""
    space = health.disk()
    if space is None or space.free >= DISK_LOW:
        return
    is_full = space.free < health.DISK_FLOOR
    free = format_size(space.free)
    text = (
        _("The disk is full: only %s are free, and reports may be refused.") % free
        if is_full
        else _("The disk fills: only %s are free.") % free
    )
    level = "full" if is_full else "low"
    yield Event(f"{level}:{now:%Y-%m-%d}", text, {"free_bytes": space.free, "total_bytes": space.total})


def _person(subscriber: Subscriber) -> dict[str, Any]:
    """Never the token."""
    return {"subscriber": {"id": subscriber.pk, "name": subscriber.name}}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def written(moment: datetime) -> str:
    """A moment as a sentence says it, in the panel's time zone."""
    zone = conf.time_zone
    return f"{date_format(localtime(moment, zone), 'Y-m-d H:i')} {zone.key}"


_kinds: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # xgettext:no-python-format  # noqa: ERA001
        Kind("limit80", gettext_lazy("A subscriber has used 80 % of the data limit"), _near_limit),
        Kind("limit100", gettext_lazy("A subscriber has reached the data limit"), _at_limit),
        Kind("expiring", gettext_lazy("A subscriber expires within 3 days"), _expiring),
        Kind("server-silent", gettext_lazy("A server has been silent for a day"), _silent_servers),
        Kind("reporter-silent", gettext_lazy("A reporter (API key) has been silent for a day"), _silent_reporters),
        Kind("disk", gettext_lazy("The disk fills"), _disk),
    )
}

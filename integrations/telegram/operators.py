"""What the staff may do in a chat: search, extend, switch on and off. Permissions are those of the admin, at each command."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from operations.audit import By
from operations.conf import MAX_DAYS
from operations.formatting import written_last_day, written_size
from subscriptions.serving import notices
from traffic.figures import statistics
from traffic.models import Subscriber
from traffic.people import changes, quotas, subscribers

from . import answers
from .answers import Said
from .models import Link

# Subscribers in one answer.
_SHOWN = 10
_DAYS = 30
_VIEW, _CHANGE = "traffic.view_subscriber", "traffic.change_subscriber"


def knows(command: str) -> bool:
    return command in {"/find", "/extend", "/staff"}


def helped(staff: Link) -> Said:
    lines = [
        _("Hello, %(name)s.") % {"name": staff.user},
        _("/find anna – search by name, note, external id or token"),
        _("/extend 17 30 – extend subscriber 17 by 30 days"),
        _("/staff – this help"),
    ]
    return answers.text(staff.chat, "\n".join(lines))


def answer(command: str, rest: str, staff: Link, now: datetime) -> Iterator[Said]:
    if command == "/find":
        yield from _find(rest, staff, now)
    elif command == "/extend":
        yield _extend_by(rest, staff, now)
    else:
        yield helped(staff)


def pressed(data: str, staff: Link, now: datetime) -> list[Said]:
    """The answers to a button. ``data``: what, the subscriber's id, and what else it needs."""
    what, _colon, rest = data.partition(":")
    pk, _colon, more = rest.partition(":")
    subscriber = _visible(pk, staff)
    if subscriber is None:
        return [_no_such(staff)]
    if not _may(staff, _CHANGE):
        return [_refused(staff)]
    return [_done(what, more, subscriber, staff, now)]


def _done(what: str, more: str, subscriber: Subscriber, staff: Link, now: datetime) -> Said:
    match what:
        case "extend":
            return _ask_extend(subscriber, _DAYS, staff, now)
        case "extend!":
            return _extend(subscriber, more, staff, now)
        case "off":
            return _ask_off(subscriber, staff)
        case "off!" | "on!":
            changes.switch([subscriber.pk], on=what == "on!", by=_by(staff, now))
    return _shown(_again(subscriber), staff, now)


def _find(words: str, staff: Link, now: datetime) -> Iterator[Said]:
    if not words:
        yield answers.text(staff.chat, _("Write what to look for: /find anna"))
        return
    if not _may_view(staff):
        yield _refused(staff)
        return
    rows = subscribers.search(
        Subscriber.objects.visible(), words, may_see_tokens=_may(staff, _CHANGE)
    )
    found = list(rows.order_by("-pk")[: _SHOWN + 1])
    if not found:
        yield answers.text(staff.chat, _("Nobody was found."))
    for subscriber in found[:_SHOWN]:
        yield _shown(subscriber, staff, now)
    if len(found) > _SHOWN:
        yield answers.text(staff.chat, _("There are more. Search more precisely."))


def _shown(subscriber: Subscriber, staff: Link, now: datetime) -> Said:
    """A subscriber, with buttons for what this user may do."""
    used = statistics.usage_of(subscriber, now).period_total
    state = quotas.state(subscriber, used, now)
    limit = subscriber.data_limit
    usage = written_size(used) if limit is None else f"{written_size(used)} / {written_size(limit)}"
    lines = [f"{subscriber} (#{subscriber.pk})", notices.text(state, staff.language), usage]
    words = "\n".join([*lines, _end(subscriber)])
    return answers.text(staff.chat, words, _buttons(subscriber) if _may(staff, _CHANGE) else ())


def _end(subscriber: Subscriber) -> str:
    if subscriber.hold_days is not None:
        days = subscriber.hold_days
        return ngettext(
            "%(days)d day from the first use", "%(days)d days from the first use", days
        ) % {"days": days}
    if subscriber.expires_at is None:
        return _("no expiry")
    return _("until %(day)s") % {"day": written_last_day(subscriber.expires_at)}


def _buttons(subscriber: Subscriber) -> list[list[tuple[str, str]]]:
    pk = subscriber.pk
    found = [
        (_("Switch off"), f"off:{pk}") if subscriber.is_active else (_("Switch on"), f"on!:{pk}")
    ]
    if _has_term(subscriber):
        found.insert(0, (_("+%(days)d days") % {"days": _DAYS}, f"extend:{pk}"))
    return [found]


def _has_term(subscriber: Subscriber) -> bool:
    return subscriber.expires_at is not None or subscriber.hold_days is not None


def _extend_by(rest: str, staff: Link, now: datetime) -> Said:
    pk, _space, days = rest.partition(" ")
    if not days.isascii() or not days.isdigit() or not 1 <= int(days[:6]) <= MAX_DAYS:
        return answers.text(staff.chat, _("Write the number and the days: /extend 17 30"))
    subscriber = _visible(pk, staff)
    if subscriber is None:
        return _no_such(staff)
    if not _may(staff, _CHANGE):
        return _refused(staff)
    return _ask_extend(subscriber, int(days), staff, now)


def _ask_extend(subscriber: Subscriber, days: int, staff: Link, now: datetime) -> Said:
    """Now and then, before it is done. The button names the present end, so that a second press changes nothing."""
    if not _has_term(subscriber):
        return answers.text(staff.chat, _("%(name)s has no expiry.") % {"name": subscriber})
    before = _end(subscriber)
    data = f"extend!:{subscriber.pk}:{days}:{_stamp(subscriber)}"
    changes.lengthen(subscriber, days, now)  # not saved
    words = f"{subscriber}: {before} → {_end(subscriber)}"
    return answers.text(staff.chat, words, [[(_("Extend"), data)]])


def _extend(subscriber: Subscriber, more: str, staff: Link, now: datetime) -> Said:
    days, _colon, stamp = more.partition(":")
    locked = Subscriber.objects.select_for_update().get(pk=subscriber.pk)
    if not days.isascii() or not days.isdigit() or stamp != _stamp(locked):
        words = _("%(name)s was changed meanwhile. Nothing was done.") % {"name": subscriber}
        return answers.text(staff.chat, words)
    changes.extend([subscriber.pk], min(int(days[:6]), MAX_DAYS), _by(staff, now))
    return _shown(_again(subscriber), staff, now)


def _stamp(subscriber: Subscriber) -> str:
    """Changes with the end."""
    if subscriber.hold_days is not None:
        return f"h{subscriber.hold_days}"
    return str(int(subscriber.expires_at.timestamp())) if subscriber.expires_at else ""


def _ask_off(subscriber: Subscriber, staff: Link) -> Said:
    words = _("Switch off %(name)s? Reports are still counted.") % {"name": subscriber}
    return answers.text(staff.chat, words, [[(_("Switch off"), f"off!:{subscriber.pk}")]])


def _visible(pk: str, staff: Link) -> Subscriber | None:
    """The subscriber with this id, if the user may see subscribers."""
    if not (pk.isascii() and pk.isdigit() and len(pk) <= 18 and _may_view(staff)):
        return None
    return Subscriber.objects.visible().filter(pk=int(pk)).first()


def _again(subscriber: Subscriber) -> Subscriber:
    return Subscriber.objects.get(pk=subscriber.pk)


def _may_view(staff: Link) -> bool:
    """As in the admin, who may change may also see."""
    return _may(staff, _VIEW) or _may(staff, _CHANGE)


def _may(staff: Link, permission: str) -> bool:
    user: Any = staff.user
    return bool(user.has_perm(permission))


def _no_such(staff: Link) -> Said:
    return answers.text(staff.chat, _("There is no such subscriber."))


def _refused(staff: Link) -> Said:
    return answers.text(staff.chat, _("You may not do that."))


def _by(staff: Link, now: datetime) -> By:
    user: Any = staff.user
    return By(f"{user.get_username()} (Telegram)", now)

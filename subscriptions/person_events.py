"""Kinds of events that subscribers themselves are notified of, in their own language: those of ``traffic`` for who wants it.

A receiver that asks for them carries them on: a webhook of the operator's own bot, or an app's channel to people.
"""

from collections.abc import Iterator
from datetime import datetime

from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext
from msgspec import structs

from operations import quota_levels
from operations.events import Kind
from operations.findings import Condition, Finder
from operations.wording import Text
from subscriptions.conf import conf
from subscriptions.serving import dates
from subscriptions.serving.usage_chart import shown_size
from traffic import condition_words

from . import telling

PREFIX = "person-"
_LABELS: dict[str, str | Promise] = {
    # xgettext:no-python-format  # noqa: ERA001
    "limit80": _("For the subscriber: 80 % of the data limit is used"),
    "limit100": _("For the subscriber: the data limit is used up"),
    "expiring": _("For the subscriber: expires within 3 days"),
    "expired": _("For the subscriber: has expired"),
}


def _limit_near(found: Condition) -> str:
    used, limit = found.figures["used_bytes"], found.figures["limit_bytes"]
    # Translators: to the subscriber
    text = pgettext("page", "You have used %(percent)s %% of your data: %(used)s of %(limit)s.")
    return text % {
        "percent": dates.digits(str(quota_levels.percent(used, limit))),
        "used": shown_size(used),
        "limit": shown_size(limit),
    }


def _limit_reached(found: Condition) -> str:
    text = pgettext("page", "Your data is used up: %(limit)s. Your page says how to go on.")
    return text % {"limit": shown_size(found.figures["limit_bytes"])}


def _expiring(found: Condition) -> str:
    return pgettext("page", "Your subscription works until the end of %(day)s.") % {
        "day": _day(found)
    }


def _expired(found: Condition) -> str:
    text = pgettext(
        "page",
        "Your subscription has expired; its last day was %(day)s. Renew it, and the servers come back.",
    )
    return text % {"day": _day(found)}


def _day(found: Condition) -> str:
    return dates.in_words(dates.last_day(found.figures["expires_at"], conf.time_zone))


_TEXTS: dict[str, Text] = {
    "limit-near": _limit_near,
    "limit-reached": _limit_reached,
    "expiring": _expiring,
    "expired": _expired,
}


def _wanted(find: Finder) -> Finder:
    """The conditions of subscribers who want to be notified, each with their language."""

    def found(now: datetime) -> Iterator[Condition]:
        if not conf.tell_people:
            return
        languages = telling.languages()
        for one in find(now) if languages else ():
            if one.target and (language := languages.get(one.target.pk)):
                yield structs.replace(one, figures={**one.figures, "language": language})

    return found


def _in_own_language(text: Text) -> Text:
    def said(found: Condition) -> str:
        with translation.override(found.figures["language"]):
            return text(found) if callable(text) else str(text)

    return said


def _for_people(kind: Kind) -> Kind:
    return Kind(
        name=f"{PREFIX}{kind.name}",
        label=_LABELS[kind.name],
        find=_wanted(kind.find),
        texts={code: _in_own_language(_TEXTS[code]) for code in kind.texts},
        key=kind.key,
        data=kind.data,
    )


KINDS = tuple(_for_people(kind) for kind in condition_words.KINDS if kind.name in _LABELS)
NAMES = frozenset(kind.name for kind in KINDS)

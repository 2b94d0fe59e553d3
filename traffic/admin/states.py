"""States, limits and terms of subscribers in words."""

from datetime import datetime

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, ngettext

from operations.formatting import badge, last_day, size
from traffic.models import Subscriber
from traffic.people import quotas
from traffic.people.quotas import State

STATES: dict[State, str | Promise] = {
    State.ACTIVE: gettext_lazy("active"),
    State.DISABLED: gettext_lazy("switched off"),
    State.EXPIRED: gettext_lazy("expired"),
    State.LIMITED: gettext_lazy("over the limit"),
    State.ON_HOLD: gettext_lazy("on hold"),
}


def state_badge(subscriber: Subscriber, used: int, now: datetime) -> SafeString:
    """``used``: bytes in the current period."""
    if subscriber.hidden_at:
        return badge("disabled", gettext("deleted"))
    state = quotas.state(subscriber, used, now)
    return badge(state, STATES[state])


def limit_text(data_limit: int | None) -> str:
    return gettext("unlimited") if data_limit is None else size(data_limit)


def term(subscriber: Subscriber) -> str:
    """When it ends, or how long it will last once it has begun."""
    days = subscriber.hold_days
    if days is None:
        return last_day(subscriber.expires_at)
    return ngettext("%d day from first use", "%d days from first use", days) % days

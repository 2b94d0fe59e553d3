"""What an operator may do to one subscriber by a button, or to many by an action: asked first, done by ``changes``."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, ngettext_lazy
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from traffic import changes
from traffic.audit import By

MAX_DAYS = 3650


class DaysForm(forms.Form):
    days = forms.IntegerField(
        label=_("Days"), min_value=1, max_value=MAX_DAYS, initial=30, widget=UnfoldAdminIntegerFieldWidget
    )


class Deed(msgspec.Struct, frozen=True):
    """``do`` takes ids, what the form told, and whose doing it is; it answers how many were changed.

    ``question`` and ``done`` are plural forms: of how many is asked, and how many it was.
    """

    button: str | Promise
    icon: str
    question: Any
    text: str | Promise
    done: Callable[[int], str]
    do: Callable[[Iterable[int], Mapping[str, Any], By], int]
    form: type[forms.Form] | None = None
    # Somebody loses something by it.
    is_loss: bool = False


DEEDS: dict[str, Deed] = {
    "extend": Deed(
        button=_("Extend"),
        icon="event_upcoming",
        question=ngettext_lazy("Extend %d subscriber?", "Extend %d subscribers?"),
        text=_("The days are added to the expiry, or counted from now if it has passed. Who never expires stays so."),
        done=lambda count: ngettext("%d subscriber was extended.", "%d subscribers were extended.", count) % count,
        do=lambda ids, told, by: changes.extend(ids, told["days"], by),
        form=DaysForm,
    ),
    "restart": Deed(
        button=_("Restart the period"),
        icon="restart_alt",
        question=ngettext_lazy("Restart the period of %d subscriber?", "Restart the period of %d subscribers?"),
        text=_("What was used in this period counts as nothing from now on. The sum since the beginning stays."),
        done=lambda count: (
            ngettext(
                "The period of %d subscriber starts again from now.",
                "The periods of %d subscribers start again from now.",
                count,
            )
            % count
        ),
        do=lambda ids, _, by: changes.restart(ids, by),
        is_loss=True,
    ),
    "switch_on": Deed(
        button=_("Switch on"),
        icon="toggle_on",
        question=ngettext_lazy("Switch %d subscriber on?", "Switch %d subscribers on?"),
        text=_("They get their servers again, unless expired or over the limit."),
        done=lambda count: ngettext("%d subscriber is switched on.", "%d subscribers are switched on.", count) % count,
        do=lambda ids, _, by: changes.switch(ids, on=True, by=by),
    ),
    "switch_off": Deed(
        button=_("Switch off"),
        icon="toggle_off",
        question=ngettext_lazy("Switch %d subscriber off?", "Switch %d subscribers off?"),
        text=_("Instead of servers they get a line that says so. Reports about them are still counted."),
        done=lambda count: (
            ngettext("%d subscriber is switched off.", "%d subscribers are switched off.", count) % count
        ),
        do=lambda ids, _, by: changes.switch(ids, on=False, by=by),
        is_loss=True,
    ),
    "renew_token": Deed(
        button=_("New token"),
        icon="autorenew",
        question=ngettext_lazy("Give %d subscriber a new token?", "Give %d subscribers new tokens?"),
        text=_(
            "The old subscription address stops at once, also for reports; the new one must be handed out. "
            "This cannot be taken back."
        ),
        done=lambda count: ngettext("%d subscriber has a new token.", "%d subscribers have new tokens.", count) % count,
        do=lambda ids, _, by: changes.renew_tokens(ids, by),
        is_loss=True,
    ),
}

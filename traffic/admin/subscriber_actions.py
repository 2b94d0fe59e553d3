"""Actions on one subscriber (a button) or many (a list action): confirmed first, then done by ``changes``."""

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from operations.admin.bulk_actions import BulkAction
from operations.conf import MAX_DAYS
from traffic.models import NextPlan, Plan, Reseller, Subscriber
from traffic.people import changes, next_plans, plans

from . import new_links, previews
from .sizes import limit_field


class DaysForm(forms.Form):
    days = forms.IntegerField(
        label=_("Days"),
        min_value=1,
        max_value=MAX_DAYS,
        initial=30,
        widget=UnfoldAdminIntegerFieldWidget,
    )


class ChosenPlanForm(forms.Form):
    """The plan that an action applies."""

    plan = forms.ModelChoiceField(
        label=_("Plan"), queryset=Plan.objects.order_by("name"), widget=UnfoldAdminSelectWidget
    )


class NextPlanForm(ChosenPlanForm):
    """A plan that is bought ahead."""

    begins = forms.ChoiceField(
        label=_("Begins"), choices=NextPlan.Begins.choices, widget=UnfoldAdminSelectWidget
    )
    renews = forms.BooleanField(
        label=_("Renews by itself"),
        required=False,
        widget=UnfoldBooleanWidget,
        help_text=_("It begins again each time, until it is cancelled."),
    )


class ResellerForm(forms.Form):
    """The reseller to whom an action moves subscribers."""

    reseller = forms.ModelChoiceField(
        label=_("Reseller"),
        queryset=Reseller.objects.order_by("name"),
        required=False,
        widget=UnfoldAdminSelectWidget,
        empty_label=_("none: the panel itself"),
        help_text=_("What they have used so far stays with the reseller whom they leave."),
    )


class LimitForm(forms.Form):
    data_limit = limit_field()


class ResetForm(forms.Form):
    limit_reset = forms.ChoiceField(
        label=_("Limit reset"), choices=Subscriber.Reset.choices, widget=UnfoldAdminSelectWidget
    )
    reset_day = forms.IntegerField(
        label=_("Day of the month"),
        min_value=1,
        max_value=31,
        initial=1,
        help_text=_("1 to 31, for “every month”; a shorter month takes its last day."),
        widget=UnfoldAdminIntegerFieldWidget,
    )
    reset_days = forms.IntegerField(
        label=_("Days of a period"),
        min_value=1,
        max_value=MAX_DAYS,
        initial=30,
        help_text=_("N of “every N days”, counted from the start."),
        widget=UnfoldAdminIntegerFieldWidget,
    )


class NoteForm(forms.Form):
    line = forms.CharField(
        label=_("Line"), max_length=500, widget=UnfoldAdminTextInputWidget, strip=True
    )


ACTIONS: dict[str, BulkAction] = {
    "renew": BulkAction(
        button=_("Renew"),
        icon="redeem",
        question=ngettext_lazy("Renew %d subscriber?", "Renew %d subscribers?"),
        text=_(
            "The days of the plan are added to the expiry, or counted from now if it has passed, and the usage of the "
            "period restarts from zero. Subscribers without a plan are not changed."
        ),
        done=ngettext_lazy("%d subscriber was renewed.", "%d subscribers were renewed."),
        do=lambda ids, _, by: plans.renew(ids, by).renewed,
        preview=previews.renewing,
    ),
    "apply_plan": BulkAction(
        button=_("Apply a plan"),
        icon="sell",
        question=ngettext_lazy("Apply a plan to %d subscriber?", "Apply a plan to %d subscribers?"),
        text=_(
            "Limit, limit reset and expiry become those of the plan; its days are counted from now."
        ),
        done=ngettext_lazy("%d subscriber has the plan.", "%d subscribers have the plan."),
        do=lambda ids, told, by: plans.apply(ids, told["plan"], by),
        form=ChosenPlanForm,
        preview=previews.applying,
    ),
    "next_plan": BulkAction(
        button=_("Add a next plan"),
        icon="queue",
        question=ngettext_lazy(
            "Add a next plan to %d subscriber?", "Add a next plan to %d subscribers?"
        ),
        text=_(
            "The plan begins by itself when the term or the data limit ends, with its own term and a new period."
        ),
        done=ngettext_lazy(
            "%d subscriber has the next plan.", "%d subscribers have the next plan."
        ),
        do=lambda ids, told, by: next_plans.add(
            ids, told["plan"], by, told["begins"], told["renews"]
        ),
        form=NextPlanForm,
    ),
    "extend": BulkAction(
        button=_("Extend"),
        icon="event_upcoming",
        question=ngettext_lazy("Extend %d subscriber?", "Extend %d subscribers?"),
        text=_(
            "The days are added to the expiry, or counted from now if it has passed. Subscribers without an expiry date are not changed."
        ),
        done=ngettext_lazy("%d subscriber was extended.", "%d subscribers were extended."),
        do=lambda ids, told, by: changes.extend(ids, told["days"], by),
        form=DaysForm,
        preview=previews.extending,
    ),
    "restart": BulkAction(
        button=_("Restart the period"),
        icon="restart_alt",
        question=ngettext_lazy(
            "Restart the period of %d subscriber?", "Restart the period of %d subscribers?"
        ),
        text=_(
            "The usage of this period restarts from zero. The total since the beginning is kept."
        ),
        done=ngettext_lazy(
            "The period of %d subscriber starts again from now.",
            "The periods of %d subscribers start again from now.",
        ),
        do=lambda ids, _, by: changes.restart(ids, by),
        is_loss=True,
        preview=previews.restarting,
    ),
    "switch_on": BulkAction(
        button=_("Switch on"),
        icon="toggle_on",
        question=ngettext_lazy("Switch %d subscriber on?", "Switch %d subscribers on?"),
        text=_("They get their servers again, unless expired or over the limit."),
        done=ngettext_lazy("%d subscriber is switched on.", "%d subscribers are switched on."),
        do=lambda ids, _, by: changes.switch(ids, on=True, by=by),
    ),
    "switch_off": BulkAction(
        button=_("Switch off"),
        icon="toggle_off",
        question=ngettext_lazy("Switch %d subscriber off?", "Switch %d subscribers off?"),
        text=_(
            "Instead of servers they get a line that says they are switched off. Reports about them are still counted."
        ),
        done=ngettext_lazy("%d subscriber is switched off.", "%d subscribers are switched off."),
        do=lambda ids, _, by: changes.switch(ids, on=False, by=by),
        is_loss=True,
    ),
    "set_limit": BulkAction(
        button=_("Set the limit"),
        icon="speed",
        question=ngettext_lazy(
            "Set the limit of %d subscriber?", "Set the limit of %d subscribers?"
        ),
        text=_("Upload and download of one period together."),
        done=ngettext_lazy("%d subscriber has the limit.", "%d subscribers have the limit."),
        do=changes.edit,
        form=LimitForm,
        preview=previews.limiting,
    ),
    "set_reset": BulkAction(
        button=_("Set the limit reset"),
        icon="event_repeat",
        question=ngettext_lazy(
            "Set the limit reset of %d subscriber?", "Set the limit reset of %d subscribers?"
        ),
        text=_("When the usage that counts towards the limit restarts from zero."),
        done=ngettext_lazy("%d subscriber has the reset.", "%d subscribers have the reset."),
        do=changes.edit,
        form=ResetForm,
    ),
    "add_note": BulkAction(
        button=_("Add to the note"),
        icon="edit_note",
        question=ngettext_lazy(
            "Add a line to the note of %d subscriber?", "Add a line to the notes of %d subscribers?"
        ),
        text=_("The line is added at the end. Subscribers do not see notes."),
        done=ngettext_lazy("%d note has the line.", "%d notes have the line."),
        do=lambda ids, told, by: changes.add_note(ids, told["line"], by),
        form=NoteForm,
    ),
    "set_reseller": BulkAction(
        button=_("Move to a reseller"),
        icon="storefront",
        question=ngettext_lazy(
            "Move %d subscriber to a reseller?", "Move %d subscribers to a reseller?"
        ),
        text=_("The reseller sees and manages them from now on; their links stay."),
        done=ngettext_lazy("%d subscriber was moved.", "%d subscribers were moved."),
        do=changes.edit,
        form=ResellerForm,
    ),
    "renew_token": BulkAction(
        button=_("New token"),
        icon="autorenew",
        question=ngettext_lazy(
            "Give %d subscriber a new token?", "Give %d subscribers new tokens?"
        ),
        text=_(
            "The old subscription address stops working at once, also for reports. Hand out the new one. "
            "This cannot be undone."
        ),
        done=ngettext_lazy("%d subscriber has a new token.", "%d subscribers have new tokens."),
        do=lambda ids, _, by: changes.renew_tokens(ids, by),
        is_loss=True,
        after=new_links.hand_out,
    ),
}
# Those that the list offers, too, in its order.
IN_LIST = (
    "renew",
    "apply_plan",
    "next_plan",
    "extend",
    "set_limit",
    "set_reset",
    "restart",
    "add_note",
    "set_reseller",
    "renew_token",
    "switch_on",
    "switch_off",
)
# Those that resellers have for their own subscribers, with the pages of one subscriber and of their list.
FOR_OWNERS = frozenset(ACTIONS) - {"set_reseller"} | {
    "usage", "statement", "bill", "import", "export", "columns", "cancel_next_plan", "bring_back", "delete_selected",
}  # fmt: skip
# Those that a page has no button for, because its form does the same.
_OF_THE_LIST = frozenset({"set_limit", "set_reset", "add_note"})


def is_offered(name: str, obj: Subscriber) -> bool:
    """Whether a button would change this subscriber."""
    if obj.hidden_at or name in _OF_THE_LIST:
        return False
    match name:
        case "renew":
            return obj.plan_id is not None
        case "extend":
            return obj.expires_at is not None or obj.hold_days is not None
        case "switch_on" | "switch_off":
            return obj.is_active == (name == "switch_off")
        case _:
            return True

"""Forms for plans, subscribers and corrections."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from operations.conf import MAX_DAYS
from traffic.models import Correction, Plan, Reporter, Subscriber
from traffic.people import plans

from .last_day import LastDayField
from .reset_fields import RESET_FIELDS, ResetFieldsForm
from .sizes import SizeField, limit_field

if TYPE_CHECKING:
    _CorrectionModelForm = forms.ModelForm[Correction]
    _PlanModelForm = forms.ModelForm[Plan]
else:
    _CorrectionModelForm = _PlanModelForm = forms.ModelForm


# An operator sets one of them, or both.
_TERM = ("expires_at", "hold_days")
# What a plan gives where the form is empty.
_GIVEN = ("data_limit", "device_limit", *_TERM)


class PlanForm(_PlanModelForm):
    data_limit = limit_field()
    days = forms.IntegerField(
        label=_("Days"),
        required=False,
        min_value=1,
        max_value=MAX_DAYS,
        help_text=_("How long it lasts; empty = for ever."),
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        model = Plan
        fields = [
            "name", "data_limit", "days", "from_first_use", "limit_reset", "reset_day", "reset_days", "device_limit",
        ]  # fmt: skip


class SubscriberForm(ResetFieldsForm):
    """``refusal``: why saving was refused; the form then shows it."""

    refusal = ""
    data_limit = limit_field()
    expires_at = LastDayField(
        label=_("Last day"),
        required=False,
        help_text=_("The last day on which the subscription works; empty = it never ends."),
    )

    class Meta:
        model = Subscriber
        fields = [
            "plan",
            "name",
            "token",
            "external_id",
            "reseller",
            "note",
            "is_active",
            "data_limit",
            "limit_reset",
            "reset_day",
            "reset_days",
            "expires_at",
            "hold_days",
            "device_limit",
        ]
        widgets = {
            "token": UnfoldAdminTextInputWidget(
                attrs={"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}
            ),
            "note": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }
        error_messages = {
            "token": {
                "unique": _(
                    "Another subscriber has this token, or a deleted one had it. Choose another."
                )
            }
        }
        help_texts = {
            "token": _(
                "The secret part of the subscription address. When it changes, the old one stops working."
            ),
            "limit_reset": _("When the usage that counts towards the limit restarts from zero."),
        }

    def clean(self) -> dict[str, Any]:
        """A plan that is chosen for a new subscriber gives what is left empty here."""
        found = super().clean() or {}
        if self.refusal:
            self.add_error(None, self.refusal)
        plan = found.get("plan")
        if plan and self.instance.pk is None:
            given = plans.values(plan, timezone.now())
            found |= {name: given[name] for name in _GIVEN if not found.get(name)}
            if "limit_reset" not in self.changed_data:
                found |= {name: given[name] for name in ("limit_reset", *RESET_FIELDS)}
        return found


class NameForm(forms.Form):
    """*Also known as*: a name that means one subscriber, for one reporter or for all."""

    name = forms.CharField(
        label=_("Name"),
        help_text=_(
            "As a reporter writes it: an e-mail, a user name, a public key. Letter case does not matter."
        ),
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    reporter = forms.ModelChoiceField(
        label=_("Reporter"),
        help_text=_("Empty = for all."),
        queryset=Reporter.objects.filter(subscriber=None).order_by("meter", "pk"),
        required=False,
        widget=UnfoldAdminSelectWidget,
    )


class CorrectionForm(_CorrectionModelForm):
    """``upload`` and ``download`` are entered as sizes to take away or add; the instance gets signed values."""

    direction = forms.ChoiceField(
        label=_("What to do"),
        choices=[("-", _("Take away")), ("+", _("Add"))],
        widget=UnfoldAdminRadioSelectWidget,
        initial="-",
    )
    upload = SizeField(label=_("Upload"), required=False)
    download = SizeField(label=_("Download"), required=False)

    class Meta:
        model = Correction
        fields = ["direction", "upload", "download", "in_period", "reason"]
        widgets = {"reason": UnfoldAdminTextInputWidget, "in_period": UnfoldBooleanWidget}
        labels = {"in_period": _("Also in the current period")}
        help_texts = {
            "in_period": _(
                "Otherwise only the total of all periods changes. Without a limit reset, the period is that total."
            ),
            "reason": _("The reason is kept in the history."),
        }

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        sign = -1 if found.get("direction") == "-" else 1
        return found | {name: sign * (found.get(name) or 0) for name in ("upload", "download")}

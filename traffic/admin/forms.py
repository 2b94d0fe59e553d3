"""What operators type: sizes with a unit, subscribers, API keys."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from traffic.cells import typed_size
from traffic.models import MAX_COUNTER, ApiKey, Correction, Subscriber
from traffic.units import parse_size

if TYPE_CHECKING:
    _SubscriberModelForm = forms.ModelForm[Subscriber]
    _CorrectionModelForm = forms.ModelForm[Correction]
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    _SubscriberModelForm = _CorrectionModelForm = _ApiKeyModelForm = forms.ModelForm

# Below a megabyte a number without a unit is one that was forgotten.
_LEAST_BARE = 2**20


class SizeField(forms.Field):
    """Bytes, written as ``50 GB``; empty is None. What is shown reads back as exactly the same bytes."""

    widget = UnfoldAdminTextInputWidget
    default_error_messages = {
        "invalid": _("“%(value)s” is not a size. Write for example 50 GB, 1.5 TB or 700 MB."),
        "no_unit": _("Is “%(value)s” in GB? Write the unit, for example %(value)s GB."),
        "out_of_range": _("Expected at least 1 byte and at most 1024 PB. Leave it empty for no limit."),
    }

    def to_python(self, value: Any) -> int | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            size = parse_size(text)
        except ValueError:
            raise self._error("invalid", text) from None
        if not 1 <= size <= MAX_COUNTER:
            raise self._error("out_of_range", text)
        if text[-1].isdigit() and size < _LEAST_BARE:
            raise self._error("no_unit", text)
        return size

    def prepare_value(self, value: Any) -> Any:
        return typed_size(value) if isinstance(value, int) else value

    def _error(self, code: str, text: str) -> ValidationError:
        return ValidationError(self.error_messages[code], code=code, params={"value": text})


class SubscriberForm(_SubscriberModelForm):
    data_limit = SizeField(
        label=_("Data limit"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "placeholder": _("50 GB")}),
        help_text=_("For example 50 GB or 1.5 TB, upload and download together; empty = unlimited."),
    )

    class Meta:
        model = Subscriber
        fields = ["name", "token", "note", "is_active", "data_limit", "limit_reset", "reset_day", "expires_at"]
        widgets = {
            "token": UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}),
            "note": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }
        error_messages = {
            "token": {"unique": _("Another subscriber has this token, or a deleted one had it. Choose another.")}
        }
        help_texts = {
            "token": _("The secret part of the subscription address. When it changes, the old one stops working."),
            "limit_reset": _("When the usage that counts towards the limit starts again from nothing."),
            "expires_at": _("In UTC; empty = never."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "reset_day" in self.fields:  # is not there for who may only look
            self.fields["reset_day"].required = False

    def clean_reset_day(self) -> int:
        """Only a month has a day; left empty it is the first."""
        day: int | None = self.cleaned_data["reset_day"]
        return 1 if day is None else day


class CorrectionForm(_CorrectionModelForm):
    """``upload`` and ``download`` are told as sizes to take away or to add; the instance gets their signs."""

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
            "in_period": _("Otherwise only the sum of all periods changes. A period that never restarts is that sum."),
            "reason": _("Why; it stays in the history."),
        }

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        sign = -1 if found.get("direction") == "-" else 1
        return found | {name: sign * (found.get(name) or 0) for name in ("upload", "download")}


class ApiKeyForm(_ApiKeyModelForm):
    class Meta:
        model = ApiKey
        fields = ["name", "scope", "expires_at"]
        help_texts = {
            "name": _("Who or what uses this key."),
            "scope": _("What the key may do. It cannot be changed later."),
            "expires_at": _("In UTC; empty = never."),
        }

    def clean_expires_at(self) -> datetime | None:
        moment: datetime | None = self.cleaned_data["expires_at"]
        if moment and moment <= timezone.now() and "expires_at" in self.changed_data:
            raise ValidationError(_("This moment has passed. To end a key now, revoke it."))
        return moment

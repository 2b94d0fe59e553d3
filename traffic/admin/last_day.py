"""A field for the last day of a subscription: people enter a day, and the moment after it is stored."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from operations.formatting import day_before
from traffic.conf import conf
from traffic.periods import parse_expiry


def _input() -> UnfoldAdminTextInputWidget:
    """The browser's own calendar, with buttons that ``terms.js`` adds."""
    terms = {"data-month": _("+1 month"), "data-quarter": _("+3 months"), "data-year": _("+1 year")}
    return UnfoldAdminTextInputWidget(attrs={"type": "date", "max": "9998-12-31", **terms})


class LastDayField(forms.Field):
    """A day like ``2027-01-31``, or a moment for subscriptions that end within a day; empty is None.

    A day that is not edited does not change the stored moment.
    """

    widget = _input()
    default_error_messages = {
        "invalid": _("Write a day like 2027-01-31."),
    }

    def to_python(self, value: Any) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            return parse_expiry(text, conf.time_zone).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None

    def prepare_value(self, value: Any) -> Any:
        return day_before(value).isoformat() if isinstance(value, datetime) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (self.prepare_value(initial) or "") != (data or "")

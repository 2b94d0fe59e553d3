"""A field for sizes with a unit."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from operations.formatting import typed_size
from operations.units import UnitMissing, parse_size
from traffic.models import MAX_COUNTER


class SizeField(forms.Field):
    """Bytes, entered like ``50 GB``; empty is None. A displayed value reads back as exactly the same bytes."""

    widget = UnfoldAdminTextInputWidget
    default_error_messages = {
        "invalid": _("“%(value)s” is not a size. Write for example 50 GB, 1.5 TB or 700 MB."),
        "no_unit": _("Is “%(value)s” in GB? Write the unit, for example %(value)s GB."),
        "out_of_range": _(
            "Expected at least 1 byte and at most 1024 PB. Leave it empty for no limit."
        ),
    }

    def to_python(self, value: Any) -> int | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            size = parse_size(text)
        except UnitMissing:
            raise self._error("no_unit", text) from None
        except ValueError:
            raise self._error("invalid", text) from None
        if not 1 <= size <= MAX_COUNTER:
            raise self._error("out_of_range", text)
        return size

    def prepare_value(self, value: Any) -> Any:
        return typed_size(value) if isinstance(value, int) else value

    def _error(self, code: str, text: str) -> ValidationError:
        return ValidationError(self.error_messages[code], code=code, params={"value": text})


def limit_field() -> SizeField:
    return SizeField(
        label=_("Data limit"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "placeholder": _("50 GB")}),
        help_text=_(
            "For example 50 GB or 1.5 TB, upload and download together; empty = unlimited."
        ),
    )

"""Ids that a browser sends: in an address, a filter or a form made by hand they may be anything."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

# 64 bits hold 18 digits and some of 19.
_DIGITS = 18


def is_id(text: str) -> bool:
    """Whether the database can be asked for it: a number that is too large for it is nobody's."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


class IdsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # it cannot be subscripted
    """Django's own breaks on what is no id: when it looks up a large number, or shows a text that was refused."""

    def clean(self, value: Any) -> Any:
        for given in value or ():
            if not is_id(str(given)):
                raise ValidationError(
                    self.error_messages["invalid_pk_value"], code="invalid_pk_value", params={"pk": given}
                )
        return super().clean(value)

    def prepare_value(self, value: Any) -> Any:
        """What is shown as chosen."""
        found = super().prepare_value(value)
        return [given for given in found if is_id(str(given))] if isinstance(found, list) else found

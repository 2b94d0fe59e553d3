"""Ids sent by a browser. In a URL, filter or form that was edited by hand they may be any text."""

from typing import Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.http import Http404

_M = TypeVar("_M", bound=models.Model)

# Every number of 18 digits fits into 64 bits.
_DIGITS = 18


def is_id(text: str) -> bool:
    """Whether the database can look up this id. No row has a number beyond 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def find_or_404(rows: models.QuerySet[_M], text: str) -> _M:
    """The row with this id; raises Http404."""
    found = rows.filter(pk=int(text)).first() if is_id(text) else None
    if found is None:
        raise Http404
    return found


class IdField(forms.ModelChoiceField):  # type: ignore[type-arg]  # it cannot be subscripted
    """Unlike Django's own field, this one does not fail on large numbers and on texts that are not ids."""

    default_error_messages = {
        "invalid_pk_value": forms.ModelMultipleChoiceField.default_error_messages[
            "invalid_pk_value"
        ]
    }

    def clean(self, value: Any) -> Any:
        if value and not is_id(str(value)):
            raise ValidationError(
                self.error_messages["invalid_pk_value"],
                code="invalid_pk_value",
                params={"pk": value},
            )
        return super().clean(value)

    def prepare_value(self, value: Any) -> Any:
        """The value that is shown as selected."""
        found = super().prepare_value(value)
        return found if is_id(str(found)) else None


class IdsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # it cannot be subscripted
    """Unlike Django's own field, this one does not fail on large numbers and on texts that are not ids."""

    def clean(self, value: Any) -> Any:
        for given in value or ():
            if not is_id(str(given)):
                raise ValidationError(
                    self.error_messages["invalid_pk_value"],
                    code="invalid_pk_value",
                    params={"pk": given},
                )
        return super().clean(value)

    def prepare_value(self, value: Any) -> Any:
        """The values that are shown as selected."""
        found = super().prepare_value(value)
        return [given for given in found if is_id(str(given))] if isinstance(found, list) else found

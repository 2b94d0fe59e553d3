"""The fields that only some limit resets use."""

from typing import TYPE_CHECKING, Any

from django import forms

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm

# With their values when they are left empty.
RESET_FIELDS = {"reset_day": 1, "reset_days": 30}


class ResetFieldsForm(_ModelForm):
    """A form of a model with ``RESET_FIELDS``, which may be left empty."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.fields.keys() & RESET_FIELDS:  # missing for users who may only view
            self.fields[name].required = False

    def clean_reset_day(self) -> int:
        """Only a monthly reset has a day; empty means the first."""
        return self._given_or_default("reset_day")

    def clean_reset_days(self) -> int:
        """Only “every N days” has days; empty means the default."""
        return self._given_or_default("reset_days")

    def _given_or_default(self, name: str) -> int:
        given: int | None = self.cleaned_data[name]
        return RESET_FIELDS[name] if given is None else given

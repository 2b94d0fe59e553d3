from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from operations.extension import KeyOption, as_stored, key_options
from operations.models import ApiKey

if TYPE_CHECKING:
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    _ApiKeyModelForm = forms.ModelForm


# Scopes of keys that report.
REPORTING = frozenset({ApiKey.Scope.REPORT, ApiKey.Scope.MANAGE})


def asked(key: ApiKey | None) -> list[KeyOption]:
    """The options that the form of a key has; of a new one it is not known yet whether it reports."""
    if key is None:
        return key_options()
    return [option for option in key_options() if option.is_changeable and _suits(option, key)]


def _suits(option: KeyOption, key: ApiKey) -> bool:
    return option.is_limit or key.scope in REPORTING


def form_with_options(key: ApiKey | None) -> type["ApiKeyForm"]:
    stored = {} if key is None else key.options
    fields = {option.name: _field(option, stored.get(option.name, "")) for option in asked(key)}
    return type("ApiKeyForm", (ApiKeyForm,), fields)


def _field(option: KeyOption, stored: str) -> forms.Field:
    words: dict[str, Any] = {
        "label": capfirst(str(option.label)),
        "help_text": str(option.help_text),
        "initial": option.default,
        "required": False,
    }
    if option.offered is not None:
        choices = {**_deleted(stored), **dict(option.offered())}.items()
        return _CommaSeparatedField(
            choices=list(choices), widget=UnfoldAdminCheckboxSelectMultipleWidget, **words
        )
    if option.choices:
        return forms.ChoiceField(choices=option.choices, widget=UnfoldAdminSelectWidget, **words)
    return _Text(option, words)


def _deleted(stored: str) -> dict[str, str]:
    """Deleted choices stay chosen until somebody removes them: without them, a limited key would have no limit."""
    return {part: _("deleted: %s") % part for part in stored.split(",") if part}


class _CommaSeparatedField(forms.MultipleChoiceField):
    """Several choices, stored as one comma-separated text."""

    def prepare_value(self, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    def clean(self, value: Any) -> Any:
        return ",".join(sorted(super().clean(value)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed([part for part in initial.split(",") if part], data)


class _Text(forms.CharField):
    def __init__(self, option: KeyOption, words: dict[str, Any]) -> None:
        super().__init__(max_length=2000, widget=UnfoldAdminTextInputWidget, **words)
        self._option = option

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return self._option.clean(text) if text else ""
        except ValueError as error:
            raise ValidationError(str(error)) from None


class ApiKeyForm(_ApiKeyModelForm):
    """With a field for each option that an app offers and that can be chosen now."""

    class Meta:
        model = ApiKey
        fields = ["name", "scope", "expires_at"]
        help_texts = {
            "name": _("The person or program that uses this key."),
            "scope": _("What the key may do. It cannot be changed later."),
            "expires_at": _("In UTC; empty = never."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "scope" in self.fields:
            scopes = [(scope.value, scope.label) for scope in ApiKey.GENERAL_SCOPES]
            self.fields["scope"].choices = [("", "---------"), *scopes]  # type: ignore[attr-defined]

        for option in asked(self._key):
            self.initial.setdefault(
                option.name, self.instance.options.get(option.name, option.default)
            )

    @property
    def _key(self) -> ApiKey | None:
        return self.instance if self.instance.pk else None

    def chosen(self) -> dict[str, str]:
        """The options that suit the scope of the key."""
        offered = [option for option in asked(self._key) if _suits(option, self.instance)]
        now = {option.name: self.cleaned_data[option.name] for option in offered}
        before = {k: v for k, v in self.instance.options.items() if k not in now}
        return before | as_stored(now)

    def clean_expires_at(self) -> datetime | None:
        moment: datetime | None = self.cleaned_data["expires_at"]
        if moment and moment <= timezone.now() and "expires_at" in self.changed_data:
            raise ValidationError(_("This time is in the past. To end a key now, revoke it."))
        return moment

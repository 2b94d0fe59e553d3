"""Forms that ask for a code of the second factor."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import INPUT_CLASSES

_LOOK = " ".join(INPUT_CLASSES)


class CodeForm(forms.Form):
    """One code: of the app, or a recovery code."""

    code = forms.CharField(
        label=_("Code"),
        max_length=40,
        help_text=_("Six digits from your authenticator app, or a recovery code."),
        widget=forms.TextInput(
            attrs={
                "class": _LOOK,
                "autocomplete": "one-time-code",
                "inputmode": "numeric",
                "dir": "ltr",
            }
        ),
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, label_suffix="")


class PasswordAndCodeForm(CodeForm):
    """What switching the second factor off asks for."""

    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(
            attrs={"class": _LOOK, "autocomplete": "current-password", "dir": "ltr"}
        ),
    )
    field_order = ["password", "code"]

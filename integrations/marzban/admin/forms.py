from datetime import datetime

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

_PLAIN = {"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}


class AccountForm(forms.Form):
    username = forms.CharField(
        label=_("Admin of the panel"),
        max_length=100,
        widget=UnfoldAdminTextInputWidget(attrs=_PLAIN),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
    )


class ConnectForm(AccountForm):
    field_order = ("url", "username", "password", "node_address")

    url = forms.CharField(
        label=_("Address of the panel"),
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs=_PLAIN),
        help_text=_("As in the browser's address bar, like https://marzban.example.com."),
    )
    node_address = forms.CharField(
        label=_("Address of this machine"),
        max_length=253,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs=_PLAIN),
        help_text=_("How the panel reaches it. Empty = both are on one machine."),
    )


class ResumeForm(forms.Form):
    since = forms.SplitDateTimeField(
        label=_("Since (UTC)"),
        initial=timezone.now,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text=_("Full hours: bytes of hours that began before are not handed over any more."),
    )

    def clean_since(self) -> datetime:
        since: datetime = self.cleaned_data["since"]
        if since > timezone.now():
            raise ValidationError(_("This time is in the future."))
        return since

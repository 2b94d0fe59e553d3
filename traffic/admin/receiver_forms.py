"""What operators type of a receiver: an address of its kind, its secret, and what it is told of."""

import re
import secrets
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
)

from traffic.models import Receiver
from traffic.notifications import events
from traffic.notifications.posting import read_url

if TYPE_CHECKING:
    _ReceiverModelForm = forms.ModelForm[Receiver]
else:
    _ReceiverModelForm = forms.ModelForm

_CHAT = re.compile(r"-?\d{1,20}|@\w{4,32}", re.ASCII)
_BOT_TOKEN = re.compile(r"\d{1,20}:[\w-]{20,100}", re.ASCII)
# Below this a signature could be guessed.
_LEAST_SECRET = 16


class ReceiverForm(_ReceiverModelForm):
    """``made_secret``: what the panel has made up for a new webhook; empty otherwise."""

    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=200,
        widget=UnfoldAdminPasswordWidget(attrs={"dir": "ltr", "autocomplete": "new-password"}),
        help_text=_(
            "A webhook's signature is made with it: left empty, the panel makes one up. Of a Telegram bot the token that "
            "@BotFather gave. Once saved it is never shown; empty = it stays."
        ),
    )
    events = forms.MultipleChoiceField(
        label=_("Is told when"), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    made_secret = ""

    class Meta:
        model = Receiver
        fields = ["name", "kind", "target", "secret", "events", "is_active"]
        widgets = {"target": UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "spellcheck": "false"})}
        help_texts = {
            "kind": _("It cannot be changed later."),
            "target": _("https://… of a webhook; the id of a Telegram chat, or @channel; an e-mail address."),
            "is_active": _("Off: nothing is sent, and after three days what waits is given up."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Before the form is written into it.
        self._secret_before = self.instance.secret
        if "events" in self.fields:  # is not there for who may only look
            self.fields["events"].choices = [(kind.name, kind.label) for kind in events.kinds().values()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        kind = found.get("kind") or self.instance.kind
        self._check("target", kind, found)
        if "secret" in found:
            found["secret"] = found["secret"] or self._secret_before
            self._check("secret", kind, found)
        return found

    def _check(self, field: str, kind: str, found: dict[str, Any]) -> None:
        try:
            if found.get(field) or field == "secret":
                found[field] = getattr(self, f"_{field}_of_{kind}", str)(found[field])
        except ValidationError as error:
            self.add_error(field, error)

    def _target_of_webhook(self, value: str) -> str:
        try:
            read_url(value)
        except ValueError:
            raise ValidationError(
                _("Expected a URL like https://example.com/hook, without user and password.")
            ) from None
        return value

    def _target_of_telegram(self, value: str) -> str:
        if not _CHAT.fullmatch(value):
            raise ValidationError(_("Expected the id of a chat, like -1001234567890, or @channel."))
        return value

    def _target_of_email(self, value: str) -> str:
        validate_email(value)
        return value

    def _secret_of_webhook(self, value: str) -> str:
        if not value:
            self.made_secret = secrets.token_urlsafe(32)
            return self.made_secret
        if len(value) < _LEAST_SECRET:
            raise ValidationError(_("Expected at least 16 characters."))
        return value

    def _secret_of_telegram(self, value: str) -> str:
        if not _BOT_TOKEN.fullmatch(value):
            raise ValidationError(_("Expected the token of a bot, like 123456789:AAE…"))
        return value

    def _secret_of_email(self, value: str) -> str:
        return ""

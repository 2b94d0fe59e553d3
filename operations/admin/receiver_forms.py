"""The form of a receiver: its address, its secret and the events that it is notified of."""

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

from operations.models import Receiver
from operations.notifications import channels, reasons
from operations.notifications.kinds import kinds
from operations.outbound import url_policy

if TYPE_CHECKING:
    _ReceiverModelForm = forms.ModelForm[Receiver]
else:
    _ReceiverModelForm = forms.ModelForm

_CHAT = re.compile(r"-?\d{1,20}|@\w{4,32}", re.ASCII)
_BOT_TOKEN = re.compile(r"\d{1,20}:[\w-]{20,100}", re.ASCII)
# A shorter secret could be guessed.
_LEAST_SECRET = 16


class ReceiverForm(_ReceiverModelForm):
    """``made_secret``: the secret that the panel generated for a new webhook; otherwise empty."""

    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=200,
        widget=UnfoldAdminPasswordWidget(attrs={"dir": "ltr", "autocomplete": "new-password"}),
        help_text=_(
            "For a webhook: the key of its signature; if empty, the panel generates one. For a Telegram bot: the token "
            "from @BotFather. It is never shown after it is saved. Leave it empty to keep the present one."
        ),
    )
    events = forms.MultipleChoiceField(
        label=_("Notify when"), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    made_secret = ""

    class Meta:
        model = Receiver
        fields = ["name", "kind", "target", "secret", "events", "is_active"]
        widgets = {
            "target": UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "spellcheck": "false"})
        }
        help_texts = {
            "kind": _("It cannot be changed later."),
            "target": _(
                "The https:// URL of a webhook, the id of a Telegram chat or @channel, or an e-mail address."
            ),
            "is_active": _(
                "Off: nothing is sent, and waiting notifications are given up after three days."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Read now, because validation writes the form into the instance.
        self._secret_before = self.instance.secret
        if "kind" in self.fields:  # it cannot be changed later
            offered = [
                ("", "---------"),
                *((kind.value, kind.label) for kind in Receiver.GENERAL_KINDS),
            ]
            self.fields["kind"].choices = offered  # type: ignore[attr-defined]
        if "events" in self.fields:  # missing for users who may only view
            self.fields["events"].choices = [(kind.name, kind.label) for kind in kinds().values()]  # type: ignore[attr-defined]

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
        policy = channels.webhook_policy()
        try:
            target = url_policy.check_url(value, policy)
        except url_policy.Refused as error:
            raise ValidationError(reasons.sentence(error.code)) from None
        if not policy.private and url_policy.is_private_host(target.host):
            raise ValidationError(reasons.sentence("private_address"))
        return value

    def _target_of_telegram(self, value: str) -> str:
        if not _CHAT.fullmatch(value):
            raise ValidationError(_("Expected a chat id like -1001234567890, or @channel."))
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
            raise ValidationError(_("Expected a bot token like 123456789:AAE…"))
        return value

    def _secret_of_email(self, value: str) -> str:
        return ""

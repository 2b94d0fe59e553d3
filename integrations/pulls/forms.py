"""The form of a panel: where it is, how it is read, and secrets that are never shown again."""

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from operations import sealing
from operations.hosts import BadHost, normalised_host
from operations.outbound.url_policy import Refused

from . import places
from .adapters import ADAPTERS
from .adapters.asking import Way
from .models import Panel
from .pull_errors import sentence

if TYPE_CHECKING:
    _PanelModelForm = forms.ModelForm[Panel]
else:
    _PanelModelForm = forms.ModelForm

_HEADER = re.compile(r"[!#$%&'*+.^_`|~\w-]{1,100}:[ -~]{1,2000}", re.ASCII)
# Entered instead of headers, it removes those that are stored.
_NONE = "-"
_LATIN = {"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}


class PanelForm(_PanelModelForm):
    secret = forms.CharField(
        label=gettext_lazy("Key or password"),
        required=False,
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"dir": "ltr", "autocomplete": "new-password"}),
        help_text=gettext_lazy(
            "It is stored encrypted and never shown again. Leave it empty to keep the present one; “Forget the key” on this "
            "page removes it."
        ),
    )
    headers = forms.CharField(
        label=gettext_lazy("Extra headers"),
        required=False,
        max_length=4000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, **_LATIN}),
        help_text=gettext_lazy(
            "Only for a panel behind a proxy that asks for them, one per line, like “Cookie: name=value”. They are stored "
            "encrypted and never shown again. Leave it empty to keep the present ones; a single - removes them."
        ),
    )

    class Meta:
        model = Panel
        fields = [
            "name", "kind", "access", "url", "username", "secret", "subscriber", "headers", "server", "port",
            "interval", "enabled", "allow_private",
        ]  # fmt: skip
        widgets = {
            "url": UnfoldAdminTextInputWidget(attrs=_LATIN),
            "username": UnfoldAdminTextInputWidget(attrs=_LATIN),
            "server": UnfoldAdminTextInputWidget(attrs=_LATIN),
        }
        help_texts = {
            "access": gettext_lazy(
                "3x-ui: key (2.x: password). Marzban and Marzneshin: password of an admin, who need not be sudo. "
                "PasarGuard, Remnawave and Hiddify: key. All but 3x-ui: a person's own link, which needs no rights at all."
            ),
            "url": gettext_lazy(
                "The address of the panel with its secret path, if it has one, but nothing after that. For a person's "
                "link: the subscription URL."
            ),
            "username": gettext_lazy("For a user name and password alone."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Read now, because validation writes the form into the instance.
        self._before = self.instance.kind, self.instance.access, self.instance.url
        self._subscriber_before = self.instance.subscriber_id
        self._secret_before = self.instance.sealed_secret

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        return url.rstrip("/")

    def clean_server(self) -> str:
        server: str = self.cleaned_data["server"]
        try:
            return normalised_host(server) if server else ""
        except BadHost:
            raise ValidationError(_("Expected a host name or an IP address.")) from None

    def clean_headers(self) -> str:
        lines = [line.strip() for line in self.cleaned_data["headers"].splitlines()]
        lines = [line for line in lines if line]
        if lines != [_NONE] and not all(map(_HEADER.fullmatch, lines)):
            raise ValidationError(_("Expected lines like “Cookie: name=value”."))
        return "\n".join(lines)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        for check in (self._check_access, self._check_place):
            # A field that was refused is not there any more.
            if {"kind", "access", "url"} <= found.keys():
                check(found)
        return found

    def _check_access(self, found: dict[str, Any]) -> None:
        ways = ADAPTERS[found["kind"]].talk
        if found["access"] not in ways:
            offered = ", ".join(str(Panel.Access(way).label) for way in ways)
            text = _("This panel is read by: %(ways)s.") % {"ways": offered}
            self.add_error("access", ValidationError(text))
        elif found["access"] == Way.LINK:
            self._check_link(found)
        else:
            self._check_secret(found)

    def _check_link(self, found: dict[str, Any]) -> None:
        found["username"] = found["secret"] = ""
        if not found.get("subscriber"):
            self.add_error("subscriber", ValidationError(_("Whose link is it?")))

    def _check_secret(self, found: dict[str, Any]) -> None:
        found["subscriber"] = None
        if found["access"] == Way.LOGIN and not found.get("username"):
            self.add_error("username", ValidationError(_("A user name is needed.")))
        if not found.get("secret") and not self._secret_before:
            if found.get("enabled"):
                self.add_error("secret", ValidationError(_("A key or password is needed.")))
        elif not found.get("secret") and self._is_elsewhere(found):
            text = _("Enter it again: the stored one is for the former address or kind.")
            self.add_error("secret", ValidationError(text))

    def _is_elsewhere(self, found: dict[str, Any]) -> bool:
        return self._before != (found["kind"], found["access"], found["url"])

    def _check_place(self, found: dict[str, Any]) -> None:
        try:
            places.check(
                found["url"], found["kind"], allow_private=found.get("allow_private", False)
            )
        except Refused as error:
            self.add_error("url", ValidationError(sentence(error.code)))
            return
        if other := places.reads_the_same(found, self.instance.pk):
            text = _("%(name)s reads these people already; they would be counted twice.")
            self.add_error("url", ValidationError(text % {"name": other}))

    def save(self, commit: bool = True) -> Panel:
        found = self.cleaned_data
        if found["access"] == Way.LINK:
            self.instance.sealed_secret = ""
        elif found["secret"]:
            self.instance.sealed_secret = sealing.seal(found["secret"])
        if found["headers"]:
            headers = "" if found["headers"] == _NONE else found["headers"]
            self.instance.sealed_headers = sealing.seal(headers)
        return super().save(commit)

    @property
    def is_another_panel(self) -> bool:
        """Whether the form changed which panel is read or for whom, so that its last readings do not apply."""
        is_another_person = self._subscriber_before != self.instance.subscriber_id
        return is_another_person or self._is_elsewhere(self.cleaned_data)

"""The form that asks from where people move in. Nothing of it is stored."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from integrations.moving import reading
from integrations.moving.accounts import People
from integrations.moving.models import OldPanel
from integrations.moving.panels import PANELS
from integrations.moving.planning import Wanted
from integrations.pulls.adapters.asking import Access, Way
from operations.outbound.url_policy import MAX_URL

# Web servers in front of the panel let 5 MB through. The command takes larger files.
MAX_BYTES = 4_000_000
_LATIN = {"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}
_SECRET = {"dir": "ltr", "autocomplete": "new-password"}


def _text(label: Any, help_text: Any = "", most: int = 150) -> forms.CharField:
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=False,
        max_length=most,
        widget=UnfoldAdminTextInputWidget(attrs=_LATIN),
    )


def _secret(label: Any, help_text: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=False,
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs=_SECRET),
    )


class PanelForm(forms.Form):
    kind = forms.ChoiceField(
        label=gettext_lazy("Panel"),
        choices=OldPanel.Kind.choices,
        widget=UnfoldAdminSelectWidget(),
    )
    file = forms.FileField(
        label=gettext_lazy("Its database"),
        required=False,
        widget=UnfoldAdminFileFieldWidget(),
        help_text=gettext_lazy(
            "db.sqlite3 of Marzban and PasarGuard, x-ui.db of 3x-ui; up to 4 MB. Stop the panel before you copy it. Larger "
            "files: manage.py import_panel."
        ),
    )
    url = _text(
        gettext_lazy("Or its address"),
        gettext_lazy(
            "The address of the running panel, with its secret path, but nothing after that."
        ),
        MAX_URL,
    )
    username = _text(
        gettext_lazy("User name"), gettext_lazy("An admin's name. Empty for an API token.")
    )
    password = _secret(
        gettext_lazy("Password or API token"),
        gettext_lazy(
            "Used once and kept nowhere. Marzban: a password. Remnawave: a token. PasarGuard and 3x-ui: either."
        ),
    )
    is_private = forms.BooleanField(
        label=gettext_lazy("Inside your own network"),
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text=gettext_lazy("Allows a private address, and an http URL."),
    )
    secret = _secret(
        gettext_lazy("Secret of its links"),
        gettext_lazy(
            "secret_key of the table jwt of Marzban or PasarGuard, so that old links work. The database holds it already."
        ),
    )
    name = _text(
        gettext_lazy("Name of the panel"), gettext_lazy("For a second one of the same kind."), 100
    )
    same_names = forms.BooleanField(
        label=gettext_lazy("Same names"),
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text=gettext_lazy(
            "Also move in people whose name a subscriber has already, as other people."
        ),
    )

    def clean_file(self) -> bytes:
        file = self.cleaned_data["file"]
        if file is None:
            return b""
        if file.size > MAX_BYTES:
            raise ValidationError(
                _("The file is too large for this page: use manage.py import_panel.")
            )
        content: bytes = file.read()
        return content

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if "file" in found and "url" in found and bool(found["file"]) == bool(found["url"]):
            raise ValidationError(_("Choose either a file or an address."))
        if (
            found.get("url")
            and "kind" in found
            and self.access.way not in reading.ways(found["kind"])
        ):
            self.add_error("username", _way_needed(found["kind"]))
        return found

    @property
    def access(self) -> Access:
        found = self.cleaned_data
        way = Way.LOGIN if found.get("username") else Way.KEY
        return Access(way, found.get("username", ""), found.get("password", ""))

    @property
    def wanted(self) -> Wanted:
        found = self.cleaned_data
        name = found["name"] or PANELS[found["kind"]].name
        return Wanted(found["kind"], name, found["same_names"])

    def read(self) -> People:
        """Raises ReadingError."""
        found = self.cleaned_data
        if found["file"]:
            return reading.from_content(found["kind"], found["file"])
        address = reading.Address(found["url"].rstrip("/"), self.access, found["is_private"])
        return reading.over_api(found["kind"], address)


def _way_needed(kind: str) -> str:
    if Way.KEY in reading.ways(kind):
        return _("This panel is read with an API token, without a user name.")
    return _("This panel is read with a user name and a password.")

"""The form of a limit on servers."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget

from subscriptions.sources import limited_places
from traffic.admin.reset_fields import ResetFieldsForm
from traffic.admin.sizes import SizeField
from traffic.models import ServerLimit


def _places() -> list[tuple[Any, Any]]:
    return [
        ("", "---------"),
        (_("Sources"), list(limited_places.sources().items())),
        (_("Servers"), list(limited_places.servers().items())),
    ]


class ServerLimitForm(ResetFieldsForm):
    """``place`` exists only for a new limit: a limit stays on its servers."""

    place = forms.ChoiceField(
        label=_("On"),
        choices=_places,
        widget=UnfoldAdminSelectWidget,
        help_text=_("A source with all its servers, those it will have too, or one server."),
    )
    data_limit = SizeField(
        label=_("Data limit"),
        help_text=_("For example 50 GB or 1.5 TB, upload and download together."),
    )

    class Meta:
        model = ServerLimit
        fields = [
            "name", "scope", "subscriber", "plan", "data_limit", "limit_reset", "reset_day", "reset_days",
        ]  # fmt: skip
        help_texts = {
            "limit_reset": _(
                "When the usage starts again from zero. “Never” and “every N days” count from now."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields.pop("place", None)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if found.get("place") and not found.get("name"):
            found["name"] = limited_places.name_of(found["place"])
        return found

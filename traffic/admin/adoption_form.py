"""Whom an unknown name means: a subscriber who is there, or a new one."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from traffic.models import MeteredPerson, Subscriber


class AdoptionForm(forms.Form):
    """``subscriber`` is None for a new one, once the form is valid."""

    who = forms.CharField(
        label=_("Subscriber"),
        help_text=_("The exact name, token or external ID."),
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    is_new = forms.BooleanField(
        label=_("Create a new subscriber with this name"),
        required=False,
        widget=UnfoldBooleanWidget,
    )
    whole = forms.BooleanField(
        label=_("From the beginning"),
        help_text=_("Also count what was reported while nobody knew this name."),
        required=False,
        widget=UnfoldBooleanWidget,
    )

    def __init__(self, *args: Any, person: MeteredPerson, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        self.subscriber: Subscriber | None = None

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        who, is_new = told.get("who", "").strip(), told.get("is_new", False)
        if bool(who) == is_new:
            raise ValidationError(_("Name a subscriber, or create a new one."))
        if who:
            self.subscriber = _found(who)
        return told


def _found(who: str) -> Subscriber:
    people = Subscriber.objects.visible()
    exact = list(people.filter(Q(token=who) | Q(external_id=who))[:2])
    found = exact or list(people.filter(name__iexact=who)[:2])
    if not found:
        raise ValidationError(_("Nobody has this name, token or external ID."))
    if len(found) > 1:
        raise ValidationError(_("Several subscribers have this name: give the token."))
    return found[0]

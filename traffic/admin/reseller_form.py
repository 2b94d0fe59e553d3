"""The form of a reseller."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from traffic.models import Reseller

from .sizes import SizeField

if TYPE_CHECKING:
    _ResellerModelForm = forms.ModelForm[Reseller]
else:
    _ResellerModelForm = forms.ModelForm

_MOST_PEOPLE = 10_000_000


class ResellerForm(_ResellerModelForm):
    people_limit = forms.IntegerField(
        label=_("Subscribers at most"),
        required=False,
        min_value=0,
        max_value=_MOST_PEOPLE,
        help_text=_("Deleted ones do not count; empty = any number."),
        widget=UnfoldAdminIntegerFieldWidget,
    )
    data_limit = SizeField(
        label=_("Traffic quota"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "placeholder": _("5 TB")}),
        help_text=_(
            "What their subscribers have used, and what is left of the subscribers' limits, together; empty = "
            "unlimited. With a quota every subscriber needs a limit that does not start again by itself."
        ),
    )

    class Meta:
        model = Reseller
        fields = ["name", "account", "people_limit", "data_limit", "note"]
        widgets = {"note": UnfoldAdminTextareaWidget(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer accounts that may sign in and have no other rights, which a reseller would lose."""
        super().__init__(*args, **kwargs)
        if "account" not in self.fields:  # missing for users who may only view
            return
        plain = Q(is_staff=True, is_superuser=False, groups=None, user_permissions=None)
        taken = Reseller.objects.exclude(pk=self.instance.pk).exclude(account=None)
        free = get_user_model()._default_manager.exclude(pk__in=taken.values("account"))  # noqa: SLF001
        field: Any = self.fields["account"]
        field.queryset = free.filter(plain | Q(pk=self.instance.account_id)).order_by("username")
        field.help_text = _(
            "Who signs in: an account of the staff without roles and permissions. Without an account nobody does, and "
            "the subscribers stay."
        )

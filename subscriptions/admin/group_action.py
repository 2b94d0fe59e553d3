"""Putting many subscribers into groups."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from operations.admin.bulk_actions import BulkAction, in_list
from operations.audit import By
from subscriptions import membership
from subscriptions.models import Group
from traffic.people import changes


class GroupsForm(forms.Form):
    groups = forms.ModelMultipleChoiceField(
        label=_("Groups"),
        queryset=Group.objects.order_by("name"),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("They leave all other groups; none = they are in no group."),
    )


def _set(ids: Iterable[int], told: Mapping[str, Any], by: By) -> int:
    groups = list(told["groups"])
    return changes.edit(ids, {}, by, lambda rows: membership.join(rows, groups))


SET_GROUPS = in_list(
    "set_groups",
    BulkAction(
        button=_("Set the groups"),
        icon="group",
        question=ngettext_lazy(
            "Set the groups of %d subscriber?", "Set the groups of %d subscribers?"
        ),
        text=_("Groups decide which sources and servers a subscriber gets."),
        done=ngettext_lazy("%d subscriber changed groups.", "%d subscribers changed groups."),
        do=_set,
        form=GroupsForm,
    ),
)

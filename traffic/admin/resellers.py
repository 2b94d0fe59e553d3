"""The list and form of resellers: who sells, how much of the quota is given out, and the months."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from operations.admin import bulk_actions
from operations.admin.base import Deleted, Deletion, PanelAdmin, PanelList, named_only
from operations.admin.bulk_actions import BulkAction
from operations.formatting import size, size_of_limit
from traffic.models import Reseller
from traffic.people import resellers
from traffic.people.resellers import Sums

from . import bills, reseller_figures
from .reseller_form import ResellerForm
from .sections import TRAFFIC

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Columns(TypedDict):
        sums: Sums

    Listed = WithAnnotations[Reseller, _Columns]
else:
    Listed = Reseller

_ACTIONS = {
    "restart": BulkAction(
        button=gettext_lazy("Restart the count"),
        icon="restart_alt",
        question=ngettext_lazy(
            "Restart the count of %d reseller?", "Restart the count of %d resellers?"
        ),
        text=gettext_lazy(
            "Usage so far no longer counts towards the traffic quota. The rest of the subscribers' limits still does."
        ),
        done=ngettext_lazy(
            "The count of %d reseller starts again from now.",
            "The counts of %d resellers start again from now.",
        ),
        do=lambda ids, _, by: resellers.restart(ids, by),
    )
}


class _Removal(Deletion[Reseller]):
    """The subscribers stay, and belong to the panel itself."""

    def told(self, options: Any, objs: Iterable[Reseller]) -> Deleted | None:
        return named_only(options, objs)


class ResellerList(PanelList):
    """Adds the sums of the resellers on this page, in two queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Sequence[Listed] = list(self.result_list)
        found = resellers.sums(self.result_list, timezone.now())
        for reseller in self.result_list:
            reseller.sums = found[reseller.pk]


@admin.register(Reseller)
class ResellerAdmin(PanelAdmin[Reseller]):
    section = TRAFFIC
    icon = "storefront"
    place = 17
    form = ResellerForm
    deletion = _Removal()
    change_list_template = "admin/traffic/reseller/change_list.html"
    list_display = ("name", "signs_in", "people", "active", "quota", "used_so_far", "in_all")
    list_select_related = ("account",)
    search_fields = ("name", "account__username", "note")
    readonly_fields = ("state",)
    actions = tuple(bulk_actions.in_list(name, action) for name, action in _ACTIONS.items())
    pages = {name: bulk_actions.page(action) for name, action in _ACTIONS.items()}
    list_pages = {"bill": bills.resellers_view}
    empty_text = gettext_lazy(
        "No resellers yet. A reseller sees and manages only the subscribers of their own, with a quota."
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ResellerList]:
        return ResellerList

    def get_fieldsets(self, request: HttpRequest, obj: Reseller | None = None) -> Any:
        settings = ("name", "account", "people_limit", "data_limit", "note")
        if obj is None:
            return [(None, {"fields": settings})]
        return [(_("State"), {"fields": ("state",)}), (_("Settings"), {"fields": settings})]

    @admin.display(description=gettext_lazy("account"), ordering="account__username")
    def signs_in(self, obj: Reseller) -> str:
        account: Any = obj.account
        if account is None:
            return _("none")
        name = account.get_username()
        return str(name) if account.is_active else _("%(name)s (switched off)") % {"name": name}

    @admin.display(description=gettext_lazy("subscribers"))
    def people(self, obj: Listed) -> SafeString:
        listed = reverse("admin:traffic_subscriber_changelist")
        return format_html(
            '<a href="{}?reseller={}">{}</a>',
            listed,
            obj.pk,
            reseller_figures.number_of_limit(obj.sums.people, obj.people_limit),
        )

    @admin.display(description=gettext_lazy("of them active"))
    def active(self, obj: Listed) -> str:
        return number_format(obj.sums.active, force_grouping=True)

    @admin.display(description=gettext_lazy("given out"))
    def quota(self, obj: Listed) -> SafeString:
        return size_of_limit(obj.sums.given_out, obj.data_limit)

    @admin.display(description=gettext_lazy("used"))
    def used_so_far(self, obj: Listed) -> SafeString:
        return size(obj.sums.used)

    @admin.display(description=gettext_lazy("in all"))
    def in_all(self, obj: Listed) -> SafeString:
        return size(obj.sums.total)

    @admin.display(description=gettext_lazy("now"))
    def state(self, obj: Reseller) -> str:
        return reseller_figures.of(obj, restart=self.url("restart", obj))

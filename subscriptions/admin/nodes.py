"""The servers that sources list, and who may have what: to read, to switch off, and to limit to groups."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext

from subscriptions.models import DirectConfig, Group, Node, Source
from traffic.admin.base import Deleted, PanelAdmin, Section
from traffic.cells import left_to_right, moment
from traffic.logs import masked

from .endpoints import ListeningAdmin

# Of what a group is needed for, how many are named.
_MOST = 20
_FIELDS = (
    "source",
    "name",
    "protocol",
    "endpoint",
    "link",
    "state",
    "delay",
    "down_for",
    "present",
    "seen_first",
    "seen_last",
)


@admin.register(Node)
class NodeAdmin(ListeningAdmin[Node]):
    section = Section.SUBSCRIPTIONS
    icon = "dns"
    place = 31
    list_display = ("name", "source", "protocol", "endpoint", "state", "delay", "down_for", "present", "is_enabled")
    list_editable = ("is_enabled",)
    list_filter = ("is_present", "is_enabled", "source")
    list_select_related = ("source",)
    search_fields = ("remarks", "server")
    list_per_page = 100
    fields = (*_FIELDS, "is_enabled", "groups")
    readonly_fields = _FIELDS
    filter_horizontal = ("groups",)
    actions = ("switch_on", "switch_off")
    empty_text = gettext_lazy("No servers yet. They come with the sources.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Node | None = None) -> bool:
        """It would come back with the next fetch; switching off lasts."""
        return False

    def is_udp(self, node: Node) -> bool:
        return node.is_udp

    @admin.display(description=gettext_lazy("name"), ordering="remarks")
    def name(self, node: Node) -> str:
        return str(node)

    @admin.display(description=gettext_lazy("link"))
    def link(self, node: Node) -> SafeString:
        return left_to_right(masked(node.raw))

    @admin.display(description=gettext_lazy("in the source"), boolean=True, ordering="is_present")
    def present(self, node: Node) -> bool:
        return node.is_present

    @admin.display(description=gettext_lazy("first seen"))
    def seen_first(self, node: Node) -> str:
        return moment(node.first_seen)

    @admin.display(description=gettext_lazy("last seen"))
    def seen_last(self, node: Node) -> str:
        return moment(node.last_seen)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        self._switch(request, queryset, is_enabled=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        self._switch(request, queryset, is_enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Node], *, is_enabled: bool) -> None:
        count = self.set_all(request, queryset, "is_enabled", is_enabled)
        text = ngettext("%(count)d server was changed.", "%(count)d servers were changed.", count) % {"count": count}
        self.message_user(request, text, messages.SUCCESS)


@admin.register(Group)
class GroupAdmin(PanelAdmin[Group]):
    section = Section.SUBSCRIPTIONS
    icon = "group"
    place = 32
    list_display = ("name", "people")
    search_fields = ("name",)
    fields = ("name", "subscribers")
    autocomplete_fields = ("subscribers",)
    empty_text = gettext_lazy("No groups yet. With one, a source or a server can be kept for some subscribers.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(members=Count("subscribers"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Deleted:
        """What only these groups may have would be everybody's without them, so they can't go before that is settled."""
        names, counts, missing, protected = super().get_deleted_objects(objs, request)
        return names, counts, missing, [*protected, *_limited_only_to(objs)]

    @admin.display(description=gettext_lazy("subscribers"), ordering="members")
    def people(self, group: Group) -> int:
        return int(getattr(group, "members", 0))


def _limited_only_to(groups: Iterable[Group]) -> Iterator[str]:
    ids = [group.pk for group in groups]
    for model in (Source, Node, DirectConfig):
        others = Group.objects.exclude(pk__in=ids)
        only = model.objects.filter(groups__in=ids).exclude(groups__in=others).distinct()
        yield from (f"{model._meta.verbose_name}: {limited}" for limited in only[:_MOST])  # noqa: SLF001  Django's own

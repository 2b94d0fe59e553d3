"""The servers of sources, which can be switched off or limited to groups; and groups of subscribers."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext

from operations.admin.base import Deleted, PanelAdmin
from operations.formatting import left_to_right, moment
from operations.masks import masked
from subscriptions.models import DirectConfig, Group, Node, Source

from . import endpoints
from .filters import AnswersFilter
from .sections import SUBSCRIPTIONS

# The number of protecting objects that the deletion page of a group names.
_MOST = 20
_FIELDS: tuple[Any, ...] = (
    "source",
    "name",
    "protocol",
    endpoints.endpoint,
    "link",
    endpoints.state,
    endpoints.delay,
    endpoints.down_for,
    "present",
    "seen_first",
    "seen_last",
)


@admin.register(Node)
class NodeAdmin(PanelAdmin[Node]):
    """Servers cannot be deleted, because the next fetch would bring them back; switching them off lasts."""

    section = SUBSCRIPTIONS
    rights = frozenset({"change", "view"})
    icon = "dns"
    place = 31
    list_display: Any = (
        "name",
        "source",
        "protocol",
        endpoints.endpoint,
        endpoints.state,
        endpoints.delay,
        endpoints.down_for,
        "present",
        "is_enabled",
    )
    list_editable = ("is_enabled",)
    list_filter = (AnswersFilter, "is_present", "is_enabled", "source")
    list_select_related = ("source",)
    search_fields = ("remarks", "server")
    list_per_page = 100
    fields: ClassVar[Any] = (*_FIELDS, "is_enabled", "groups")
    readonly_fields: ClassVar[Any] = _FIELDS
    filter_horizontal = ("groups",)
    actions = ("switch_on", "switch_off")
    empty_text = gettext_lazy("No servers yet. They appear when a source is fetched.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        return endpoints.with_checks(super().get_queryset(request))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        checks = endpoints.checks_of(context["original"])
        return super().render_change_form(request, context | checks, *args, **kwargs)

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
        count = self.set_all(request, queryset, "is_enabled", on=is_enabled)
        text = ngettext(
            "%(count)d server was changed.", "%(count)d servers were changed.", count
        ) % {"count": count}
        self.message_user(request, text, messages.SUCCESS)


@admin.register(Group)
class GroupAdmin(PanelAdmin[Group]):
    section = SUBSCRIPTIONS
    icon = "group"
    place = 32
    list_display = ("name", "people")
    search_fields = ("name",)
    fields = ("name", "subscribers", "plans")
    autocomplete_fields = ("subscribers", "plans")
    empty_text = gettext_lazy(
        "No groups yet. A group limits a source or a server to some subscribers."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(members=Count("subscribers"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Deleted:
        """Protect groups that limit something: without them everyone would get it, so an operator must first change that."""
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

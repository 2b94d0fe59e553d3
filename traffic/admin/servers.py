"""External servers as named in reports, with the traffic of each."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast

from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from operations.admin.base import PanelAdmin, PanelList
from operations.admin.export import Asked, Exports, ids_in_order, links
from operations.formatting import moment, size, with_bars
from operations.tables import Table
from traffic.conf import conf
from traffic.figures import reporters, statistics
from traffic.figures.statistics import Traffic
from traffic.models import Server
from traffic.periods import Window, window
from traffic.querysets import ServerQuerySet

from . import bills, hiding, usage_charts
from .filters import DeletedFilter, LastHourFilter
from .reporter_names import name_of
from .sections import TRAFFIC
from .windows import DAYS, DEFAULT_DAYS, chosen_window

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Columns(TypedDict):
        last_hour: datetime | None
        traffic: Traffic

    Listed = WithAnnotations[Server, _Columns]
else:
    Listed = Server

# The columns of a download.
LIST_COLUMNS = (
    "server", "port", "protocol", "name", "upload_bytes_30_days", "download_bytes_30_days", "last_hour", "first_seen",
)  # fmt: skip
DAY_COLUMNS = (
    "date",
    "server",
    "port",
    "protocol",
    "upload_bytes",
    "download_bytes",
    "connections",
)
_TOP = 50
_YEAR = 365


class ServerList(PanelList):
    """Adds the exact traffic of the servers on this page, in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Sequence[Listed] = list(self.result_list)
        found = statistics.traffic_of(self.result_list, window(DEFAULT_DAYS, timezone.now()))
        for server in self.result_list:
            server.traffic = found.get(server.pk, Traffic())


def _table(asked: Asked) -> Table:
    if asked.name == "list":
        return Table("servers", LIST_COLUMNS, _listed(list(asked.rows), asked.now))
    days = int(asked.name.removeprefix("days-"))
    listed = _days(ids_in_order(asked.rows), window(days, asked.now))
    return Table(f"server-usage-by-day-{days}-days", DAY_COLUMNS, listed)


_EXPORTS = Exports(
    {
        "list": gettext_lazy("Servers"),
        "days-30": gettext_lazy("Usage by day, 30 days"),
        "days-365": gettext_lazy("Usage by day, a year"),
    },
    _table,
)


@admin.register(Server)
class ServerAdmin(PanelAdmin[Server]):
    """Servers appear with their first report, so nobody adds one."""

    section = TRAFFIC
    home = "usage"
    styles = ("traffic/lists.css",)
    rights = frozenset({"change", "delete", "view"})
    deletion = hiding.Hiding()
    actions = hiding.ACTIONS
    exports = _EXPORTS
    list_pages = {"bill": bills.servers_view}
    icon = "dns"
    list_display = ("title", "port", "protocol", "upload", "download", "total", "last_used")
    list_filter = ("protocol", LastHourFilter, DeletedFilter)
    search_fields = ("host", "name", "=port")
    search_help_text = gettext_lazy("Search by part of the host or name, or by port.")
    # Host, port and protocol come from reports and identify the server; only the name is the operator's.
    readonly_fields = ("host", "port", "protocol", "first_seen", "last_used")
    fields = ("host", "port", "protocol", "name", "first_seen", "last_used")
    empty_text = gettext_lazy("No servers yet. Servers appear with their first report.")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ServerList]:
        return ServerList

    def get_queryset(self, request: HttpRequest) -> ServerQuerySet:
        found = cast(ServerQuerySet, super().get_queryset(request))
        return statistics.with_traffic(found, window(DEFAULT_DAYS, timezone.now()))

    @admin.display(description=gettext_lazy("host and name"), ordering="host")
    def title(self, obj: Listed) -> SafeString:
        host = format_html_join(
            mark_safe(".<wbr>"), "{}", ((part,) for part in obj.host.split("."))
        )
        return format_html('{} <span class="xp-size xp-quiet">{}</span>', host, obj.name)

    @admin.display(description=gettext_lazy("↑ 30 days"), ordering="upload")
    def upload(self, obj: Listed) -> str:
        return size(obj.traffic.upload)

    @admin.display(description=gettext_lazy("↓ 30 days"), ordering="download")
    def download(self, obj: Listed) -> str:
        return size(obj.traffic.download)

    @admin.display(description=gettext_lazy("total 30 days"), ordering="total")
    def total(self, obj: Listed) -> SafeString:
        return format_html('<a href="{}">{}</a>', self.url("usage", obj), size(obj.traffic.total))

    @admin.display(description=gettext_lazy("first seen"))
    def first_seen(self, obj: Listed) -> str:
        return moment(obj.created_at)

    @admin.display(
        description=gettext_lazy("last used"), ordering=F("last_hour").asc(nulls_first=True)
    )
    def last_used(self, obj: Listed) -> str:
        return moment(obj.last_hour)

    @method_decorator(require_safe)
    def usage_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The traffic of one server by day, and its top subscribers."""
        obj = self.permitted(request, object_id, "view", deleted=True)
        span = chosen_window(request)
        figures = statistics.server_statistics(obj, span)
        windows = span, window(_YEAR, span.now)
        series, year = statistics.server_series(obj, windows, conf.time_zone)
        context = {
            "title": obj.name or str(obj),
            "window": span,
            "day_choices": DAYS,
            "figures": figures,
            "zone": conf.time_zone,
            "chart": usage_charts.days(series.points),
            "calendar": usage_charts.calendar(year.points),
            "days": with_bars(reversed(figures.days)),
            "top": with_bars(statistics.server_users(obj, span, _TOP)),
            "reported": [(name_of(row.reporter), row) for row in reporters.of_server(obj, span)],
            "may_see_reporters": request.user.has_perm("traffic.view_reporter"),
            "last_hour": moment(statistics.last_hour(obj)),
            "history": self.history(obj),
            "downloads": links(
                self, "days-365", f"id={obj.pk}{'&shown=deleted' if obj.hidden_at else ''}"
            ),
            "may_change": obj.hidden_at is None and self.has_change_permission(request, obj),
            "may_see_subscribers": request.user.has_perm("traffic.view_subscriber"),
        }
        return self.render(request, "admin/traffic/server/usage.html", obj, context)

    pages = {**hiding.PAGES, "usage": usage_view}


def _listed(rows: Sequence[Listed], now: datetime) -> Iterator[Sequence[Any]]:
    found = statistics.traffic_of(rows, window(DEFAULT_DAYS, now))
    for row in rows:
        traffic = found.get(row.pk, Traffic())
        yield (
            row.host,
            row.port,
            row.protocol,
            row.name,
            traffic.upload,
            traffic.download,
            row.last_hour,
            row.created_at,
        )


def _days(ids: Sequence[int], span: Window) -> Iterator[Sequence[Any]]:
    servers = {found.pk: found for found in Server.objects.all()}
    for day in statistics.days_of_servers(ids, span):
        server = servers[day.server_id]
        yield (
            day.date,
            server.host,
            server.port,
            server.protocol,
            day.upload,
            day.download,
            day.reports,
        )

"""Reporters: what each reports, whom nobody knows, and amounts on which the operator decides."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin, messages
from django.db import models
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from operations.admin import questions
from operations.admin.base import PanelAdmin, PanelList, by
from operations.admin.ids import find_or_404
from operations.admin.questions import Confirmation
from operations.formatting import badge, moment, size
from traffic import agent_program
from traffic.conf import conf
from traffic.figures import reporters
from traffic.figures.reporters import Figures
from traffic.models import MeteredPerson, Reporter, SetAside
from traffic.people import adoption
from traffic.people.adoption import AdoptionError

from .adoption_form import AdoptionForm
from .filters import NewsFilter
from .reporter_names import name_of, state_of
from .sections import TRAFFIC
from .windows import DAYS, chosen_window

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Columns(TypedDict):
        figures: Figures

    Listed = WithAnnotations[Reporter, _Columns]
else:
    Listed = Reporter

# Rows of each table on the page of one reporter.
_MOST = 100


class ReporterList(PanelList):
    """Adds the figures of the reporters on this page, in three queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Sequence[Listed] = list(self.result_list)
        ids = [reporter.pk for reporter in self.result_list]
        found = reporters.figures_of(ids, timezone.now())
        for reporter in self.result_list:
            reporter.figures = found[reporter.pk]


@admin.register(Reporter)
class ReporterAdmin(PanelAdmin[Reporter]):
    """Reporters appear with their first message, so nobody adds one."""

    section = TRAFFIC
    home = "reported"
    rights = frozenset({"change", "view"})
    icon = "sensors"
    change_list_template = "admin/traffic/reporter/change_list.html"
    list_display = ("title", "kind", "short_grade", "seen", "people", "today", "state")
    list_filter = ("kind", "grade", NewsFilter)
    search_fields = ("meter", "api_key__name")
    search_help_text = gettext_lazy("Search by part of the meter or of the key's name.")
    list_select_related = ("api_key",)
    ordering = ("-last_seen_at", "-id")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ReporterList]:
        return ReporterList

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Reporter]:
        return super().get_queryset(request) & reporters.watched()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        own = {"lines": _first_lines(request)}
        return super().changelist_view(request, own | (extra_context or {}))

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """There is nothing to edit."""
        needed = "view" if request.method in ("GET", "HEAD") else "change"
        return self.back_to(self.permitted(request, object_id, needed, deleted=True))

    # --- Columns ---

    @admin.display(description=gettext_lazy("reporter"), ordering="meter")
    def title(self, obj: Listed) -> str:
        return name_of(obj)

    @admin.display(description=gettext_lazy("grade"), ordering="grade")
    def short_grade(self, obj: Listed) -> str:
        return str(obj.get_grade_display()).partition(":")[0]

    @admin.display(description=gettext_lazy("last seen"), ordering=F("last_seen_at"))
    def seen(self, obj: Listed) -> SafeString:
        return format_html(
            '{} <span class="xp-quiet xp-size xp-second">{}</span>',
            moment(obj.last_seen_at),
            interval(obj),
        )

    @admin.display(description=gettext_lazy("people"))
    def people(self, obj: Listed) -> SafeString | str:
        if not obj.figures.unknown:
            return str(obj.figures.people)
        unknown = _("%(count)d unknown") % {"count": obj.figures.unknown}
        return format_html("{} {}", obj.figures.people, badge("limited", unknown))

    @admin.display(description=gettext_lazy("today (UTC)"))
    def today(self, obj: Listed) -> SafeString:
        return size(obj.figures.today)

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: Listed) -> SafeString:
        return state_of(obj)

    # --- Pages ---

    @method_decorator(require_safe)
    def reported_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "view", deleted=True)
        span = chosen_window(request)
        unknown = reporters.unknown_people(obj)
        context = {
            "title": name_of(obj),
            "window": span,
            "day_choices": DAYS,
            "figures": reporters.figures_of([obj.pk], span.now)[obj.pk],
            "state": state_of(obj),
            "parts": self.panels(request, obj),
            "interval": interval(obj),
            "shares": reporters.people_of(obj, span, _MOST),
            "unknown": unknown[:_MOST],
            "more_unknown": max(unknown.count() - _MOST, 0),
            "waiting": reporters.waiting().filter(reporter=obj)[:_MOST],
            "may_change": self.has_change_permission(request, obj),
            "may_see_subscribers": request.user.has_perm("traffic.view_subscriber"),
        }
        return self.render(request, "admin/traffic/reporter/reported.html", obj, context)

    @questions.asking
    def adopt_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say whom the name ``?person=`` means."""
        obj = self.permitted(request, object_id, "change", deleted=True)
        person = find_or_404(reporters.unknown_people(obj), request.GET.get("person", ""))
        form = AdoptionForm(request.POST or None, person=person)
        asked = Confirmation(
            title=_("Who is %(name)s?") % {"name": person},
            text=_(
                "Everything that is reported under this name counts for the subscriber from now on."
            ),
            button=_("Adopt"),
            form=form,
        )
        adopt = partial(self._adopt, request, person, form)
        return questions.fill_in(self, request, asked, obj, adopt)

    def _adopt(self, request: HttpRequest, person: MeteredPerson, form: AdoptionForm) -> bool:
        try:
            owner = adoption.adopt(
                person, form.subscriber, by(request), from_beginning=form.cleaned_data["whole"]
            )
        except AdoptionError as error:
            form.add_error(None, str(error))
            return False
        text = _("%(name)s is %(subscriber)s from now on.") % {"name": person, "subscriber": owner}
        self.message_user(request, text, messages.SUCCESS)
        return True

    @questions.asking
    def decide_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Count the amount ``?amount=``, or with ``drop=1`` never count it."""
        obj = self.permitted(request, object_id, "change", deleted=True)
        entry, drops = _amount(request, obj), request.GET.get("drop") == "1"
        if request.method == "POST":
            text, level = _decided(request, entry, drops=drops)
            self.message_user(request, text, level)
            return self.back_to(obj)
        question = (
            _("Drop %(amount)s of %(name)s?") if drops else _("Count %(amount)s for %(name)s?")
        )
        named = {"amount": size(entry.upload + entry.download), "name": entry.subscriber}
        asked = Confirmation(
            title=question % named,
            text=_("It was never counted, because so much at once is not plausible."),
            button=_("Drop") if drops else _("Count"),
            is_loss=drops,
        )
        return questions.confirm(self, request, asked, obj)

    pages = {"reported": reported_view, "adopt": adopt_view, "decide": decide_view}


def interval(obj: Reporter) -> str:
    """How often it is expected, in minutes or hours."""
    if obj.interval is None:
        return ""
    minutes = max(1, round(obj.interval / 60))
    if minutes < 120:
        return _("about every %(minutes)d min") % {"minutes": minutes}
    return _("about every %(hours)d h") % {"hours": round(minutes / 60)}


def _first_lines(request: HttpRequest) -> list[tuple[str, str]]:
    """What to copy to begin: on this machine, and on the machine that runs the VPN program."""
    key = "manage.py create_api_key gateway-1 --scope report"
    program = agent_program.served(conf.public_url(f"{request.scheme}://{request.get_host()}"))
    lines = [(_("On this machine: a key for the reporter, shown once"), key)]
    if program is not None:
        line = program.posix_line("check", "-c", "agent.ini")
        lines.append((_("On the server, gateway or router: fetch the agent and try it"), line))
    return lines


def _amount(request: HttpRequest, obj: Reporter) -> SetAside:
    rows = SetAside.objects.filter(reporter=obj).select_related("subscriber", "server")
    return find_or_404(rows, request.GET.get("amount", ""))


def _decided(request: HttpRequest, entry: SetAside, *, drops: bool) -> tuple[str, int]:
    """The message and its level."""
    decide = adoption.drop_set_aside if drops else adoption.count_set_aside
    try:
        is_done = decide(entry, by(request))
    except AdoptionError as error:
        return str(error), messages.ERROR
    if not is_done:
        return _("This amount was decided on before."), messages.WARNING
    return (_("The amount is dropped.") if drops else _("The amount is counted.")), messages.SUCCESS

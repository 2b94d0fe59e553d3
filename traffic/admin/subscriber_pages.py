"""The pages of one subscriber: the picture of their usage, the buttons, corrections and history."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.db import models
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from traffic import corrections, statistics, subscribers
from traffic.cells import moment, size_of_limit, state_badge, with_bars
from traffic.conf import conf
from traffic.models import Correction, Server, Subscriber
from traffic.periods import EPOCH, window

from . import once, pictures
from .acting import Question, by
from .base import Page, chosen_window
from .deeds import DEEDS, Deed
from .exporting import ExportingAdmin
from .forms import CorrectionForm
from .hiding import HidingAdmin
from .ids import is_id

_YEAR = 365
_Action = Callable[["SubscriberPages", HttpRequest, models.QuerySet[Subscriber]], HttpResponse | None]


def _in_list(name: str) -> _Action:
    """The same deed for many, as an action of the list."""

    @admin.action(permissions=["change"], description=cast("str", DEEDS[name].button))
    def act(
        pages: "SubscriberPages", request: HttpRequest, queryset: models.QuerySet[Subscriber]
    ) -> HttpResponse | None:
        return pages.act_on_many(name, request, queryset)

    act.__name__ = name
    return act


class SubscriberPages(HidingAdmin[Subscriber], ExportingAdmin[Subscriber]):
    home = "usage"
    actions: Any = (*map(_in_list, ("extend", "restart", "switch_on", "switch_off")), *HidingAdmin.actions)

    def pages(self) -> dict[str, Page]:
        deeds: dict[str, Page] = {name: partial(self.act_view, name=name) for name in DEEDS}
        own: dict[str, Page] = {"usage": self.usage_view, "correct": self.correct_view, "undo": self.undo_view}
        return super().pages() | deeds | own

    def parts(self, request: HttpRequest, obj: Subscriber) -> list[SafeString]:
        """What another app adds to the page of a subscriber."""
        return []

    # Buttons and actions

    def act_on_many(
        self, name: str, request: HttpRequest, queryset: models.QuerySet[Subscriber]
    ) -> HttpResponse | None:
        deed = DEEDS[name]
        form = deed.form(request.POST if request.POST.get("post") else None) if deed.form else None
        if not request.POST.get("post") or (form and not form.is_valid()):
            count = queryset.count()
            return self.question(request, queryset, Question(name, deed.question % count, str(deed.text), form))
        self._do(request, deed, self.ids(queryset), form)
        return None

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def act_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Asks, and then does what the button says to one subscriber."""
        obj = self.permitted(request, object_id, "change")
        deed = DEEDS[name]
        form = deed.form(request.POST or None) if deed.form else None
        if request.method != "POST" or (form and not form.is_valid()):
            context = {
                "title": f"{deed.button}: {obj}",
                "text": deed.text,
                "button": deed.button,
                "form": form,
                "variant": "danger" if deed.is_loss else "primary",
            }
            return self.render(request, "admin/traffic/confirm.html", obj, context)
        self._do(request, deed, [obj.pk], form)
        return self.back_to(obj)

    def _do(self, request: HttpRequest, deed: Deed, ids: list[int], form: Form | None) -> None:
        count = once.do(request, lambda: deed.do(ids, form.cleaned_data if form else {}, by(request)))
        if count is None:
            self.say_it_was_done(request)
        else:
            self.message_user(request, deed.done(count), messages.SUCCESS if count else messages.WARNING)

    # Corrections

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def correct_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        form = CorrectionForm(request.POST or None, instance=Correction(subscriber=obj))
        if request.method == "POST" and form.is_valid():
            is_made = once.do(request, lambda: self._corrected(request, form))
            if is_made is None:
                self.say_it_was_done(request)
            elif is_made:
                self.message_user(request, _("The usage of %(name)s is corrected.") % {"name": obj}, messages.SUCCESS)
            if is_made is not False:
                return self.back_to(obj)
        context = {
            "title": _("Correct the usage of %(name)s") % {"name": obj},
            "text": _(
                "The counters of limit, subscription and bill change; what was reported for each hour and server stays. "
                "A correction can be undone."
            ),
            "button": _("Correct"),
            "form": form,
        }
        return self.render(request, "admin/traffic/confirm.html", obj, context)

    def _corrected(self, request: HttpRequest, form: CorrectionForm) -> bool:
        try:
            corrections.make(form.instance, by(request))
        except corrections.CorrectionError as error:
            form.add_error(None, str(error))
            return False
        return True

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def undo_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Takes the correction of ``?correction=`` back."""
        obj = self.permitted(request, object_id, "change")
        correction = _chosen_correction(request, obj)
        if request.method != "POST":
            context = {
                "title": _("Undo the correction “%(reason)s”?") % {"reason": correction.reason},
                "text": _("The counters become what they would be without it. The entry stays, marked as undone."),
                "button": _("Undo"),
            }
            return self.render(request, "admin/traffic/confirm.html", obj, context)
        try:
            undone = corrections.undo(correction, by(request))
        except corrections.CorrectionError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            text = _("The correction is undone.") if undone else _("This correction had been undone before.")
            self.message_user(request, text, messages.SUCCESS if undone else messages.WARNING)
        return self.back_to(obj)

    # The page

    @method_decorator(require_safe)
    def usage_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What one subscriber used, by day and by server, and what was done to them."""
        obj = self.permitted(request, object_id, "view", deleted=True)
        may_change = obj.hidden_at is None and self.has_change_permission(request, obj)
        context = {
            "title": str(obj),
            "may_change": may_change,
            "may_see_servers": request.user.has_perm("traffic.view_server"),
            "deeds": {name: deed for name, deed in DEEDS.items() if _is_offered(name, obj)} if may_change else {},
            "corrections": Correction.objects.filter(subscriber=obj),
            "history": self.history(obj),
            "parts": self.parts(request, obj),
            "downloads": self.links("days-365", f"id={obj.pk}{'&shown=deleted' if obj.hidden_at else ''}"),
            **self.summary(obj),
            **_figures(obj, chosen_window(request)),
        }
        return self.render(request, "admin/traffic/subscriber/usage.html", obj, context)

    def summary(self, obj: Subscriber) -> dict[str, Any]:
        """State and counters, as the templates show them."""
        now = timezone.now()
        usage = statistics.usage_of(obj, now)
        began = subscribers.current_period(obj, now)
        return {
            "usage": usage,
            "state": state_badge(subscribers.state(obj, usage.period_total, now)),
            "used": size_of_limit(usage.period_total, obj.data_limit),
            "last_used": moment(usage.last_used_at),
            "period_began": None if began == EPOCH else began,
            "period_ends": subscribers.next_period(obj, now),
            "expires": moment(obj.expires_at),
            "zone": conf.time_zone,
        }


def _is_offered(name: str, obj: Subscriber) -> bool:
    match name:
        case "extend":
            return obj.expires_at is not None
        case "switch_on" | "switch_off":
            return obj.is_active == (name == "switch_off")
        case _:
            return True


def _chosen_correction(request: HttpRequest, obj: Subscriber) -> Correction:
    chosen = request.GET.get("correction", "")
    found = Correction.objects.filter(subscriber=obj, pk=int(chosen)).first() if is_id(chosen) else None
    if found is None:
        raise Http404
    return found


def _figures(obj: Subscriber, span: Any) -> dict[str, Any]:
    """Tables and pictures of a window."""
    figures = statistics.subscriber_statistics(obj, span)
    days = statistics.subscriber_days(obj, span, conf.time_zone)
    series = statistics.subscriber_series(obj, span, "day", conf.time_zone)
    year = statistics.subscriber_series(obj, window(_YEAR, span.now), "day", conf.time_zone)
    known = Server.objects.visible().in_bulk([share.server_id for share in figures.servers])
    return {
        "window": span,
        "total": figures.total,
        "servers": [(share, bar, known.get(share.server_id)) for share, bar in with_bars(figures.servers)],
        "days": with_bars(reversed(series.points)),
        "chart": pictures.days_by_server(days),
        "calendar": pictures.calendar(year.points),
    }

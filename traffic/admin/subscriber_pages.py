"""The pages of one subscriber: usage charts, buttons, corrections and history."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from operations.admin import bulk_actions, questions
from operations.admin.base import Page, PanelAdmin, by
from operations.admin.export import links
from operations.admin.history import Entry
from operations.admin.ids import find_or_404
from operations.admin.questions import Change, Confirmation
from operations.formatting import moment, signed_size, size, size_of_limit, with_bars
from traffic.admin.states import state_badge, term
from traffic.conf import conf
from traffic.figures import reporters, statistics
from traffic.ledger import lookup
from traffic.models import Correction, KnownAs, NextPlan, Server, Subscriber
from traffic.people import adoption, corrections, next_plans, resellers
from traffic.periods import EPOCH, window

from . import bills, usage_charts
from .forms import CorrectionForm, NameForm
from .reporter_names import name_of, state_of
from .subscriber_actions import ACTIONS, IN_LIST, is_offered
from .windows import DAYS, chosen_window

_YEAR = 365
_Owner = PanelAdmin[Subscriber]


# Corrections


@questions.asking
def correct_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    obj = owner.permitted(request, object_id, "change")
    form = CorrectionForm(request.POST or None, instance=Correction(subscriber=obj))
    asked = Confirmation(
        title=_("Correct the usage of %(name)s") % {"name": obj},
        text=_(
            "The counters for the limit, the subscription and the bill change. The reports for each hour and server "
            "stay. A correction can be undone."
        ),
        button=_("Correct"),
        form=form,
        changes=_corrected(obj, form),
    )
    correct = partial(_correct, owner, request, form, obj)
    return questions.fill_in(owner, request, asked, obj, correct)


def _corrected(obj: Subscriber, form: CorrectionForm) -> list[Change]:
    """The usage now, and as it would be."""
    now = timezone.now()
    usage = statistics.usage_of(obj, now)
    form.full_clean()
    told = form.cleaned_data if form.is_bound else {}
    more = told.get("upload", 0) + told.get("download", 0)
    in_period = told.get("in_period", False) or lookup.current_period(obj, now) == EPOCH
    then = usage.period_total + (more if in_period else 0)
    return [
        Change(_("used in this period"), size(usage.period_total), signed_size(then)),
        Change(_("used in all"), size(usage.life_total), signed_size(usage.life_total + more)),
    ]


def _correct(owner: _Owner, request: HttpRequest, form: CorrectionForm, obj: Subscriber) -> bool:
    try:
        corrections.make(form.instance, by(request))
    except corrections.CorrectionError as error:
        form.add_error(None, str(error))
        return False
    text = _("The usage of %(name)s is corrected.") % {"name": obj}
    owner.message_user(request, text, messages.SUCCESS)
    return True


@questions.asking
def undo_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    """Undo the correction given by ``?correction=``."""
    obj = owner.permitted(request, object_id, "change")
    made = Correction.objects.filter(subscriber=obj)
    correction = find_or_404(made, request.GET.get("correction", ""))
    asked = Confirmation(
        title=_("Undo the correction “%(reason)s”?") % {"reason": correction.reason},
        text=_(
            "The counters become what they would be without the correction. The entry stays and is marked as undone."
        ),
        button=_("Undo"),
    )
    return questions.agree(owner, request, asked, obj, partial(_undo, owner, request, correction))


def _undo(owner: _Owner, request: HttpRequest, correction: Correction) -> None:
    text, level = _undone(request, correction)
    owner.message_user(request, text, level)


def _undone(request: HttpRequest, correction: Correction) -> tuple[str, int]:
    """The message and its level."""
    try:
        is_undone = corrections.undo(correction, by(request))
    except corrections.CorrectionError as error:
        return str(error), messages.ERROR
    if is_undone:
        return _("The correction is undone."), messages.SUCCESS
    return _("This correction was already undone."), messages.WARNING


# Names by which reporters know the subscriber


@questions.asking
def name_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    """Add a name: *also known as*."""
    obj = owner.permitted(request, object_id, "change")
    form = NameForm(request.POST or None)
    asked = Confirmation(
        title=_("Add a name of %(name)s") % {"name": obj},
        text=_(
            "Readings, informs and pulls under this name count for this subscriber from now on."
        ),
        button=_("Add"),
        form=form,
    )
    return questions.fill_in(owner, request, asked, obj, partial(_name, request, obj, form))


def _name(request: HttpRequest, obj: Subscriber, form: NameForm) -> bool:
    name, reporter = form.cleaned_data["name"], form.cleaned_data["reporter"]
    try:
        adoption.know_as(obj, name, by(request), reporter)
    except adoption.AdoptionError as error:
        form.add_error(None, str(error))
        return False
    return True


@questions.asking
def forget_name_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    """Forget the name given by ``?name=``."""
    obj = owner.permitted(request, object_id, "change")
    known = find_or_404(KnownAs.objects.filter(subscriber=obj), request.GET.get("name", ""))
    asked = Confirmation(
        title=_("Forget the name “%(name)s”?") % {"name": known},
        text=_("Usage that was counted under it stays."),
        button=_("Forget"),
    )
    forget = partial(adoption.forget_name, known, by(request))
    return questions.agree(owner, request, asked, obj, forget)


# Plans that are bought ahead


@questions.asking
def cancel_next_plan_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    """Cancel the next plan given by ``?next=``."""
    obj = owner.permitted(request, object_id, "change")
    following = find_or_404(NextPlan.objects.filter(subscriber=obj), request.GET.get("next", ""))
    asked = Confirmation(
        title=_("Cancel the next plan “%(name)s”?") % {"name": following},
        text=_("It will not begin. The plan that runs now stays."),
        button=_("Cancel the plan"),
        is_loss=True,
    )
    cancel = partial(next_plans.cancel, following, by(request))
    return questions.agree(owner, request, asked, obj, cancel)


# The page


@method_decorator(require_safe)
def usage_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    """The usage of one subscriber by day and by server, and the history of changes."""
    obj = owner.permitted(request, object_id, "view", deleted=True)
    may_change = obj.hidden_at is None and owner.has_change_permission(request, obj)
    context = {
        "title": str(obj),
        "may_change": may_change,
        "may_see_servers": request.user.has_perm("traffic.view_server"),
        "actions": {
            name: action
            for name, action in ACTIONS.items()
            if is_offered(name, obj) and owner.opens(request, name)
        }
        if may_change
        else {},
        "may_correct": may_change and owner.opens(request, "correct"),
        "corrections": Correction.objects.filter(subscriber=obj),
        "next_plans": obj.next_plans.select_related("plan"),
        "history": _history(owner, request, obj),
        "top": owner.top(request, obj),
        "parts": owner.panels(request, obj),
        "downloads": links(
            owner, "days-365", f"id={obj.pk}{'&shown=deleted' if obj.hidden_at else ''}"
        ),
        **summary(obj),
        **_reporting(owner, request, obj),
        **_figures(obj, chosen_window(request)),
    }
    return owner.render(request, "admin/traffic/subscriber/usage.html", obj, context)


def _history(owner: _Owner, request: HttpRequest, obj: Subscriber) -> list[Entry]:
    """Resellers see what they did themselves: who had the subscriber before is none of their business."""
    found = owner.history(obj)
    if resellers.of(request.user) is None:
        return found
    return [entry for entry in found if entry.author == request.user.get_username()]


def summary(obj: Subscriber) -> dict[str, Any]:
    """State and counters for the templates."""
    now = timezone.now()
    usage = statistics.usage_of(obj, now)
    began = lookup.current_period(obj, now)
    return {
        "usage": usage,
        "state": state_badge(obj, usage.period_total, now),
        "used": size_of_limit(usage.period_total, obj.data_limit),
        "last_used": moment(usage.last_used_at),
        "period_began": None if began == EPOCH else began,
        "period_ends": lookup.next_period(obj, now),
        "expires": term(obj),
        "zone": conf.time_zone,
    }


def _reporting(owner: _Owner, request: HttpRequest, obj: Subscriber) -> dict[str, Any]:
    """Who reports about this subscriber, and by which names: nothing for resellers."""
    if resellers.of(request.user) is not None:
        return {}
    span = chosen_window(request)
    return {
        "reported": [(name_of(row.reporter), row) for row in reporters.of_subscriber(obj, span)],
        "devices": [(name_of(row), row, state_of(row)) for row in obj.reporters.order_by("pk")],
        "names": KnownAs.objects.filter(subscriber=obj).select_related("reporter__api_key"),
        "may_name": owner.opens(request, "name"),
        "waiting": reporters.waiting().filter(subscriber=obj),
        "may_decide": request.user.has_perm("traffic.change_reporter"),
        "may_see_reporters": request.user.has_perm("traffic.view_reporter"),
    }


def _figures(obj: Subscriber, span: Any) -> dict[str, Any]:
    """Tables and charts of a time window."""
    figures = statistics.subscriber_statistics(obj, span)
    days = statistics.subscriber_days(obj, span, conf.time_zone)
    windows = span, window(_YEAR, span.now)
    series, year = statistics.subscriber_series(obj, windows, conf.time_zone)
    known = Server.objects.visible().in_bulk([share.server_id for share in figures.servers])
    return {
        "window": span,
        "day_choices": DAYS,
        "total": figures.total,
        "servers": [
            (share, bar, known.get(share.server_id)) for share, bar in with_bars(figures.servers)
        ],
        "days": with_bars(reversed(series.points)),
        "chart": usage_charts.days_by_server(days),
        "calendar": usage_charts.calendar(year.points),
    }


PAGES: Mapping[str, Page] = {
    **{name: bulk_actions.page(action) for name, action in ACTIONS.items()},
    "usage": usage_view,
    "statement": bills.statement_view,
    "correct": correct_view,
    "undo": undo_view,
    "name": name_view,
    "forget_name": forget_name_view,
    "cancel_next_plan": cancel_next_plan_view,
}
LIST_ACTIONS = tuple(bulk_actions.in_list(name, ACTIONS[name]) for name in IN_LIST)

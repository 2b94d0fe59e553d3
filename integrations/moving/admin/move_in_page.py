"""The page *Move in* beside the list of subscribers: where from, then who would move in, then they do.

Between the steps nothing is stored. The people who were read go along in the form, encrypted, for this user alone.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from integrations.moving import moving_in, planning, preview, words
from integrations.moving.accounts import People
from integrations.moving.planning import Fate, Step, Wanted
from integrations.moving.reading import ReadingError
from operations import sealing
from operations.admin.base import PanelAdmin, by
from operations.admin.pages import AdminPages
from operations.admin.questions import asking
from operations.formatting import badge
from traffic.admin import new_links
from traffic.admin.states import STATES
from traffic.models import Subscriber

from .forms import PanelForm

# The confirmation form holds all people, so it must fit Django's limit for forms.
_MAX_SEALED = 2_000_000
# Seconds for which a preview may be confirmed.
_KEPT = 3600
# The number of people, and of those who are left out, that are shown.
_SHOWN = 50


class _Read(msgspec.Struct):
    """The people of a preview, for which user it was made, and when (Unix seconds)."""

    user: int
    at: float
    wanted: Wanted
    people: People


@asking
def _view(owner: PanelAdmin[Subscriber], request: HttpRequest) -> HttpResponse:
    if not owner.has_add_permission(request):
        raise PermissionDenied
    if "people" in request.POST:
        return _confirmed(owner, request)
    form = PanelForm(request.POST or None, request.FILES or None)
    if form.is_valid() and (people := _people(form)):
        return _preview(owner, request, form, people)
    return _page(owner, request, {"form": form})


def _people(form: PanelForm) -> People | None:
    """Everybody, or None after adding an error to the form."""
    try:
        people = form.read()
        secret = form.cleaned_data["secret"] or people.secret
        moving_in.require_same(form.wanted, secret)
    except ReadingError as error:
        form.add_error(None, words.error(error.code))
    except moving_in.AnotherPanelError:
        form.add_error("name", str(words.OTHER_PANEL))
    else:
        return msgspec.structs.replace(people, secret=secret)
    return None


def _preview(
    owner: PanelAdmin[Subscriber], request: HttpRequest, form: PanelForm, people: People
) -> TemplateResponse:
    now = timezone.now()
    sealed = _sealed(_Read(request.user.pk or 0, now.timestamp(), form.wanted, people))
    if len(sealed) > _MAX_SEALED:
        form.add_error(
            None, _("These are too many people for this page: use manage.py import_panel.")
        )
        return _page(owner, request, {"form": form})
    steps = list(planning.plan(form.wanted, people.accounts))
    return _page(owner, request, _shown(form.wanted, people, steps) | {"people": sealed})


def _shown(wanted: Wanted, people: People, steps: Sequence[Step]) -> dict[str, Any]:
    lines = list(preview.lines(wanted.kind, people, steps, timezone.now()))
    others = list(preview.left_out(people, steps))
    return {
        "panel": wanted.name,
        "lines": [(line, badge(line.state, STATES[line.state])) for line in lines[:_SHOWN]],
        "different": [line for line in lines if line.remarks][:_SHOWN],
        "count": len(lines),
        "more": max(len(lines) - _SHOWN, 0),
        "others": others[:_SHOWN],
        "left_out": len(others),
        "more_others": max(len(others) - _SHOWN, 0),
        "moved": sum(step.fate is Fate.MOVED for step in steps),
    }


def _confirmed(owner: PanelAdmin[Subscriber], request: HttpRequest) -> HttpResponse:
    """Sent twice it moves nobody in twice, because everybody is known by then."""
    read = _opened(request.POST["people"])
    is_fresh = read and 0 <= timezone.now().timestamp() - read.at < _KEPT
    if read is None or not is_fresh or read.user != request.user.pk:
        owner.message_user(
            request, _("Nobody was moved in: show the people again."), messages.ERROR
        )
        return HttpResponseRedirect(request.path)
    try:
        moved = moving_in.move_in(read.wanted, read.people, by(request))
    except moving_in.AnotherPanelError:
        owner.message_user(request, str(words.OTHER_PANEL), messages.ERROR)
        return HttpResponseRedirect(request.path)
    _tell(owner, request, len(moved.subscribers))
    new_links.hand_out(owner, request, moved.subscribers)
    return HttpResponseRedirect(owner.list_url())


def _tell(owner: PanelAdmin[Subscriber], request: HttpRequest, count: int) -> None:
    text = ngettext("%d person has moved in.", "%d people have moved in.", count) % count
    if not count:
        text = _("Nothing new: everybody who can move in has done so before.")
    owner.message_user(request, text, messages.SUCCESS if count else messages.WARNING)


def _page(
    owner: PanelAdmin[Subscriber], request: HttpRequest, context: dict[str, Any]
) -> TemplateResponse:
    own = {"title": _TITLE}
    return owner.render_list_page(request, "admin/moving/move_in.html", own | context)


def _sealed(read: _Read) -> str:
    packed = base64.b64encode(zlib.compress(msgspec.json.encode(read)))
    return sealing.seal(packed.decode())


def _opened(sealed: str) -> _Read | None:
    try:
        packed = base64.b64decode(sealing.unseal(sealed))
    except sealing.CannotOpenError:
        return None
    return msgspec.json.decode(zlib.decompress(packed), type=_Read) if packed else None


_TITLE = gettext_lazy("Move in from another panel")
PAGES = AdminPages(list_pages={"move_in": _view}, adding={"move_in": _TITLE})

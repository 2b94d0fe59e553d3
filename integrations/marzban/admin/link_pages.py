"""The pages of one link, and the form that makes one."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from integrations.marzban import differences, link_errors, linking
from integrations.marzban.link_errors import LinkError
from integrations.marzban.linking import Account, Wanted
from integrations.marzban.models import PanelLink
from integrations.marzban.panel_api import ApiError
from operations.admin import once, questions
from operations.admin.base import Page, PanelAdmin, by
from operations.admin.questions import Confirmation

from .forms import ConnectForm
from .link_actions import ACTIONS, LinkAction

_Owner = PanelAdmin[PanelLink]


@questions.asking
def act_view(owner: _Owner, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
    """Confirm a button's action on one link, then do it."""
    link = owner.permitted(request, object_id, "change")
    do = partial(_do, owner, request, link, ACTIONS[name])
    return questions.act(owner, request, ACTIONS[name], link, do)


def _do(
    owner: _Owner,
    request: HttpRequest,
    link: PanelLink,
    action: LinkAction,
    data: Mapping[str, Any],
) -> HttpResponse:
    try:
        said = once.do(request, partial(action.do, link, data, by(request)))
    except LinkError as error:
        owner.message_user(request, str(error), messages.ERROR)
    except ApiError as error:
        owner.message_user(request, link_errors.sentence(error, link.url), messages.ERROR)
    else:
        if said is None:
            owner.say_it_was_done(request)
        else:
            owner.message_user(request, said, messages.SUCCESS)
    is_there = PanelLink.objects.filter(pk=link.pk).exists()
    return owner.back_to(link) if is_there else HttpResponseRedirect(owner.list_url())


@method_decorator(require_safe)
def difference_view(owner: _Owner, request: HttpRequest, object_id: str) -> HttpResponse:
    link = owner.permitted(request, object_id, "view")
    context: dict[str, Any] = {"title": _("Difference: %(name)s") % {"name": link}}
    try:
        context["found"] = differences.find(link, timezone.now())
    except ApiError as error:
        context["error"] = link_errors.sentence(error, link.url)
    return owner.render(request, "admin/marzban/panellink/difference.html", link, context)


@questions.asking
def connect_view(owner: _Owner, request: HttpRequest) -> HttpResponse:
    """The same as ``manage.py connect_marzban``."""
    if not may_connect(request):
        raise PermissionDenied
    form = ConnectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        linked = _connect(owner, request, form)
        if linked:
            return owner.back_to(linked.link)
    asked = Confirmation(
        title=_("Link a panel"),
        text=_(
            "The account is used once and kept nowhere. The service xpert-panel-marzban-node must be running."
        ),
        button=_("Link"),
        form=form,
    )
    return questions.confirm(owner, request, asked, None)


def may_connect(request: HttpRequest) -> bool:
    return request.user.has_perm("marzban.add_panellink")


def _connect(owner: _Owner, request: HttpRequest, form: ConnectForm) -> linking.Linked | None:
    data = form.cleaned_data
    account = Account(data["username"], data["password"])
    wanted = Wanted(url=data["url"], account=account, node_address=data["node_address"])
    try:
        linked = linking.connect(wanted, by(request))
    except LinkError as error:
        form.add_error(None, str(error))
        return None
    said = _("%(url)s is linked: its node “%(name)s” is connected.")
    names = {"url": linked.link.url, "name": linked.node.name}
    owner.message_user(request, said % names, messages.SUCCESS)
    return linked


PAGES: dict[str, Page] = {
    "difference": difference_view,
    **{name: partial(act_view, name=name) for name in ACTIONS},
}

"""Import of subscribers from a CSV file: a preview that names every bad line, then the import after confirmation."""

import base64
import secrets
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminFileFieldWidget

from operations.admin.base import PanelAdmin, by
from operations.admin.questions import asking
from traffic.models import Subscriber
from traffic.people import csv_import, resellers

from . import new_links

# The confirmation form holds the whole file, so it must fit Django's limit for forms. The command takes larger files.
MAX_BYTES = 1_500_000
# The number of good and of bad lines that are shown.
_SHOWN = 50


class FileForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,text/csv"}),
        help_text=gettext_lazy(
            "In UTF-8, with commas, semicolons or tabs; the first line names the columns."
        ),
    )

    def clean_file(self) -> bytes:
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            raise ValidationError(
                _("The file is too large for this page: use manage.py import_subscribers.")
            )
        content: bytes = file.read()
        return content


@asking
def import_view(owner: PanelAdmin[Subscriber], request: HttpRequest) -> HttpResponse:
    if not owner.has_add_permission(request):
        raise PermissionDenied
    content = _agreed(request)
    if content is not None:
        return _import(owner, request, content)
    form = FileForm(request.POST or None, request.FILES or None)
    if not form.is_valid():
        return _page(owner, request, {"form": form})
    return _preview(owner, request, form.cleaned_data["file"], secrets.token_urlsafe())


def _preview(
    owner: PanelAdmin[Subscriber], request: HttpRequest, content: bytes, seed: str
) -> TemplateResponse:
    parsed = csv_import.read(content, _tokens(seed), _columns(request))
    found = list(parsed.subscribers.items())
    context = {
        "count": len(found),
        "found": found[:_SHOWN],
        "errors": parsed.errors[:_SHOWN],
        "bad": len(parsed.errors),
        "more": max(len(found) - _SHOWN, 0),
        "more_errors": max(len(parsed.errors) - _SHOWN, 0),
        "content": base64.b64encode(content).decode(),
        "seed": seed,
    }
    return _page(owner, request, context)


def _import(owner: PanelAdmin[Subscriber], request: HttpRequest, content: bytes) -> HttpResponse:
    """Read the file again, because tokens may be in use by now; all of them are if the form is sent twice."""
    seed = request.POST.get("seed") or secrets.token_urlsafe()
    parsed = csv_import.read(content, _tokens(seed), _columns(request))
    try:
        own = resellers.of(request.user)
        count = csv_import.store(parsed.subscribers.values(), by(request), own)
    except IntegrityError:
        owner.message_user(
            request,
            _("Nothing was imported: one of the tokens is already in use. Try again."),
            messages.ERROR,
        )
        return _preview(owner, request, content, seed)
    text = ngettext("%d subscriber was created.", "%d subscribers were created.", count) % count
    owner.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
    new_links.hand_out(owner, request, [row.pk for row in parsed.subscribers.values()])
    return HttpResponseRedirect(owner.list_url())


def _page(
    owner: PanelAdmin[Subscriber], request: HttpRequest, context: dict[str, Any]
) -> TemplateResponse:
    own = {"title": _("Import subscribers"), "columns": _columns(request)}
    return owner.render_list_page(request, "admin/traffic/subscriber/import.html", own | context)


def _columns(request: HttpRequest) -> Sequence[str]:
    """Resellers choose no tokens: one that is somebody else's name, or was somebody else's token, would take over."""
    columns = csv_import.COLUMNS
    is_reseller = resellers.of(request.user) is not None
    return [name for name in columns if name != "token"] if is_reseller else columns


def _tokens(seed: str) -> csv_import.TokenOf:
    """New tokens, which are the same if the form is sent again. They depend on the panel's secret, so nobody can guess them."""

    def token_of(line: int) -> str:
        digest = salted_hmac(
            "traffic.admin.importing", f"{seed} {line}", algorithm="sha256"
        ).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    return token_of


def _agreed(request: HttpRequest) -> bytes | None:
    """The previewed file from the confirmation form; None if the form was not sent."""
    if request.method != "POST" or "content" not in request.POST:
        return None
    try:
        return base64.b64decode(request.POST["content"], validate=True)
    except ValueError:
        return b""

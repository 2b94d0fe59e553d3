"""Subscribers from a CSV file: shown first, with every bad line named, and made when the operator agrees."""

import base64
import secrets
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.crypto import salted_hmac
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminFileFieldWidget

from traffic import subscriber_import
from traffic.models import Subscriber

from .acting import ActingAdmin, by

# The file comes back in the form that agrees, within what Django takes of a form. Larger ones: the command.
MAX_BYTES = 1_500_000
# How many lines are shown of each kind.
_SHOWN = 50


class FileForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,text/csv"}),
        help_text=gettext_lazy("In UTF-8, with commas or semicolons; the first line names the columns."),
    )

    def clean_file(self) -> bytes:
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            raise ValidationError(_("The file is too large for this page: use manage.py import_subscribers."))
        content: bytes = file.read()
        return content


class ImportingAdmin(ActingAdmin[Subscriber]):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.import_view)
        return [path("import/", view, name=self._url_name("import")), *super().get_urls()]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        content = _agreed(request)
        if content is not None:
            return self._import(request, content)
        form = FileForm(request.POST or None, request.FILES or None)
        if not form.is_valid():
            return self._page(request, {"form": form})
        return self._preview(request, form.cleaned_data["file"], secrets.token_urlsafe())

    def _preview(self, request: HttpRequest, content: bytes, seed: str) -> TemplateResponse:
        parsed = subscriber_import.read(content, _tokens(seed))
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
        return self._page(request, context)

    def _import(self, request: HttpRequest, content: bytes) -> HttpResponse:
        """Read anew: what was shown may be taken by now, as all of it is when the form is sent twice."""
        seed = request.POST.get("seed") or secrets.token_urlsafe()
        parsed = subscriber_import.read(content, _tokens(seed))
        try:
            count = subscriber_import.store(parsed.subscribers.values(), by(request))
        except IntegrityError:
            self.message_user(request, _("Nothing was made: a token was taken meanwhile. Try again."), messages.ERROR)
            return self._preview(request, content, seed)
        text = ngettext("%d subscriber was made.", "%d subscribers were made.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{self._url_name('changelist')}"))

    def _page(self, request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
        own = {
            **self.admin_site.each_context(request),
            "title": _("Import subscribers"),
            "opts": self.opts,
            "media": self.media,
            "columns": subscriber_import.COLUMNS,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/traffic/subscriber/import.html", own | context)


def _tokens(seed: str) -> subscriber_import.TokenOf:
    """New tokens that come out the same when the same form is sent again; without the panel's secret nobody knows them."""

    def token_of(line: int) -> str:
        digest = salted_hmac("traffic.admin.importing", f"{seed} {line}", algorithm="sha256").digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    return token_of


def _agreed(request: HttpRequest) -> bytes | None:
    """The file that was shown; None before."""
    if request.method != "POST" or "content" not in request.POST:
        return None
    try:
        return base64.b64decode(request.POST["content"], validate=True)
    except ValueError:
        return b""

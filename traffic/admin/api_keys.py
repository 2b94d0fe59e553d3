"""Keys for programs: shown once, revoked, never deleted, so that it stays known who had access."""

from typing import Any

from django.contrib import admin, messages
from django.db import models, transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from traffic import audit
from traffic.audit import Action
from traffic.authentication import create_api_key
from traffic.cells import badge, left_to_right, moment
from traffic.models import ApiKey

from .acting import ActingAdmin, by
from .base import Page, Section
from .forms import ApiKeyForm


@admin.register(ApiKey)
class ApiKeyAdmin(ActingAdmin[ApiKey]):
    section = Section.ACCESS
    icon = "key"
    form = ApiKeyForm
    list_display = ("name", "scope", "begins_with", "state", "created", "expires", "last_used")
    list_filter = ("scope",)
    search_fields = ("name",)
    actions = ("revoke",)
    readonly_fields = ("begins_with", "state", "created", "last_used", "revoked")
    empty_text = gettext_lazy("No API keys yet. Add one for each program that reports traffic or reads statistics.")

    class Media:
        js = ("traffic/copy.js",)

    def pages(self) -> dict[str, Page]:
        return {"revoke": self.revoke_view}

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """What a key may do is settled when it is made: whoever holds it was told."""
        return ("scope", *self.readonly_fields) if obj else ()

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        fields = ("name", "scope", "expires_at")
        return (*fields, *self.readonly_fields) if obj else fields

    @admin.display(description=gettext_lazy("begins with"))
    def begins_with(self, obj: ApiKey) -> str:
        return left_to_right(f"{obj.hint}…")

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: ApiKey) -> SafeString:
        if obj.revoked_at:
            return badge("disabled", _("revoked"))
        if obj.expires_at and obj.expires_at <= timezone.now():
            return badge("expired", _("expired"))
        return badge("active", _("active"))

    @admin.display(description=gettext_lazy("created"), ordering="id")
    def created(self, obj: ApiKey) -> str:
        return moment(obj.created_at)

    @admin.display(description=gettext_lazy("expires"), ordering=F("expires_at").asc(nulls_last=True))
    def expires(self, obj: ApiKey) -> str:
        return moment(obj.expires_at)

    @admin.display(description=gettext_lazy("last used"), ordering=F("last_used_at").asc(nulls_first=True))
    def last_used(self, obj: ApiKey) -> str:
        return moment(obj.last_used_at)

    @admin.display(description=gettext_lazy("revoked"))
    def revoked(self, obj: ApiKey) -> str:
        return moment(obj.revoked_at)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """A new key's secret goes into one message on the following page, and nowhere else."""
        if change:
            obj.save(update_fields=["name", "expires_at"])
            self.note_saved(request, obj, form, change=True)
            return
        made, secret = create_api_key(obj.name, obj.scope, obj.expires_at)
        obj.__dict__.update(made.__dict__)
        self.note_saved(request, obj, form, change=False)
        shown = format_html(
            '{}<br><input class="xp-secret" type="text" readonly size="50" value="{}" data-copy="{}">',
            _("Copy the key now: it is shown only this once."), secret, _("Copy"),
        )  # fmt: skip
        self.message_user(request, shown, messages.WARNING)

    @admin.action(permissions=["change"], description=gettext_lazy("Revoke selected API keys"))
    def revoke(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        valid = list(queryset.filter(revoked_at=None))
        with transaction.atomic():
            count = queryset.filter(pk__in=[key.pk for key in valid]).update(revoked_at=timezone.now())
            audit.note_many(Action.REVOKED, [(key, {}) for key in valid], by(request))
        text = ngettext("%d API key is revoked.", "%d API keys are revoked.", count)
        self.message_user(request, text % count, messages.SUCCESS)

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        if request.method != "POST":
            context = {
                "title": _("Revoke %(name)s?") % {"name": obj},
                "text": _("Whatever uses this key is refused from now on. This cannot be taken back."),
                "button": _("Revoke"),
                "variant": "danger",
            }
            return self.render(request, "admin/traffic/confirm.html", obj, context)
        self.revoke(request, ApiKey.objects.filter(pk=obj.pk))
        return self.back_to(obj)

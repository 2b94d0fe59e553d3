"""API keys: shown once, then revoked but never deleted, so that it stays known who had access."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from operations import audit
from operations.api.authentication import create_api_key, replace_secret
from operations.audit import Action
from operations.databases.transactions import write_transaction
from operations.extension import key_options
from operations.formatting import badge, left_to_right, moment
from operations.models import ApiKey

from . import questions
from .api_key_form import ApiKeyForm, asked, form_with_options
from .base import ACCESS, PanelAdmin, by
from .questions import Confirmation
from .secrets import shown_once

_KEY = gettext_lazy("Copy the key now. It is shown only once.")


@admin.register(ApiKey)
class ApiKeyAdmin(PanelAdmin[ApiKey]):
    section = ACCESS
    rights = frozenset({"add", "change", "view"})
    icon = "key"
    form = ApiKeyForm
    list_display = ("name", "scope", "begins_with", "state", "created", "expires", "last_used")
    list_filter = ("scope",)
    search_fields = ("name",)
    actions = ("revoke",)
    readonly_fields = ("chosen", "begins_with", "state", "created", "last_used", "revoked")
    empty_text = gettext_lazy(
        "No API keys yet. Add one for each program that reports traffic or reads statistics."
    )

    class Media:
        js = ("operations/copy.js",)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """The scope of a key cannot change, because its holder relies on it."""
        return ("scope", *self.readonly_fields) if obj else ()

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        fields: tuple[str, ...] = ("name", "scope", "expires_at")
        if obj and not self.has_change_permission(request, obj):
            return (*fields, *self.readonly_fields)
        fields += tuple(option.name for option in asked(obj))
        return (*fields, *self.readonly_fields) if obj else fields

    def get_form(
        self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = form_with_options(obj)
        return super().get_form(request, obj, change, **kwargs)

    @admin.display(description=gettext_lazy("options"))
    def chosen(self, obj: ApiKey) -> str:
        return "; ".join(
            f"{option.label}: {option.text(obj.options[option.name])}"
            for option in key_options()
            if option.name in obj.options
        )

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

    @admin.display(
        description=gettext_lazy("expires"), ordering=F("expires_at").asc(nulls_last=True)
    )
    def expires(self, obj: ApiKey) -> str:
        return moment(obj.expires_at)

    @admin.display(
        description=gettext_lazy("last used"), ordering=F("last_used_at").asc(nulls_first=True)
    )
    def last_used(self, obj: ApiKey) -> str:
        return moment(obj.last_used_at)

    @admin.display(description=gettext_lazy("revoked"))
    def revoked(self, obj: ApiKey) -> str:
        return moment(obj.revoked_at)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Show the secret of a new key once, in a message on the next page."""
        if change:
            obj.options = form.chosen()
            obj.save(update_fields=["name", "expires_at", "options"])
            return
        made, secret = create_api_key(obj.name, obj.scope, obj.expires_at, form.chosen())
        obj.__dict__.update(made.__dict__)
        self.message_user(request, shown_once(_KEY, secret), messages.WARNING)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """Write the values of options as text, because the rows that their ids mean may be deleted later."""
        found = super().construct_change_message(request, form, formsets, add)
        texts = {option.name: option.text for option in key_options()}
        return {
            name: tuple(texts[name](value or "") if name in texts else value for value in pair)
            for name, pair in found.items()
        }

    @admin.action(permissions=["change"], description=gettext_lazy("Revoke selected API keys"))
    def revoke(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        valid = list(queryset.filter(revoked_at=None))
        with write_transaction():
            count = queryset.filter(pk__in=[key.pk for key in valid]).update(
                revoked_at=timezone.now()
            )
            audit.note_many(Action.REVOKED, [(key, {}) for key in valid], by(request))
        text = ngettext("%d API key is revoked.", "%d API keys are revoked.", count)
        self.message_user(request, text % count, messages.SUCCESS)

    @questions.asking
    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        if request.method != "POST":
            question = Confirmation(
                title=_("Revoke %(name)s?") % {"name": obj},
                text=_(
                    "Every program that uses this key is refused from now on. This cannot be undone."
                ),
                button=_("Revoke"),
                is_loss=True,
            )
            return questions.confirm(self, request, question, obj)
        self.revoke(request, ApiKey.objects.filter(pk=obj.pk))
        return self.back_to(obj)

    @questions.asking
    def replace_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        if obj.revoked_at:
            return self.back_to(obj)
        if request.method != "POST":
            question = Confirmation(
                title=_("Replace %(name)s?") % {"name": obj},
                text=_(
                    "The key gets a new secret, and the old one is refused from now on. Its meters continue under the new"
                    " one and are not counted again."
                ),
                button=_("Replace"),
                is_loss=True,
            )
            return questions.confirm(self, request, question, obj)
        with write_transaction():
            secret = replace_secret(obj)
            audit.note(Action.REPLACED, obj, by(request))
        self.message_user(request, shown_once(_KEY, secret), messages.WARNING)
        return self.back_to(obj)

    pages = {"revoke": revoke_view, "replace": replace_view}

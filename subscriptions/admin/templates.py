"""Templates of lists: the operator's skeletons, tried for one person before they are saved."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from operations.admin.base import PanelAdmin
from operations.formatting import badge, moment
from operations.masks import masked
from subscriptions import list_templates, template_words
from subscriptions.list_templates import Refused
from subscriptions.models import Template
from subscriptions.serving import custom_lists, template_trial
from subscriptions.skeletons import ready
from traffic.models import Subscriber
from traffic.people import subscribers

from .sections import SUBSCRIPTIONS
from .template_forms import PERSON, TRY, TemplateForm

_FIELDS = ("name", "format", "in_use", "groups", "text")
_KINDS = {
    "everything": gettext_lazy("everything through the proxy"),
    "local": gettext_lazy("sites of Russia and Iran directly"),
}
# Characters of a list that the trial shows.
_MOST = 20_000


@admin.register(Template)
class TemplateAdmin(PanelAdmin[Template]):
    section = SUBSCRIPTIONS
    icon = "rule_settings"
    place = 80
    form = TemplateForm
    list_display = ("name", "format", "state", "audience", "changed")
    list_filter = ("format", "in_use")
    search_fields = ("name",)
    filter_horizontal = ("groups",)
    actions = ("put_to_use", "switch_off")
    empty_text = gettext_lazy("No templates yet: all lists are the built-in ones.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_fields(self, request: HttpRequest, obj: Template | None = None) -> Any:
        """The text may hold servers, so only users who may change it see it whole."""
        if obj is None:
            return ("begin_with", *_FIELDS)
        if not self.has_change_permission(request, obj):
            return (*_FIELDS[:-1], "beginning", "state")
        return (*_FIELDS, "state")

    def get_readonly_fields(self, request: HttpRequest, obj: Template | None = None) -> Any:
        return ("state", "beginning", "begin_with")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        chosen = ready.BY_KEY.get(request.GET.get("ready", ""))
        if chosen is None:
            return {}
        name = f"{chosen.format}: {_KINDS[chosen.kind]}"
        return {"name": name, "format": chosen.format, "text": chosen.text}

    @admin.display(description=gettext_lazy("begin with"))
    def begin_with(self, _template: Template) -> SafeString:
        """Links that fill the form with a ready skeleton; the first of a format is the built-in list."""
        add = reverse(f"{self.admin_site.name}:{self.url_name('add')}")
        rows = (
            (add, each.key, Template.Format(each.format).label, _KINDS[each.kind])
            for each in ready.READY
        )
        return format_html_join(
            "", '<div class="xp-ready"><a href="{}?ready={}">{}: {}</a></div>', rows
        )

    @admin.display(description=gettext_lazy("text"))
    def beginning(self, template: Template) -> str:
        return masked(template.text)

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, template: Template) -> str:
        return moment(template.changed_at)

    @admin.display(description=gettext_lazy("for whom"))
    def audience(self, template: Template) -> str:
        return ", ".join(str(group) for group in template.groups.all()) or _("everybody")

    @admin.display(description=gettext_lazy("state"))
    def state(self, template: Template) -> SafeString:
        if not template.in_use:
            return badge("disabled", _("not in use"))
        if template.failed_at is None:
            return badge("active", _("in use"))
        told = _("It fails, so people get the built-in list: {why}").format(
            why=template_words.of_failure(template.failure)
        )
        return format_html("{}<br>{}", badge("limited", pgettext("template", "fails")), told)

    @admin.action(permissions=["change"], description=gettext_lazy("Put to use"))
    def put_to_use(self, request: HttpRequest, queryset: QuerySet[Template]) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Template]) -> None:
        self._switch(request, queryset, on=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Template], *, on: bool) -> None:
        chosen = list(queryset)
        self.set_all(request, queryset, "in_use", on=on)
        for template in chosen if on else []:
            list_templates.use_alone(template.pk)
        self.message_user(request, _("The next lists are made with this change."), messages.SUCCESS)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Ask the core before Django opens its transaction, inside of which nobody may wait for another program."""
        context = dict(extra_context or {}) | {"person": request.POST.get(PERSON, "")}
        if request.method == "POST" and self._may_save(request, object_id):
            self._ask_core(request)
            if TRY in request.POST:
                context["trial"] = self._trial(request)
        return super().changeform_view(request, object_id, form_url, context)

    def _may_save(self, request: HttpRequest, object_id: str | None) -> bool:
        if object_id is None:
            return self.has_add_permission(request)
        found = self.get_object(request, unquote(object_id))
        return found is not None and self.has_change_permission(request, found)

    def _ask_core(self, request: HttpRequest) -> None:
        """The form asks again, and then the answer is known."""
        form_name, text = _posted(request)
        if form_name in Template.Format.values:
            try:
                list_templates.check(form_name, text)
            except Refused:
                pass

    def _trial(self, request: HttpRequest) -> dict[str, Any]:
        person = request.POST.get(PERSON, "").strip()
        may_name = request.user.has_perm("traffic.view_subscriber")
        subscriber = _subscriber(person) if person and may_name else None
        if person and subscriber is None:
            return {"error": _("There is no subscriber with this name or token.")}
        form_name, text = _posted(request)
        if form_name not in Template.Format.values:
            return {"error": _("Choose a format.")}
        try:
            trial = template_trial.try_out(form_name, text, subscriber, timezone.now())
        except Refused as refused:
            return {"error": template_words.of_refusal(refused)}
        except Exception as error:  # noqa: BLE001  a template is a stranger; its failure is the answer
            return {"error": template_words.of_failure(custom_lists.code_of(error))}
        return {
            "it": trial,
            "of": str(subscriber) if subscriber else "",
            "verdict": template_words.of_verdict(trial.verdict),
            "is_refused": trial.verdict.state == "refused",
            "shown": trial.shown[:_MOST],
            "is_cut": len(trial.shown) > _MOST,
            "kilobytes": -(-trial.size // 1024),
        }

    def save_model(self, request: HttpRequest, obj: Template, form: Any, change: bool) -> None:
        obj.failed_at, obj.failure = None, ""
        super().save_model(request, obj, form, change)
        self.message_user(request, template_words.of_verdict(form.verdict), messages.INFO)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        list_templates.use_alone(form.instance.pk)


def _posted(request: HttpRequest) -> tuple[str, str]:
    """Format and text as the form's fields read them."""
    text = request.POST.get("text", "").replace("\r\n", "\n").replace("\r", "\n")
    return request.POST.get("format", ""), text


def _subscriber(person: str) -> Subscriber | None:
    """By token, else by a name that exactly one has."""
    if "\0" in person:  # no text of PostgreSQL has it
        return None
    found = subscribers.find(person)
    if found is not None:
        return found
    named = list(Subscriber.objects.visible().filter(name=person)[:2])
    return named[0] if len(named) == 1 else None

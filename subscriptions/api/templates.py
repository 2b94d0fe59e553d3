"""``/api/xpert/templates``: the operator's skeletons of lists."""

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations import audit
from operations.api.authors import by
from operations.api.permissions import may_see_secrets
from operations.api.schema import BODY_ERRORS, DETAIL, OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from operations.audit import Action, Changes
from operations.databases.transactions import write_transaction
from operations.masks import masked
from subscriptions import list_templates, template_words
from subscriptions.list_templates import Refused
from subscriptions.models import Template

from .requests import ID, json_object, path_number
from .serializers import SwitchField, TextField
from .subscriber_fields import MAX_GROUPS, GroupsField

_NO_TEMPLATE = {404: OpenApiResponse(DETAIL, "There is no such template.")}
_WRITE_ERRORS = {**OPERATOR_ERRORS, **BODY_ERRORS}


class TemplateSerializer(serializers.ModelSerializer[Template]):
    """A template. Readers who may not change it see only the start of its text, because it may hold servers."""

    name = TextField(max_length=100)
    format = serializers.ChoiceField(choices=Template.Format.choices)
    text = TextField(
        trim_whitespace=False,
        help_text="The skeleton: YAML for mihomo, JSON for the others. Masked for keys of scope read.",
    )
    in_use = SwitchField(
        required=False,
        help_text="Whether lists are made of it; default: false. Each format has one template in use for everybody: the last that was put to use.",
    )
    groups = GroupsField(
        max_length=MAX_GROUPS,
        required=False,
        help_text="Names of groups whose subscribers alone get it; empty: everybody.",
    )
    last_error = serializers.SerializerMethodField(
        help_text="Why subscribers get the built-in list instead, as a code; null: they do not."
    )
    verdict = serializers.SerializerMethodField(
        help_text="Only in answers to changes: fine, unjudged or absent (no core is installed to check it)."
    )

    _verdict = ""

    class Meta:
        model = Template
        fields = [
            "id",
            "name",
            "format",
            "text",
            "in_use",
            "groups",
            "changed_at",
            "last_error",
            "verdict",
        ]
        read_only_fields = ["id", "changed_at"]

    def get_last_error(self, template: Template) -> str | None:
        return template.failure or None

    def get_verdict(self, _template: Template) -> str:
        return self._verdict

    # ``context["masked"]``: whether the text is masked for this reader.
    def to_representation(self, instance: Template) -> dict[str, Any]:
        found = super().to_representation(instance)
        if not found["verdict"]:
            del found["verdict"]
        return found | {"text": masked(instance.text)} if self.context.get("masked") else found

    def validate_name(self, name: str) -> str:
        same = Template.objects.filter(name=name).first()
        if same is not None and same != self.instance:
            raise serializers.ValidationError("This template already exists.")
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Asks the core as well, which takes seconds."""
        given = self.instance or Template()
        format_name = attrs.get("format", given.format)
        text = attrs.get("text", given.text)
        if attrs.keys() & {"format", "text"}:
            try:
                self._verdict = list_templates.check(format_name, text).state
            except Refused as refused:
                told = template_words.of_refusal(refused)
                raise serializers.ValidationError({"text": [told]}) from None
        return attrs

    def update(self, instance: Template, validated_data: dict[str, Any]) -> Template:
        instance.failed_at, instance.failure = None, ""
        return super().update(instance, validated_data)


class TemplateViewSet(OperatorViewSet):
    """Templates, by format and name."""

    scopes = {"list": "read", "retrieve": "read"}
    staff_permissions = {
        "list": "subscriptions.view_template",
        "retrieve": "subscriptions.view_template",
        "create": "subscriptions.add_template",
        "update": "subscriptions.change_template",
        "partial_update": "subscriptions.change_template",
        "destroy": "subscriptions.delete_template",
    }

    @extend_schema(
        operation_id="list_templates",
        description="All templates as a JSON array. Scope read sees their texts masked.",
        responses={200: TemplateSerializer(many=True), **OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        found = Template.objects.prefetch_related("groups")
        return Response(self._serializer(found, many=True).data)

    @extend_schema(
        operation_id="read_template",
        parameters=[ID],
        responses={200: TemplateSerializer, **OPERATOR_ERRORS, **_NO_TEMPLATE},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._serializer(_template(pk)).data)

    @extend_schema(
        operation_id="add_template",
        description="The text is checked, by a real core too where one is installed, which takes up to 10 seconds.",
        request=TemplateSerializer,
        responses={201: TemplateSerializer, **_WRITE_ERRORS},
    )
    def create(self, request: Request) -> Response:
        return Response(self._saved(None, json_object(request)), status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="replace_template",
        parameters=[ID],
        request=TemplateSerializer,
        responses={200: TemplateSerializer, **_WRITE_ERRORS, **_NO_TEMPLATE},
    )
    def update(self, request: Request, pk: str) -> Response:
        return Response(self._saved(_template(pk), json_object(request)))

    @extend_schema(
        operation_id="change_template",
        parameters=[ID],
        request=TemplateSerializer(partial=True),
        responses={200: TemplateSerializer, **_WRITE_ERRORS, **_NO_TEMPLATE},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        return Response(self._saved(_template(pk), json_object(request), partial=True))

    @extend_schema(
        operation_id="delete_template",
        parameters=[ID],
        responses={204: None, **OPERATOR_ERRORS, **_NO_TEMPLATE},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        template = _template(pk)
        with write_transaction():
            audit.note(Action.DELETED, template, by(request))
            template.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _saved(
        self, template: Template | None, data: dict[str, Any], *, partial: bool = False
    ) -> Any:
        serializer = self._serializer(template, data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        before = _values(template, serializer.validated_data) if template else {}
        try:
            with write_transaction():
                saved = serializer.save()
                list_templates.use_alone(saved.pk)
                if template is None:
                    audit.note(Action.ADDED, saved, by(self.request))
                elif changes := _differences(saved, before):
                    audit.note(Action.CHANGED, saved, by(self.request), changes)
        except IntegrityError:  # another request has just stored the same name
            raise ValidationError({"name": ["This template already exists."]}) from None
        return serializer.data

    def _serializer(self, *args: Any, **kwargs: Any) -> Any:
        masked = not may_see_secrets(self.request, "subscriptions.change_template")
        return TemplateSerializer(*args, **kwargs, context={"masked": masked})


def _values(template: Template, names: Iterable[str]) -> dict[str, Any]:
    """The current values of these fields; of groups their names."""
    found = audit.values(template, names)
    if "groups" in found:
        found["groups"] = sorted(template.groups.values_list("name", flat=True))
    return found


def _differences(template: Template, before: dict[str, Any]) -> Changes:
    now = _values(template, before)
    return {name: (old, now[name]) for name, old in before.items() if old != now[name]}


def _template(pk: str) -> Template:
    template = Template.objects.filter(pk=path_number(pk)).first()
    if template is None:
        raise NotFound("There is no such template.")
    return template

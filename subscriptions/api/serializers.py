"""The JSON of direct configurations and sources."""

from typing import Any

import msgspec
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from operations.masks import masked
from operations.outbound import url_policy
from subscriptions import direct_configs
from subscriptions.links import MAX_LENGTH, LinkError
from subscriptions.links.common import MAX_REMARK
from subscriptions.models import MAX_POSITION, DirectConfig, Source
from subscriptions.sources import name_rules, patterns, refreshing, source_errors
from subscriptions.sources.name_rules import RuleError, Rules
from traffic.models import Subscriber


class TextField(serializers.CharField):
    """Accepts only strings; DRF's field converts numbers too."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class SwitchField(serializers.BooleanField):
    """Accepts only true and false; DRF's field takes words too."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class WholeNumberField(serializers.IntegerField):
    """Accepts only numbers; DRF's field takes strings too."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


@extend_schema_field(OpenApiTypes.INT)
class _IdField(serializers.PrimaryKeyRelatedField[Any]):
    """Accepts only numbers; DRF's field takes strings too."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("incorrect_type", data_type=type(data).__name__)
        return super().to_internal_value(data)


class SubscriberField(_IdField):
    """The id of a subscriber who was not deleted."""

    def get_queryset(self) -> QuerySet[Any]:
        return Subscriber.objects.visible()


class SourceField(_IdField):
    """The id of a source."""

    def get_queryset(self) -> QuerySet[Any]:
        return Source.objects.all()


class DirectConfigSerializer(serializers.ModelSerializer[DirectConfig]):
    """A direct configuration. Readers who may not change it see only the start of the link, because it holds a password."""

    raw = TextField(
        max_length=MAX_LENGTH, help_text="The share link. Masked for keys of scope read."
    )
    remarks = TextField(
        max_length=MAX_REMARK,
        required=False,
        allow_blank=True,
        help_text="Name; default: the name in the link.",
    )
    is_active = SwitchField(required=False, help_text="Whether subscribers get it; default: true.")
    position = WholeNumberField(
        min_value=0,
        max_value=MAX_POSITION,
        required=False,
        help_text="Position in the list; new configurations go to the end.",
    )

    class Meta:
        model = DirectConfig
        fields = [
            "id",
            "raw",
            "protocol",
            "server",
            "port",
            "remarks",
            "is_active",
            "position",
            "added_at",
        ]
        read_only_fields = ["id", "protocol", "server", "port", "added_at"]

    # ``context["masked"]``: whether the link is masked for this reader.
    def to_representation(self, instance: DirectConfig) -> dict[str, Any]:
        found = super().to_representation(instance)
        return found | {"raw": masked(instance.raw)} if self.context.get("masked") else found

    def create(self, validated_data: dict[str, Any]) -> DirectConfig:
        return self.update(DirectConfig(), validated_data)

    def update(self, instance: DirectConfig, validated_data: dict[str, Any]) -> DirectConfig:
        instance.is_active = validated_data.get("is_active", instance.is_active)
        instance.position = validated_data.get("position", instance.position)
        raw = validated_data.get("raw", instance.raw)
        remarks = validated_data.get("remarks", instance.remarks)
        try:
            direct_configs.store(instance, raw, remarks)
        except (LinkError, direct_configs.DuplicateLink) as error:
            raise serializers.ValidationError({"raw": [direct_configs.refusal(error)]}) from None
        return instance


@extend_schema_field({"type": "string", "maxLength": MAX_LENGTH})
class LineField(serializers.Field[Any, Any, Any, Any]):
    """Accepts any value, so that a line of a wrong type is reported like any other bad line."""

    def to_internal_value(self, data: Any) -> Any:
        return data


class ManyConfigsSerializer(serializers.Serializer[Any]):
    """Several links to add."""

    configs = serializers.ListField(child=LineField(allow_null=True), allow_empty=False)


class LineErrorSerializer(serializers.Serializer[Any]):
    config_index = serializers.IntegerField(help_text="Index in `configs`, from 0.")
    error = serializers.CharField()
    raw_prefix = serializers.CharField(help_text="The beginning of the line, masked.")


class AddedSerializer(serializers.Serializer[Any]):
    """The outcome for each of ``configs``."""

    total_provided = serializers.IntegerField()
    successful_added = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = DirectConfigSerializer(many=True)
    errors = LineErrorSerializer(many=True)  # type: ignore[assignment]


def _fields(rules: Rules) -> list[tuple[str, Any]]:
    return list(msgspec.structs.asdict(rules).items())


class SourceSerializer(serializers.ModelSerializer[Source]):
    """A source. Readers who may not change it see only the start of its URL, because the URL opens the servers."""

    name = TextField(max_length=100)
    url = TextField(
        max_length=url_policy.MAX_URL, help_text="URL of its list. Masked for keys of scope read."
    )
    enabled = SwitchField(
        required=False, help_text="Whether the source is fetched and subscribers get its servers."
    )
    priority = WholeNumberField(
        min_value=0,
        max_value=MAX_POSITION,
        required=False,
        help_text="The lowest number comes first; default: 100.",
    )
    subscriber = SubscriberField(
        required=False,
        allow_null=True,
        help_text="Id of the subscriber whose own account it is; missing if it is shared.",
    )
    keep = TextField(
        max_length=patterns.MAX_LENGTH,
        required=False,
        allow_blank=True,
        help_text="A regular expression: only servers whose name it matches are taken. Missing if it is empty.",
    )
    drop = TextField(
        max_length=patterns.MAX_LENGTH,
        required=False,
        allow_blank=True,
        help_text="A regular expression: servers whose name it matches are left out. Missing if it is empty.",
    )
    rename = TextField(
        max_length=4000,
        required=False,
        allow_blank=True,
        help_text="Lines of `pattern => replacement`. Missing if it is empty.",
    )
    prefix = TextField(
        max_length=name_rules.MAX_PREFIX,
        required=False,
        allow_blank=True,
        help_text="In front of each name. Missing if it is empty.",
    )
    flags = SwitchField(
        required=False,
        help_text="Whether names get the flag of the country that they tell. Missing if they do not.",
    )
    config_count = serializers.SerializerMethodField(help_text="Servers in its last good list.")
    last_error = serializers.SerializerMethodField(
        help_text="Error code of the last fetch; null: no error."
    )

    class Meta:
        model = Source
        fields = [
            "id",
            "name",
            "url",
            "enabled",
            "priority",
            "subscriber",
            "keep",
            "drop",
            "rename",
            "prefix",
            "flags",
            "config_count",
            "last_fetched",
            "last_error",
        ]
        read_only_fields = ["id", "last_fetched"]

    def get_config_count(self, source: Source) -> int:
        counted: int | None = getattr(source, "servers", None)
        return source.nodes.filter(is_present=True).count() if counted is None else counted

    def get_last_error(self, source: Source) -> str | None:
        return source.last_error or None

    # ``context["masked"]``: whether the URL is masked for this reader.
    def to_representation(self, instance: Source) -> dict[str, Any]:
        found = super().to_representation(instance)
        for name in ("subscriber", *Rules.__struct_fields__):
            if found[name] in (None, "", False):
                del found[name]
        return found | {"url": masked(instance.url)} if self.context.get("masked") else found

    def validate_url(self, url: str) -> str:
        private = self.instance is not None and self.instance.allow_private
        try:
            refreshing.check_url(url, allow_private=private)
        except url_policy.Refused as error:
            raise serializers.ValidationError(source_errors.sentence(error.code)) from None
        same = Source.objects.filter(url=url).first()
        if same is not None and same != self.instance:
            raise serializers.ValidationError("This source already exists.")
        return url

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        names = Rules.__struct_fields__
        given = refreshing.rules_of(self.instance) if self.instance else Rules()
        changed = {name: attrs[name] for name in names if name in attrs}
        try:
            name_rules.check(msgspec.structs.replace(given, **changed))
        except RuleError as error:
            raise serializers.ValidationError({error.field: source_errors.of_rule(error)}) from None
        return attrs

    def update(self, instance: Source, validated_data: dict[str, Any]) -> Source:
        before = refreshing.rules_of(instance)
        if any(validated_data.get(name, old) != old for name, old in _fields(before)):
            refreshing.read_again(instance)
        if validated_data.get("url", instance.url) != instance.url:
            refreshing.forget_copy(instance)
        return super().update(instance, validated_data)

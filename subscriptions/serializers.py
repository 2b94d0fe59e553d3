"""The JSON of direct configurations and sources."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from traffic.logs import masked

from . import direct_configs, guard, sources, troubles
from .links import MAX_LENGTH, LinkError
from .links.common import MAX_REMARK
from .models import MAX_POSITION, DirectConfig, Source


class TextField(serializers.CharField):
    """A string and nothing that could be turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class SwitchField(serializers.BooleanField):
    """true or false, and no other word for them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class PositionField(serializers.IntegerField):
    """A whole number, not one in quotes."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class DirectConfigSerializer(serializers.ModelSerializer[DirectConfig]):
    """A direct configuration. Who may not change it sees only the beginning of the link, for it holds a password."""

    raw = TextField(max_length=MAX_LENGTH, help_text="The share link. Masked for keys of scope read.")
    remarks = TextField(
        max_length=MAX_REMARK, required=False, allow_blank=True, help_text="Name; without it the link's own."
    )
    is_active = SwitchField(required=False, help_text="Whether subscribers get it; true without it.")
    position = PositionField(
        min_value=0, max_value=MAX_POSITION, required=False, help_text="Place in the list; new ones go to the end."
    )

    class Meta:
        model = DirectConfig
        fields = ["id", "raw", "protocol", "server", "port", "remarks", "is_active", "position", "added_at"]
        read_only_fields = ["id", "protocol", "server", "port", "added_at"]

    # ``context["masked"]``: whether the reader is one of those.
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
    """Anything: each line is judged by itself, so that one of a wrong type is named like any other bad one."""

    def to_internal_value(self, data: Any) -> Any:
        return data


class ManyConfigsSerializer(serializers.Serializer[Any]):
    """Links to add at once."""

    configs = serializers.ListField(child=LineField(allow_null=True), allow_empty=False)


class LineErrorSerializer(serializers.Serializer[Any]):
    config_index = serializers.IntegerField(help_text="Place in `configs`, from 0.")
    error = serializers.CharField()
    raw_prefix = serializers.CharField(help_text="The beginning of the line, masked.")


class AddedSerializer(serializers.Serializer[Any]):
    """What became of ``configs``."""

    total_provided = serializers.IntegerField()
    successful_added = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = DirectConfigSerializer(many=True)
    errors = LineErrorSerializer(many=True)  # type: ignore[assignment]


class SourceSerializer(serializers.ModelSerializer[Source]):
    """A source. Who may not change it sees only the beginning of its URL, for who has the URL has the servers."""

    name = TextField(max_length=100)
    url = TextField(max_length=guard.MAX_URL, help_text="Where its list is. Masked for keys of scope read.")
    enabled = SwitchField(required=False, help_text="Whether it is fetched and subscribers get its servers.")
    priority = PositionField(
        min_value=0, max_value=MAX_POSITION, required=False, help_text="The smallest comes first; 100 without it."
    )
    config_count = serializers.SerializerMethodField(help_text="Servers in its last good list.")
    last_error = serializers.SerializerMethodField(help_text="What went wrong at the last fetch; null: nothing.")

    class Meta:
        model = Source
        fields = ["id", "name", "url", "enabled", "priority", "config_count", "last_fetched", "last_error"]
        read_only_fields = ["id", "last_fetched"]

    def get_config_count(self, source: Source) -> int:
        counted: int | None = getattr(source, "servers", None)
        return source.nodes.filter(is_present=True).count() if counted is None else counted

    def get_last_error(self, source: Source) -> str | None:
        return source.last_error or None

    # ``context["masked"]``: whether the reader is one of those.
    def to_representation(self, instance: Source) -> dict[str, Any]:
        found = super().to_representation(instance)
        return found | {"url": masked(instance.url)} if self.context.get("masked") else found

    def validate_url(self, url: str) -> str:
        private = self.instance is not None and self.instance.allow_private
        try:
            sources.check_url(url, allow_private=private)
        except guard.Refused as error:
            raise serializers.ValidationError(troubles.sentence(error.code)) from None
        same = Source.objects.filter(url=url).first()
        if same is not None and same != self.instance:
            raise serializers.ValidationError("This source is there already.")
        return url

    def update(self, instance: Source, validated_data: dict[str, Any]) -> Source:
        if validated_data.get("url", instance.url) != instance.url:
            sources.forget_copy(instance)
        return super().update(instance, validated_data)

"""The JSON of subscribers: what is answered, and what each request may say."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from operations.conf import MAX_DAYS
from operations.masks import masked
from subscriptions.models import Group
from subscriptions.serving.public_urls import subscription_url
from traffic.conf import conf
from traffic.figures import statistics
from traffic.models import (
    MAX_COUNTER,
    MAX_DEVICES,
    NextPlan,
    Plan,
    Reseller,
    ServerLimit,
    Subscriber,
    validate_token,
)
from traffic.people import quotas, server_limits
from traffic.people.server_limits import Filled
from traffic.periods import EPOCH, parse_expiry

from .serializers import SwitchField, TextField, WholeNumberField

MAX_NOTE = 10_000
MAX_GROUPS = 100
DELETED = "deleted"
LIMIT_SCOPES = ServerLimit.Scope.values
STATUSES = (*(state.value for state in quotas.State), DELETED)
# No moment after it is stored: a date cannot hold much more.
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


class Reader:
    """Who the answer is for. ``masked``: without tokens. ``origin``: of the URLs."""

    def __init__(self, *, masked: bool, origin: str) -> None:
        self.masked = masked
        self.origin = origin


def subscribers_json(
    rows: Sequence[Subscriber], reader: Reader, now: datetime
) -> list[dict[str, Any]]:
    """``rows`` come with balances and groups, so that a page of 1000 asks little more."""
    limits = server_limits.of_subscribers(rows, now)
    return [_subscriber_json(row, limits.get(row.pk, ()), reader, now) for row in rows]


def _subscriber_json(
    row: Subscriber, limits: Sequence[Filled], reader: Reader, now: datetime
) -> dict[str, Any]:
    usage = statistics.usage_of_loaded(row, now)
    return {
        "id": row.pk,
        "token": masked(row.token) if reader.masked else row.token,
        "name": row.name,
        "note": row.note,
        "external_id": row.external_id,
        "status": DELETED if row.hidden_at else quotas.state(row, usage.period_total, now).value,
        "is_active": row.is_active,
        "data_limit": row.data_limit,
        "limit_reset": row.limit_reset,
        "reset_day": row.reset_day,
        "reset_days": row.reset_days,
        "expires_at": _moment(row.expires_at),
        "hold_days": row.hold_days,
        "device_limit": row.device_limit,
        "used_upload": usage.period_upload,
        "used_download": usage.period_download,
        "lifetime_upload": usage.life_upload,
        "lifetime_download": usage.life_download,
        "last_used_at": _moment(usage.last_used_at),
        "created_at": _moment(row.created_at),
        "plan": row.plan.name if row.plan else None,
        "reseller": row.reseller.name if row.reseller else None,
        "groups": sorted(group.name for group in row.subscription_groups.all()),
        "next_plans": [
            {
                "id": following.pk,
                "plan": following.plan.name,
                "begins": following.begins,
                "renews": following.renews,
            }
            for following in row.next_plans.all()
        ],
        "limits": [_limit_json(one) for one in limits],
        "subscription_url": _url(row, reader),
    }


def _limit_json(one: Filled) -> dict[str, Any]:
    return {
        "id": one.limit.pk,
        "name": one.limit.name,
        "scope": one.limit.scope,
        "data_limit": one.limit.data_limit,
        "limit_reset": one.limit.limit_reset,
        "used_upload": one.upload,
        "used_download": one.download,
        "is_used_up": one.is_over,
        "resets_at": _moment(one.resets_at),
    }


def _url(row: Subscriber, reader: Reader) -> str:
    whole = subscription_url(row.token, reader.origin)
    return masked(whole) if reader.masked else whole


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


@extend_schema_field(OpenApiTypes.STR)
class MomentField(serializers.Field[datetime, str, str, Any]):
    """A date, which is the last day, or an ISO 8601 moment; without an offset both are in XPERT_TIME_ZONE."""

    default_error_messages = {
        "invalid": "Expected a date like 2027-01-31 or a moment like 2027-01-31T18:00:00+03:00.",
        "out_of_range": "Expected a moment from 1970 to 9998.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or len(data) > 64:
            self.fail("invalid")
        try:
            moment = parse_expiry(data, conf.time_zone).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")
        if not EPOCH <= moment < _LAST:
            self.fail("out_of_range")
        return moment

    def to_representation(self, value: datetime) -> str:
        return value.isoformat()


class GroupsField(serializers.ListField):
    """Names of groups that exist; the value is the groups."""

    child = TextField(max_length=100)
    default_error_messages = {"unknown": "There is no group named {name}."}

    def to_internal_value(self, data: Any) -> list[Group]:
        names = set(super().to_internal_value(data))
        found = list(Group.objects.filter(name__in=names).order_by("name"))
        if missing := sorted(names - {group.name for group in found}):
            self.fail("unknown", name=missing[0])
        return found

    def to_representation(self, value: Any) -> list[str]:
        return sorted(group.name for group in value.all())


@extend_schema_field(OpenApiTypes.STR)
class PlanField(serializers.Field[Plan, str, str, Any]):
    """The name of a plan."""

    default_error_messages = {
        "invalid": "Expected the name of a plan.",
        "unknown": "There is no plan named {name}.",
    }

    def to_internal_value(self, data: Any) -> Plan:
        if not isinstance(data, str):
            self.fail("invalid")
        found = Plan.objects.filter(name=data).first() if "\0" not in data else None
        if found is None:
            self.fail("unknown", name=data[:100])
        return found

    def to_representation(self, value: Plan) -> str:
        return value.name


@extend_schema_field(OpenApiTypes.STR)
class ResellerField(serializers.Field[Reseller, str, str, Any]):
    """The name of a reseller."""

    default_error_messages = {
        "invalid": "Expected the name of a reseller.",
        "unknown": "There is no reseller named {name}.",
    }

    def to_internal_value(self, data: Any) -> Reseller:
        if not isinstance(data, str):
            self.fail("invalid")
        found = Reseller.objects.filter(name=data).first() if "\0" not in data else None
        if found is None:
            self.fail("unknown", name=data[:100])
        return found

    def to_representation(self, value: Reseller) -> str:
        return value.name


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses what it does not know: a field that is misspelt would otherwise be lost without a word."""

    def to_internal_value(self, data: Any) -> Any:
        found = super().to_internal_value(data)
        if unknown := sorted(set(data) - set(self.fields), key=str):
            raise serializers.ValidationError({str(unknown[0])[:100]: ["This cannot be set."]})
        return found


class ValuesSerializer(StrictSerializer):
    """Fields that may be set; each may be left out."""

    name = TextField(max_length=200, allow_blank=True, required=False)
    note = TextField(max_length=MAX_NOTE, allow_blank=True, required=False, trim_whitespace=False)
    is_active = SwitchField(required=False, help_text="false suspends; true without it.")
    data_limit = WholeNumberField(
        min_value=1,
        max_value=MAX_COUNTER,
        allow_null=True,
        required=False,
        help_text="Bytes up and down in a period; null: unlimited.",
    )
    limit_reset = serializers.ChoiceField(Subscriber.Reset.values, required=False)
    reset_day = WholeNumberField(
        min_value=1, max_value=31, required=False, help_text="For limit_reset monthly."
    )
    reset_days = WholeNumberField(
        min_value=1,
        max_value=MAX_DAYS,
        required=False,
        help_text="For limit_reset interval: N of “every N days”.",
    )
    expires_at = MomentField(
        allow_null=True,
        required=False,
        help_text="A moment, or a date, which is the last day; null: never.",
    )
    hold_days = WholeNumberField(
        min_value=1,
        max_value=MAX_DAYS,
        allow_null=True,
        required=False,
        help_text="The term in days, which begins with the first use; null: it has begun, or there is none.",
    )
    device_limit = WholeNumberField(
        min_value=1,
        max_value=MAX_DEVICES,
        allow_null=True,
        required=False,
        help_text="How many devices get the list; null: any number.",
    )
    groups = GroupsField(max_length=MAX_GROUPS, required=False, help_text="Names of groups.")
    reseller = ResellerField(
        allow_null=True,
        required=False,
        help_text="Name of the reseller who sees and manages the subscriber; null: none.",
    )


class SubscriberValuesSerializer(ValuesSerializer):
    token = TextField(max_length=255, required=False, help_text="A random one without it.")
    external_id = TextField(
        max_length=255, allow_blank=True, required=False, help_text="Yours; no two have the same."
    )

    def validate_token(self, token: str) -> str:
        try:
            validate_token(token)
        except ModelValidationError as error:
            raise serializers.ValidationError(list(error.messages)) from None
        return token


class NewSubscriberSerializer(SubscriberValuesSerializer):
    plan = PlanField(required=False, help_text="Sets limit and term; other fields come before it.")


class PlanSerializer(StrictSerializer):
    plan = PlanField(help_text="Name of a plan.")


class NextPlanSerializer(PlanSerializer):
    begins = serializers.ChoiceField(
        NextPlan.Begins.values,
        default=NextPlan.Begins.EITHER,
        help_text="At the end of the term, of the data limit (quota), or of either.",
    )
    renews = SwitchField(default=False, help_text="true: it begins again and again.")


class RenewalSerializer(StrictSerializer):
    days = WholeNumberField(
        min_value=1, max_value=MAX_DAYS, required=False, help_text="Instead of those of the plan."
    )


class NextSerializer(serializers.Serializer[Any]):
    """A plan that is bought ahead."""

    id = serializers.IntegerField(help_text="To cancel it.")
    plan = serializers.CharField()
    begins = serializers.ChoiceField(NextPlan.Begins.values)
    renews = serializers.BooleanField()


class LimitSerializer(serializers.Serializer[Any]):
    """A limit on servers that applies to the subscriber."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    scope = serializers.ChoiceField(LIMIT_SCOPES)
    data_limit = serializers.IntegerField()
    limit_reset = serializers.ChoiceField(Subscriber.Reset.values)
    used_upload = serializers.IntegerField(
        help_text="Bytes in the current period, of all subscribers if scope is together."
    )
    used_download = serializers.IntegerField()
    is_used_up = serializers.BooleanField()
    resets_at = serializers.DateTimeField(allow_null=True)


class SubscriberSerializer(serializers.Serializer[Any]):
    """Documents the JSON; ``subscribers_json`` writes it, because a page holds a thousand."""

    id = serializers.IntegerField()
    token = serializers.CharField(help_text="Masked for keys of scope read.")
    name = serializers.CharField()
    note = serializers.CharField()
    external_id = serializers.CharField()
    status = serializers.ChoiceField(STATUSES)
    is_active = serializers.BooleanField()
    data_limit = serializers.IntegerField(allow_null=True)
    limit_reset = serializers.ChoiceField(Subscriber.Reset.values)
    reset_day = serializers.IntegerField()
    reset_days = serializers.IntegerField()
    expires_at = serializers.DateTimeField(allow_null=True)
    hold_days = serializers.IntegerField(
        allow_null=True, help_text="Days of a term that begins with the first use."
    )
    device_limit = serializers.IntegerField(allow_null=True)
    used_upload = serializers.IntegerField(help_text="Bytes in the current period.")
    used_download = serializers.IntegerField()
    lifetime_upload = serializers.IntegerField()
    lifetime_download = serializers.IntegerField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    plan = serializers.CharField(
        allow_null=True, help_text="Name of the plan that was applied last."
    )
    reseller = serializers.CharField(allow_null=True, help_text="Name of the reseller; null: none.")
    groups = serializers.ListField(child=serializers.CharField())
    next_plans = NextSerializer(many=True, help_text="Plans that are bought ahead, the next first.")
    limits = LimitSerializer(many=True, help_text="Limits on servers.")
    subscription_url = serializers.CharField(help_text="Masked for keys of scope read.")


@extend_schema_serializer(many=False)  # one page, though the action is called list
class PageSerializer(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True, help_text="URL of the next page.")
    previous = serializers.CharField(allow_null=True)
    results = SubscriberSerializer(many=True)


class TermSerializer(StrictSerializer):
    """``days`` or ``until``."""

    days = WholeNumberField(min_value=1, max_value=MAX_DAYS, required=False)
    until = MomentField(required=False, help_text="A moment, or a date, which is the last day.")

    def validate(self, attrs: Any) -> Any:
        if ("days" in attrs) == ("until" in attrs):
            raise serializers.ValidationError({"days": ["Send either days or until."]})
        if "until" in attrs and attrs["until"] <= timezone.now():
            raise serializers.ValidationError({"until": ["This moment has passed."]})
        return attrs


class NothingSerializer(StrictSerializer):
    """No fields."""


class CorrectionSerializer(StrictSerializer):
    """Bytes to add, or to take away when negative, in the current period and the life."""

    upload = WholeNumberField(min_value=-MAX_COUNTER, max_value=MAX_COUNTER, default=0)
    download = WholeNumberField(min_value=-MAX_COUNTER, max_value=MAX_COUNTER, default=0)
    reason = TextField(max_length=300)

    def validate(self, attrs: Any) -> Any:
        if not (attrs["upload"] or attrs["download"]):
            raise serializers.ValidationError(
                {"upload": ["Send upload or download: nothing would change."]}
            )
        return attrs


def taken(values: dict[str, Any], others_than: Collection[int] = ()) -> dict[str, list[str]]:
    """What of these values another subscriber has, as errors by field."""
    others = Subscriber.objects.exclude(pk__in=others_than)
    return {
        name: [f"Another subscriber has this {name}, or a deleted one had it."]
        for name in ("token", "external_id")
        if values.get(name) and others.filter(**{name: values[name]}).exists()
    }

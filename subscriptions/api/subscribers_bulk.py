"""``/api/xpert/subscribers/bulk``: one action for many, with an answer for each."""

from collections.abc import Mapping
from typing import Any

import msgspec
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api import idempotency
from operations.api.authors import by
from operations.api.parsers import JSONParser
from operations.databases.transactions import write_transaction
from operations.refusals import Refused

from .requests import MAX_ID, json_object
from .serializers import WholeNumberField
from .subscriber_actions import ACTIONS, Action, Errors
from .subscriber_fields import SubscriberSerializer, subscribers_json
from .subscriber_query import FilterSerializer, matching
from .subscribers import HEEDED, POST_ERRORS, SubscriberEndpoint

MAX_MANY = 1000
_OWN = frozenset({"action", "ids", "filter"})


class BulkParser(JSONParser):
    limit = 4 * 1024 * 1024


class BulkSerializer(serializers.Serializer[Any]):
    """``ids`` or ``filter``; beside them stand the fields of the action."""

    action = serializers.ChoiceField(list(ACTIONS))
    ids = serializers.ListField(
        child=WholeNumberField(min_value=1, max_value=MAX_ID),
        allow_empty=False,
        max_length=MAX_MANY,
        required=False,
    )
    filter = FilterSerializer(required=False)

    def validate(self, attrs: Any) -> Any:
        if ("ids" in attrs) == ("filter" in attrs):
            raise serializers.ValidationError({"ids": ["Send either ids or filter."]})
        if not attrs.get("ids") and not attrs.get("filter"):
            raise serializers.ValidationError({"filter": ["Say who is meant."]})
        return attrs


class ItemSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    status = serializers.ChoiceField(
        [200, 400, 404], help_text="What one call would have answered."
    )
    subscriber = SubscriberSerializer(
        required=False, help_text="With status 200: after the action."
    )
    errors = serializers.DictField(required=False, help_text="Otherwise: why nothing was changed.")  # type: ignore[assignment]


class BulkAnswerSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    successful = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = ItemSerializer(many=True)


class Plan(msgspec.Struct, frozen=True):
    """``told``: to the action. ``who``: ``ids`` or ``filter``."""

    action: Action
    told: dict[str, Any]
    who: dict[str, Any]


class BulkSubscriberViewSet(SubscriberEndpoint):
    """The actions on one subscriber, and ``change`` and ``delete``, on up to 1000."""

    parser_classes = [BulkParser]  # type: ignore[misc]
    staff_permissions = {"create": "traffic.change_subscriber"}
    limits = {"create": HEEDED}

    @extend_schema(
        operation_id="act_on_subscribers",
        description="One action for up to 1000 subscribers: those of `ids`, or all that `filter` finds. Its fields "
        "are beside it; `change` takes those of a subscriber but token and external_id. Each gets an answer. A repeat "
        "under the same Idempotency-Key goes on where an interrupted call has stopped.",
        parameters=[idempotency.PARAMETER],
        request=BulkSerializer,
        responses={200: BulkAnswerSerializer, **POST_ERRORS},
        examples=[
            OpenApiExample(
                "Three days for everybody in Berlin",
                value={"action": "extend", "days": 3, "filter": {"group": "Berlin"}},
                request_only=True,
            )
        ],
    )
    def create(self, request: Request) -> Response:
        json_object(request)
        done = idempotency.in_steps(request, self._chosen, self._step)
        return idempotency.told(Response(self._answer(done.outcome)), done)

    def _chosen(self) -> list[int]:
        """The subscribers of the action, after every value has been checked."""
        plan = self._plan
        if "ids" in plan.who:
            return list(dict.fromkeys(plan.who["ids"]))
        found = matching(self.mine(), plan.who["filter"], may_see_tokens=self.may_see_tokens())
        ids = list(found.order_by("-pk").values_list("pk", flat=True)[: MAX_MANY + 1])
        if len(ids) > MAX_MANY:
            raise ValidationError({"filter": [f"More than {MAX_MANY} match; nothing was changed."]})
        return ids

    def _step(self, ids: list[int]) -> list[dict[str, Any]]:
        """What became of each, without a word about a person."""
        present = set(self.mine().visible().filter(pk__in=ids).values_list("pk", flat=True))
        errors = self._errors(sorted(present))
        return [_outcome(pk, present, errors) for pk in ids]

    def _errors(self, ids: list[int]) -> Errors:
        """Do the action. Where a quota has no room for all, each is done that it has room for."""
        plan, author = self._plan, by(self.request)
        try:
            with write_transaction():  # so that nothing is done twice
                return plan.action.do(ids, plan.told, author)
        except Refused as refused:
            if len(ids) == 1:
                return {ids[0]: {"detail": str(refused)}}
        found: dict[int, Mapping[str, str]] = {}
        for pk in ids:
            found |= self._errors([pk])
        return found

    @cached_property
    def _plan(self) -> Plan:
        data = json_object(self.request)
        asked = BulkSerializer(data={name: data[name] for name in data.keys() & _OWN})
        asked.is_valid(raise_exception=True)
        action = ACTIONS[asked.validated_data["action"]]
        self._check_permission(action.permission)
        told = action.serializer(data={name: data[name] for name in data.keys() - _OWN})
        told.is_valid(raise_exception=True)
        self.require_own_groups(told.validated_data)
        return Plan(action, told.validated_data, asked.validated_data)

    def _check_permission(self, permission: str) -> None:
        user = self.request.user
        if user.is_authenticated and not user.has_perm(permission):
            raise PermissionDenied(
                f"Your account lacks the permission {permission}; a superuser can grant it."
            )

    def _answer(self, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        rows = self.rows([outcome["id"] for outcome in outcomes if outcome["status"] == 200])
        told = subscribers_json(list(rows.values()), self.reader(), timezone.now())
        by_id = {subscriber["id"]: subscriber for subscriber in told}
        results = [
            outcome | {"subscriber": by_id[outcome["id"]]} if outcome["id"] in by_id else outcome
            for outcome in outcomes
        ]
        good = sum(outcome["status"] == 200 for outcome in outcomes)
        return {
            "total": len(outcomes),
            "successful": good,
            "failed": len(outcomes) - good,
            "results": results,
        }


def _outcome(pk: int, present: set[int], errors: Errors) -> dict[str, Any]:
    if pk not in present:
        return {"id": pk, "status": 404, "errors": {"detail": "There is no such subscriber."}}
    if pk in errors:
        return {"id": pk, "status": 400, "errors": dict(errors[pk])}
    return {"id": pk, "status": 200}

"""``/api/xpert/subscribers``: what shops and bots sell, renew, suspend and show."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.db import IntegrityError
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api import idempotency
from operations.api.authors import by
from operations.api.permissions import may_see_secrets
from operations.api.schema import BODY_ERRORS, DETAIL, OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from subscriptions.key_options import GROUPS, groups_of, within
from subscriptions.models import Group
from subscriptions.serving.public_urls import public_url
from traffic.models import NextPlan, Subscriber
from traffic.people import changes, next_plans, plans
from traffic.querysets import SubscriberQuerySet

from . import subscriber_query
from .requests import ID, json_object, path_number, query_number
from .subscriber_actions import ACTIONS, joining
from .subscriber_fields import (
    CorrectionSerializer,
    NewSubscriberSerializer,
    NextPlanSerializer,
    NothingSerializer,
    PageSerializer,
    PlanSerializer,
    Reader,
    RenewalSerializer,
    SubscriberSerializer,
    SubscriberValuesSerializer,
    TermSerializer,
    subscribers_json,
    taken,
)

CHANGE = "traffic.change_subscriber"
NOT_FOUND = {404: OpenApiResponse(DETAIL, "There is no such subscriber.")}
WRITE_ERRORS = {**OPERATOR_ERRORS, **BODY_ERRORS}
POST_ERRORS = {**WRITE_ERRORS, **idempotency.CONFLICT}
_DONE = {200: SubscriberSerializer, **POST_ERRORS, **NOT_FOUND}
# Limits of keys that every endpoint of subscribers heeds.
HEEDED = frozenset({GROUPS.name})
_ON_ONE = [ID, idempotency.PARAMETER]


def _example(name: str, value: dict[str, Any]) -> list[OpenApiExample]:
    return [OpenApiExample(name, value=value, request_only=True)]


class SubscriberEndpoint(OperatorViewSet):
    """What every endpoint of subscribers does: it reads rows whole, and knows who reads the answer."""

    def reader(self) -> Reader:
        origin = f"{self.request.scheme}://{self.request.get_host()}"
        return Reader(masked=not self.may_see_tokens(), origin=public_url(origin))

    def may_see_tokens(self) -> bool:
        return may_see_secrets(self.request, CHANGE)

    @cached_property
    def groups(self) -> list[Group] | None:
        """The groups to which the key is limited; None: to none."""
        return groups_of(self.request.auth)

    def mine(self) -> SubscriberQuerySet:
        """All whom the caller may see and change, also deleted ones."""
        return within(Subscriber.objects.all(), self.groups)

    def rows(self, ids: Collection[int]) -> dict[int, Subscriber]:
        found = subscriber_query.loaded(self.mine().filter(pk__in=ids))
        return {row.pk: row for row in found}

    def joined(self, told: dict[str, Any]) -> list[Group] | None:
        """The groups of a new subscriber: those of a limited key, or some of them. Raises ValidationError."""
        named: list[Group] | None = told.get("groups", self.groups)
        if self.groups is not None and not (named and set(named) <= set(self.groups)):
            raise ValidationError({"groups": ["Expected groups to which this key is limited."]})
        self._require_no_reseller(told)
        return named

    def require_own_groups(self, told: Mapping[str, Any]) -> None:
        """Raises ValidationError if a limited key would move subscribers out of its groups or into others."""
        if self.groups is None:
            return
        if "groups" in told:
            raise ValidationError({"groups": ["A key that is limited to groups cannot set this."]})
        self._require_no_reseller(told)
        given = Group.objects.filter(plans=told["plan"]) if told.get("plan") else ()
        if not set(given) <= set(self.groups):
            raise ValidationError(
                {"plan": ["This plan gives groups to which this key is not limited."]}
            )

    def _require_no_reseller(self, told: Mapping[str, Any]) -> None:
        """A limited key gives subscribers to nobody: a reseller is not limited to its groups."""
        if self.groups is not None and "reseller" in told:
            raise ValidationError(
                {"reseller": ["A key that is limited to groups cannot set this."]}
            )


class SubscriberViewSet(SubscriberEndpoint):
    """Subscribers, newest first."""

    scopes = {"list": "read", "retrieve": "read"}
    staff_permissions = {
        "list": "traffic.view_subscriber",
        "retrieve": "traffic.view_subscriber",
        "create": "traffic.add_subscriber",
        "partial_update": CHANGE,
        "destroy": "traffic.delete_subscriber",
        "apply_plan": CHANGE,
        "next_plan": CHANGE,
        "cancel_next_plans": CHANGE,
        "renew": CHANGE,
        "extend": CHANGE,
        "restart_period": CHANGE,
        "new_token": CHANGE,
        "correct": CHANGE,
    }
    limits = dict.fromkeys(staff_permissions, HEEDED)

    @extend_schema(
        operation_id="list_subscribers",
        description="Subscribers by page, newest first; deleted ones only with status=deleted. "
        "Scope read sees tokens and URLs masked, and finds by a whole token alone.",
        parameters=subscriber_query.PARAMETERS,
        responses={200: PageSerializer, **OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        page = subscriber_query.page(request, self.mine(), may_see_tokens=self.may_see_tokens())
        reader, now = self.reader(), timezone.now()
        results = subscribers_json(page.rows, reader, now)
        return Response({"next": page.next, "previous": page.previous, "results": results})

    @extend_schema(
        operation_id="read_subscriber",
        description="One subscriber, also a deleted one.",
        parameters=[ID],
        responses={200: SubscriberSerializer, **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return self._answer(path_number(pk))

    @extend_schema(
        operation_id="add_subscriber",
        description="Every field may be left out.",
        parameters=[idempotency.PARAMETER],
        request=NewSubscriberSerializer,
        responses={201: SubscriberSerializer, **POST_ERRORS, **NOT_FOUND},
        examples=_example(
            "Sell a month",
            {
                "external_id": "order-1001",
                "name": "Ann",
                "data_limit": 53687091200,
                "limit_reset": "monthly",
                "expires_at": "2026-12-31",
            },
        ),
    )
    def create(self, request: Request) -> Response:
        told = json_object(request)
        try:
            return self._done_once(self._added, status.HTTP_201_CREATED)
        except IntegrityError:  # somebody else has just taken it
            raise ValidationError(taken(told)) from None

    @extend_schema(
        operation_id="change_subscriber",
        description='Any of the fields: `{"is_active": false}` suspends.',
        parameters=[ID],
        request=SubscriberValuesSerializer,
        responses={200: SubscriberSerializer, **WRITE_ERRORS, **NOT_FOUND},
        examples=_example("Suspend", {"is_active": False}),
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        told = self._told(SubscriberValuesSerializer)
        self.require_own_groups(told)
        number = self._visible(pk)
        if errors := taken(told, [number]):
            raise ValidationError(errors)
        try:
            ACTIONS["change"].do([number], told, by(request))
        except IntegrityError:  # somebody else has just taken it
            raise ValidationError(taken(told, [number])) from None
        return self._answer(number)

    @extend_schema(
        operation_id="delete_subscriber",
        description="It leaves the lists and its token stops; what it has used stays. A repeat changes nothing.",
        parameters=[ID],
        responses={204: None, **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        number = path_number(pk)
        if not self.mine().filter(pk=number).exists():
            raise no_subscriber()
        changes.hide(Subscriber, [number], by(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="apply_plan",
        description="Sets limit, reset and term as the plan says; the term is counted from now.",
        parameters=_ON_ONE,
        request=PlanSerializer,
        responses=_DONE,
        examples=_example("Sell another plan", {"plan": "50 GB a month"}),
    )
    def apply_plan(self, request: Request, pk: str) -> Response:
        return self._acted("apply-plan", pk)

    @extend_schema(
        operation_id="add_next_plan",
        description="A plan bought ahead: it begins by itself when the term or the data limit ends.",
        parameters=_ON_ONE,
        request=NextPlanSerializer,
        responses=_DONE,
        examples=_example("Buy the next month", {"plan": "50 GB a month", "begins": "term"}),
    )
    def next_plan(self, request: Request, pk: str) -> Response:
        return self._acted("next-plan", pk)

    @extend_schema(
        operation_id="cancel_next_plans",
        description="Cancel the plan that is bought ahead with this `next`, an id of `next_plans`; without it all of "
        "them. The plan that runs now stays. Plans that have begun, or were cancelled before, are not an error.",
        parameters=[
            ID,
            OpenApiParameter(
                "next", OpenApiTypes.INT, description="The id of one of `next_plans`."
            ),
        ],
        responses={200: SubscriberSerializer, **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def cancel_next_plans(self, request: Request, pk: str) -> Response:
        number, chosen = self._visible(pk), query_number(request, "next")
        rows = NextPlan.objects.filter(subscriber=number)
        if chosen is not None:
            rows = rows.filter(pk=chosen)
        for following in rows.select_related("plan"):
            next_plans.cancel(following, by(request))
        return self._answer(number)

    @extend_schema(
        operation_id="renew_subscriber",
        description="Extends the term by the days of the plan, or by `days`, and starts a period, in one step.",
        parameters=_ON_ONE,
        request=RenewalSerializer,
        responses=_DONE,
        examples=_example("Renew by the plan", {}),
    )
    def renew(self, request: Request, pk: str) -> Response:
        return self._acted("renew", pk)

    @extend_schema(
        operation_id="extend_subscriber",
        description="By `days`, from the expiry or from now if it has passed; or `until` a moment. "
        "By days, a subscriber without an expiry stays without one.",
        parameters=_ON_ONE,
        request=TermSerializer,
        responses=_DONE,
        examples=_example("Renew for 30 days", {"days": 30}),
    )
    def extend(self, request: Request, pk: str) -> Response:
        return self._acted("extend", pk)

    @extend_schema(
        operation_id="restart_period",
        description="Sets the usage of the current period to zero.",
        parameters=_ON_ONE,
        request=NothingSerializer,
        responses=_DONE,
    )
    def restart_period(self, request: Request, pk: str) -> Response:
        return self._acted("restart-period", pk)

    @extend_schema(
        operation_id="new_token",
        description="The old token stops at once, for the subscription and for reports.",
        parameters=_ON_ONE,
        request=NothingSerializer,
        responses=_DONE,
    )
    def new_token(self, request: Request, pk: str) -> Response:
        return self._acted("new-token", pk)

    @extend_schema(
        operation_id="correct_usage",
        description="Add bytes to what was used, or take them away when negative; it can be undone in the admin.",
        parameters=_ON_ONE,
        request=CorrectionSerializer,
        responses=_DONE,
        examples=_example(
            "Give 5 GB back", {"download": -5368709120, "reason": "Outage of Friday"}
        ),
    )
    def correct(self, request: Request, pk: str) -> Response:
        return self._acted("correct", pk)

    def _acted(self, name: str, pk: str) -> Response:
        action = ACTIONS[name]
        json_object(self.request)

        def work() -> int:
            told, number = self._told(action.serializer), self._visible(pk)
            self.require_own_groups(told)
            if errors := action.do([number], told, by(self.request)):
                raise ValidationError(errors[number])
            return number

        return self._done_once(work, status.HTTP_200_OK)

    def _added(self) -> int:
        told = self._told(NewSubscriberSerializer)
        if errors := taken(told):
            raise ValidationError(errors)
        groups, author = self.joined(told), by(self.request)
        told.pop("groups", None)
        further = joining(groups)
        if plan := told.get("plan"):
            told = plans.values(plan, author.now) | told
            further = plans.further(plan) if groups is None else further
        subscriber = Subscriber(**told)
        changes.add(subscriber, author, further)
        return int(subscriber.pk)

    def _done_once(self, work: Callable[[], int], code: int) -> Response:
        done = idempotency.once(self.request, work)
        response = self._answer(done.outcome)
        response.status_code = code
        return idempotency.told(response, done)

    def _told(self, serializer: type[Any]) -> dict[str, Any]:
        asked = serializer(data=json_object(self.request))
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)

    def _visible(self, pk: str) -> int:
        number = path_number(pk)
        if not self.mine().visible().filter(pk=number).exists():
            raise no_subscriber()
        return number

    def _answer(self, number: int) -> Response:
        row = self.rows([number]).get(number)
        if row is None:
            raise no_subscriber()
        return Response(subscribers_json([row], self.reader(), timezone.now())[0])


def no_subscriber() -> NotFound:
    return NotFound("There is no such subscriber.")

"""What may be done to subscribers over the API, to one or to many: each action in ``ACTIONS``, done by ``traffic.people``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from rest_framework import serializers

from operations.audit import By
from subscriptions import membership
from subscriptions.models import Group
from traffic.models import Correction, Subscriber
from traffic.people import changes, corrections, next_plans, plans
from traffic.people.changes import Further

from .subscriber_fields import (
    CorrectionSerializer,
    NextPlanSerializer,
    NothingSerializer,
    PlanSerializer,
    RenewalSerializer,
    TermSerializer,
    ValuesSerializer,
)

Errors = Mapping[int, Mapping[str, str]]
"""By the id of the subscriber: why nothing was changed there."""
_Told = Mapping[str, Any]


class Action(msgspec.Struct, frozen=True):
    """``do`` takes ids of subscribers, the values of ``serializer``, and the author."""

    serializer: type[serializers.Serializer[Any]]
    do: Callable[[Sequence[int], _Told, By], Errors]
    permission: str = "traffic.change_subscriber"


def joining(groups: Sequence[Group] | None) -> Further:
    """Makes subscribers members of these groups and of no others; None leaves them where they are."""
    return lambda rows: {} if groups is None else membership.join(rows, groups)


def _change(ids: Sequence[int], told: _Told, by: By) -> Errors:
    values = {name: value for name, value in told.items() if name != "groups"}
    changes.edit(ids, values, by, joining(told.get("groups")))
    return {}


def _extend(ids: Sequence[int], told: _Told, by: By) -> Errors:
    if "until" in told:
        changes.extend_until(ids, told["until"], by)
    else:
        changes.extend(ids, told["days"], by)
    return {}


def _apply_plan(ids: Sequence[int], told: _Told, by: By) -> Errors:
    plans.apply(ids, told["plan"], by)
    return {}


def _next_plan(ids: Sequence[int], told: _Told, by: By) -> Errors:
    next_plans.add(ids, told["plan"], by, told["begins"], told["renews"])
    return {}


def _renew(ids: Sequence[int], told: _Told, by: By) -> Errors:
    without = plans.renew(ids, by, told.get("days")).without_plan
    return {pk: {"days": "This subscriber has no plan: send the days."} for pk in without}


def _restart_period(ids: Sequence[int], _: _Told, by: By) -> Errors:
    changes.restart(ids, by)
    return {}


def _new_token(ids: Sequence[int], _: _Told, by: By) -> Errors:
    changes.renew_tokens(ids, by)
    return {}


def _correct(ids: Sequence[int], told: _Told, by: By) -> Errors:
    """Each by itself: one whose counters would fall below zero does not stop the others."""
    errors: dict[int, Mapping[str, str]] = {}
    for pk in ids:
        try:
            corrections.make(Correction(subscriber_id=pk, **told), by)
        except corrections.CorrectionError as error:
            errors[pk] = {"detail": str(error)}
    return errors


def _delete(ids: Sequence[int], _: _Told, by: By) -> Errors:
    changes.hide(Subscriber, ids, by)
    return {}


ACTIONS = {
    "change": Action(ValuesSerializer, _change),
    "apply-plan": Action(PlanSerializer, _apply_plan),
    "next-plan": Action(NextPlanSerializer, _next_plan),
    "renew": Action(RenewalSerializer, _renew),
    "extend": Action(TermSerializer, _extend),
    "restart-period": Action(NothingSerializer, _restart_period),
    "new-token": Action(NothingSerializer, _new_token),
    "correct": Action(CorrectionSerializer, _correct),
    "delete": Action(NothingSerializer, _delete, "traffic.delete_subscriber"),
}

"""Which subscribers a request asks for, and on which page they are."""

from typing import Any

import msgspec
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from traffic.conf import conf
from traffic.models import MAX_COUNTER, Subscriber
from traffic.people import quotas, subscribers
from traffic.querysets import SubscriberQuerySet

from .requests import MAX_ID
from .serializers import TextField
from .subscriber_fields import DELETED, STATUSES, MomentField, StrictSerializer

PAGE = 100
MAX_PAGE = 1000


class FilterSerializer(StrictSerializer):
    """Filters, of which all must hold. Deleted subscribers are only found by ``status``."""

    status = serializers.ChoiceField(STATUSES, required=False)
    search = TextField(
        max_length=200,
        required=False,
        help_text="Every word is in name or note, is the external_id or begins the token.",
    )
    group = TextField(max_length=100, required=False, help_text="Name of a group.")
    plan = TextField(max_length=100, required=False, help_text="Name of a plan.")
    reseller = TextField(max_length=100, required=False, help_text="Name of a reseller.")
    expires_before = MomentField(
        required=False, help_text="A moment, or a date: whose last day comes before it."
    )
    used_over = serializers.IntegerField(
        min_value=0,
        max_value=MAX_COUNTER,
        required=False,
        help_text="Bytes: more than these in the current period.",
    )
    token = TextField(max_length=255, required=False, help_text="The whole token.")
    external_id = TextField(max_length=255, required=False)


class ListSerializer(FilterSerializer):
    limit = serializers.IntegerField(min_value=1, max_value=MAX_PAGE, default=PAGE)
    cursor = serializers.RegexField(r"\A[ab][1-9][0-9]{0,17}\Z", required=False)
    # Understood everywhere, and without effect.
    format = TextField(required=False)


PARAMETERS = [
    OpenApiParameter("status", {"type": "string", "enum": list(STATUSES)}),
    OpenApiParameter(
        "search", {"type": "string", "minLength": 1, "maxLength": 200},
        description="Every word is in name or note, is the external_id, or begins the token.",
    ),
    OpenApiParameter("group", {"type": "string", "maxLength": 100}, description="Name of a group."),
    OpenApiParameter("plan", {"type": "string", "maxLength": 100}, description="Name of a plan."),
    OpenApiParameter(
        "reseller", {"type": "string", "maxLength": 100}, description="Name of a reseller."
    ),
    OpenApiParameter(
        "expires_before", {"type": "string"},
        description="A moment, or a date: whose last day comes before it.",
    ),
    OpenApiParameter(
        "used_over", {"type": "integer", "minimum": 0, "maximum": MAX_COUNTER},
        description="More bytes than these in the current period.",
    ),
    OpenApiParameter("token", {"type": "string"}, description="The whole token."),
    OpenApiParameter("external_id", {"type": "string"}),
    OpenApiParameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}
    ),
    OpenApiParameter("cursor", {"type": "string"}, description="Of `next` and `previous`."),
]  # fmt: skip


class Page(msgspec.Struct, frozen=True):
    rows: list[Subscriber]
    next: str | None
    previous: str | None


def loaded(rows: SubscriberQuerySet) -> SubscriberQuerySet:
    """With all that an answer needs, in a few queries however many they are."""
    found = rows.select_related("balance", "plan", "reseller")
    return found.prefetch_related("subscription_groups", "next_plans__plan")


def matching(
    rows: SubscriberQuerySet, told: dict[str, Any], *, may_see_tokens: bool
) -> SubscriberQuerySet:
    """Those of these subscribers that match every filter of ``FilterSerializer``."""
    rows = _of_status(rows, told.get("status"))
    for name, lookup in _LOOKUPS.items():
        if name in told:
            rows = rows.filter(**{lookup: told[name]})
    if "search" in told:
        rows = subscribers.search(rows, told["search"], may_see_tokens=may_see_tokens)
    return rows


_LOOKUPS = {
    "group": "subscription_groups__name",
    "plan": "plan__name",
    "reseller": "reseller__name",
    "expires_before": "expires_at__lt",
    "used_over": "period_used__gt",
    "token": "token",
    "external_id": "external_id",
}


def _of_status(every: SubscriberQuerySet, status: str | None) -> SubscriberQuerySet:
    now = timezone.now()
    rows = quotas.with_usage(every, now, conf.time_zone)
    if status == DELETED:
        return rows.exclude(hidden_at=None)
    visible = rows.visible()
    return visible.filter(quotas.has_state(quotas.State(status), now)) if status else visible


def page(request: Request, every: SubscriberQuerySet, *, may_see_tokens: bool) -> Page:
    """The page of these subscribers that the query asks for, newest first. Raises ValidationError."""
    asked = ListSerializer(data=_once_each(request))
    asked.is_valid(raise_exception=True)
    told = asked.validated_data
    rows = loaded(matching(every, told, may_see_tokens=may_see_tokens))
    return _page(request, rows, told.get("cursor", ""), told["limit"])


def _once_each(request: Request) -> dict[str, str]:
    for name, values in request.query_params.lists():
        if len(values) > 1:
            raise ValidationError({name[:100]: ["Send this once."]})
    return request.query_params.dict()


def _page(request: Request, rows: SubscriberQuerySet, cursor: str, limit: int) -> Page:
    """One row more than is shown says whether there is another page; on the other side is the page one came from."""
    is_back = cursor.startswith("b")
    if cursor:
        rows = rows.filter(**{"pk__gt" if is_back else "pk__lt": min(int(cursor[1:]), MAX_ID)})
    found = list(rows.order_by("pk" if is_back else "-pk")[: limit + 1])
    has_more, found = len(found) > limit, found[:limit]
    if is_back:
        found.reverse()
    has_next, has_previous = (True, has_more) if is_back else (has_more, bool(cursor))
    return Page(
        found,
        _link(request, f"a{found[-1].pk}") if found and has_next else None,
        _link(request, f"b{found[0].pk}") if found and has_previous else None,
    )


def _link(request: Request, cursor: str) -> str:
    query = request.query_params.copy()
    query["cursor"] = cursor
    return f"{request.build_absolute_uri(request.path)}?{query.urlencode()}"

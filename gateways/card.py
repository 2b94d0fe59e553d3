"""The card of the first screen for gateways: who is online, and what is wrong."""

from collections import defaultdict
from datetime import datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.urls import reverse

from operations.extension import Card
from operations.findings import Condition, Level
from operations.wording import findings

from . import conditions
from .condition_words import WORDS
from .models import Gateway

_MOST = 20


class Shown(msgspec.Struct, frozen=True):
    name: str
    link: str
    online: int | None
    seen_at: datetime | None
    troubles: list[str]


def gateways(now: datetime) -> dict[str, Any]:
    """By name."""
    found: dict[str, list[Condition]] = defaultdict(list)
    for one in conditions.gateways(now):
        found[one.subject].append(one)
    return {"gateways": [_shown(own) for own in list(found.values())[:_MOST]]}


def _shown(own: list[Condition]) -> Shown:
    gateway, wrong = own[0].target, [one for one in own if one.level is not Level.OK]
    assert isinstance(gateway, Gateway)  # noqa: S101  every condition of a gateway has it
    return Shown(
        name=gateway.name,
        link=reverse("admin:gateways_gateway_overview", args=[gateway.pk])
        if admin.site.is_registered(Gateway)
        else "",
        online=gateway.online,
        seen_at=gateway.seen_at,
        troubles=[line.message for line in findings(wrong, WORDS)],
    )


CARD = Card("gateways.view_gateway", "admin/gateways/card.html", gateways)

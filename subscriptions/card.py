"""The card of the first screen for sources: the traffic left, and failures."""

from datetime import datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from operations import quota_levels
from operations.extension import Card
from operations.findings import Condition
from operations.formatting import size_of_limit

from . import conditions
from .models import Source
from .sources.source_errors import sentence

_MOST = 20


class Shown(msgspec.Struct, frozen=True):
    """``used``: the used part of the provider's limit, if known. ``left``: bytes; None without a limit."""

    name: str
    link: str
    left: int | None
    used: SafeString | str
    expires: datetime | None
    trouble: str


def sources(now: datetime) -> dict[str, Any]:
    """Enabled sources by priority."""
    found = list(conditions.sources(now))
    troubles = {_id(one): sentence(one.figures["error"]) for one in found if _fails(one)}
    shown = [one for one in found if one.code == "source"][:_MOST]
    return {"sources": [_shown(one, troubles.get(_id(one), "")) for one in shown]}


def _id(found: Condition) -> int | None:
    return found.target.pk if found.target else None


def _fails(found: Condition) -> bool:
    return found.code == "source-failing"


def _shown(found: Condition, trouble: str) -> Shown:
    used, total = found.figures["used_bytes"], found.figures["total_bytes"]
    return Shown(
        name=found.subject,
        link=reverse("admin:subscriptions_source_change", args=[_id(found)])
        if admin.site.is_registered(Source)
        else "",
        left=None if total is None else quota_levels.left(used, total),
        used="" if total is None else size_of_limit(used, total),
        expires=found.figures["ends_at"],
        trouble=trouble,
    )


CARD = Card("subscriptions.view_source", "admin/subscriptions/sources_card.html", sources)

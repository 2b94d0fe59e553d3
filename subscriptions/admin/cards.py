"""What the operator's first screen says of sources: what their providers leave, and which of them fail."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from subscriptions import troubles
from subscriptions.models import Source
from traffic.admin.dashboard import Card, also_show
from traffic.cells import size_of_limit

_MOST = 20


class Shown(msgspec.Struct, frozen=True):
    """``used``: of the provider's limit, when he tells. ``left``: bytes, None when he tells no limit."""

    name: str
    link: str
    left: int | None
    used: SafeString | str
    expires: datetime | None
    trouble: str


def _shown(source: Source) -> Shown:
    used = (source.provider_upload or 0) + (source.provider_download or 0)
    total = source.provider_total
    return Shown(
        name=source.name,
        link=reverse("admin:subscriptions_source_change", args=[source.pk]) if admin.site.is_registered(Source) else "",
        left=None if total is None else max(total - used, 0),
        used="" if total is None else size_of_limit(used, total),
        expires=_moment(source.provider_expire),
        trouble=troubles.sentence(source.last_error) if source.last_error else "",
    )


def _moment(seconds: int | None) -> datetime | None:
    """What a provider says may be any number; beyond the calendar it is no moment."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def sources(_now: datetime) -> dict[str, Any]:
    """Those that are switched on, in their own order."""
    return {"sources": [_shown(source) for source in Source.objects.filter(enabled=True)[:_MOST]]}


also_show("sources", Card("subscriptions.view_source", "admin/subscriptions/sources_card.html", sources))

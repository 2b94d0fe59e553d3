"""What operators are told of sources: see ``traffic.notifications``. No URL is in it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from subscriptions.models import Source
from subscriptions.troubles import sentence
from traffic.notifications.events import Event, also_notice, written

# One failure is an accident; the next fetch is a few minutes away.
_FAILURES = 3
_SOON = timedelta(days=3)


def register() -> None:
    also_notice("source-failing", gettext_lazy("A source has failed three times in a row"), failing)
    also_notice(
        "source-quota", gettext_lazy("A source's provider has little traffic left, or ends within 3 days"), running_out
    )


def failing(now: datetime) -> Iterator[Event]:
    """Once for each time that a source stops working."""
    for source in Source.objects.filter(enabled=True, failures__gte=_FAILURES).order_by("pk"):
        text = _("Source %(name)s fails: %(why)s") % {"name": source, "why": sentence(source.last_error)}
        since = source.last_success or source.added_at
        yield Event(f"{source.pk}:{int(since.timestamp())}", text, _named(source) | {"error": source.last_error})


def running_out(now: datetime) -> Iterator[Event]:
    """Of the traffic once a month, for no provider says when it begins anew; of the end once for each end."""
    enabled = Source.objects.filter(enabled=True).order_by("pk")
    # Not in the database: what providers say may be too large for a sum there.
    for source in enabled.filter(provider_total__gt=0):
        if _used(source) * 10 >= (source.provider_total or 0) * 9:
            yield _of_traffic(source, now)
    edges = {"provider_expire__gt": int(now.timestamp()), "provider_expire__lte": int((now + _SOON).timestamp())}
    for source in enabled.filter(**edges):
        expires = datetime.fromtimestamp(source.provider_expire or 0, UTC)
        text = _("Source %(name)s: the provider's subscription ends at %(when)s.") % {
            "name": source, "when": written(expires),
        }  # fmt: skip
        yield Event(
            f"{source.pk}:end:{source.provider_expire}", text, _named(source) | {"expires_at": expires.isoformat()}
        )


def _of_traffic(source: Source, now: datetime) -> Event:
    total, used = source.provider_total or 1, _used(source)
    text = _("Source %(name)s: %(percent)d %% of the provider's traffic is used.") % {
        "name": source, "percent": used * 100 // total,
    }  # fmt: skip
    return Event(f"{source.pk}:{total}:{now:%Y-%m}", text, _named(source) | {"used_bytes": used, "total_bytes": total})


def _used(source: Source) -> int:
    return (source.provider_upload or 0) + (source.provider_download or 0)


def _named(source: Source) -> dict[str, Any]:
    return {"source": {"id": source.pk, "name": source.name}}

"""What we handed over, beside what the panel has booked for our node."""

from datetime import UTC, datetime, timedelta

import msgspec
from django.db.models import Sum

from . import accounts
from .models import HandOver, PanelLink

DAYS = 7


class Difference(msgspec.Struct, frozen=True):
    """Bytes of users between two full hours. ``booked``: by the panel, of users who are still there and were not reset."""

    since: datetime
    sent: int
    unknown: int
    booked: int

    @property
    def missing(self) -> int:
        """Negative: some of the unknown bytes have arrived."""
        return self.sent - self.booked


def find(link: PanelLink, now: datetime) -> Difference:
    """Compare the last days, or the time since the link was made, with the stored account. Raises ApiError."""
    since = max(now - timedelta(days=DAYS), link.linked_at).astimezone(UTC)
    since = since.replace(minute=0, second=0, microsecond=0)
    api = accounts.sign_in(link)
    booked = api.booked_for(link.node_id, since, now)
    sums = handed(link, since)
    return Difference(
        since, sums.get(HandOver.State.SENT, 0), sums.get(HandOver.State.UNKNOWN, 0), booked
    )


def handed(link: PanelLink, since: datetime | None = None) -> dict[str, int]:
    """Bytes of users by what became of their batch."""
    batches = HandOver.objects.filter(link=link, what=HandOver.What.USERS)
    if since:
        batches = batches.filter(made_at__gte=since)
    sums = batches.order_by().values_list("state").annotate(total=Sum("download"))
    return {state: int(total) for state, total in sums}

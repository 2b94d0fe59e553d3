"""Sees whether people who are out still use what they had open: Xray ends no connection of theirs."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from xpert_agent.sources import xray_stats
from xpert_agent.sources.base import SourceError

LOOK = 5.0
"""Seconds between two looks at the counters."""
IDLE = 400.0
"""Seconds after which the core has ended a connection that carries nothing (by default after 300)."""
FEW = 10
"""People whose counters are asked for one by one."""


class _Seen(NamedTuple):
    total: int
    """Bytes."""
    since: float
    """Monotonic seconds at which the total was seen first."""


class Watch:
    def __init__(self, users: Collection[str]) -> None:
        self._seen: dict[str, _Seen | None] = dict.fromkeys(users)
        self._looked_at = float("-inf")
        self.sees_traffic = False

    @property
    def users(self) -> list[str]:
        return sorted(self._seen)

    def are_out(self, users: Collection[str]) -> None:
        self._seen.update(dict.fromkeys(users))

    def are_in(self, users: Collection[str]) -> None:
        for user in users:
            self._seen.pop(user, None)

    def is_due(self, now: float) -> bool:
        return bool(self._seen) and now - self._looked_at >= LOOK

    def look(self, port: int, now: float) -> None:
        """A core that does not answer is asked again later."""
        self._looked_at = now
        try:
            totals = self._totals(port)
        except SourceError:
            return
        for user, before in list(self._seen.items()):
            self._compare(user, before, totals.get(user, 0), now)

    def _compare(self, user: str, before: _Seen | None, total: int, now: float) -> None:
        """The first look comes after the last bytes that were on their way."""
        if before is None:
            self._seen[user] = _Seen(total, now)
        elif total > before.total:
            self.sees_traffic = True
        elif now - before.since > IDLE:
            del self._seen[user]

    def _totals(self, port: int) -> dict[str, int]:
        people = {user.partition("-")[0] for user in self._seen}
        patterns = [f"{person}-" for person in sorted(people)] if len(people) <= FEW else [""]
        return {
            user: sum(counter)
            for pattern in patterns
            for user, counter in xray_stats.users(port, pattern).items()
        }

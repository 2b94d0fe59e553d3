"""One flow reported twice is counted once: of all reporters of one person on one server, the best grade counts.

A reporter of a worse grade is kept as a control while a better one has reported within 24 hours. Equal grades add.
A decision depends on better reporters only, so writers never wait for each other: two transactions at once decide as if
one had followed the other. Single reports are not arbitrated; they always count.
"""

from collections import defaultdict
from collections.abc import Collection

from django.db.models import Max

from traffic.models import Meter, Reporter, Told

from .rollups import EventKey

# Seconds after its last reading for which a reporter is assumed to see this traffic.
WINDOW = 86_400
_DAY = 86_400
# Subscribers per query.
_STEP = 500

Pair = tuple[int, int]  # subscriber id, server id

_Grade = Reporter.Grade
BETTER: dict[str, tuple[str, ...]] = {
    _Grade.MEASURED: (),
    _Grade.PROVIDER: (_Grade.MEASURED,),
    _Grade.REPORTED: (_Grade.MEASURED, _Grade.PROVIDER),
}


class Arbiter:
    """Decides for one transaction. ``keys``: the rows it is about; ``grades``: those of its senders."""

    def __init__(self, keys: Collection[EventKey], grades: Collection[str]) -> None:
        self._keys = keys
        self._is_mixed = len(grades) > 1
        self._stored: dict[str, dict[Pair, int]] = {}
        self._now: dict[str, dict[Pair, int]] = defaultdict(dict)

    def note(self, pair: Pair, grade: str, moment: int) -> None:
        """A reporter of this grade has sent a reading of this person and server, in this transaction."""
        if self._is_mixed:
            told = self._now[grade]
            told[pair] = max(told.get(pair, 0), moment)

    def is_control(self, pair: Pair, grade: str, moment: int) -> bool:
        """Whether a better reporter sees the traffic that flowed until ``moment``."""
        if grade not in self._stored:
            self._stored[grade] = self._load(BETTER[grade])
        if not self._stored[grade] and not self._now:
            return False
        told = [self._stored[grade], *(self._now[better] for better in BETTER[grade])]
        last = max((found[pair] for found in told if pair in found), default=None)
        if last is None or last < moment - WINDOW:
            return False
        # Late traffic may be older than everything that a better reporter has sent.
        return last <= moment + WINDOW or _has_told(pair, BETTER[grade], moment)

    def _load(self, grades: Collection[str]) -> dict[Pair, int]:
        """The last reading of any reporter of these grades."""
        if not grades or not Reporter.objects.filter(grade__in=grades).exists():
            return {}
        subscribers = sorted({subscriber for subscriber, _ in self._keys})
        found: dict[Pair, int] = {}
        for start in range(0, len(subscribers), _STEP):
            found |= _last_read(subscribers[start : start + _STEP], grades)
        return found


def _last_read(subscribers: Collection[int], grades: Collection[str]) -> dict[Pair, int]:
    rows = (
        Meter.objects.filter(
            subscriber__in=subscribers, reporter__grade__in=grades, read_at__isnull=False
        )
        .order_by()
        .values_list("subscriber_id", "server_id")
        .annotate(last=Max("read_at"))
    )
    return {(pk, server): int(last.timestamp()) for pk, server, last in rows}


def _has_told(pair: Pair, grades: Collection[str], moment: int) -> bool:
    day = moment // _DAY
    told = Told.objects.filter(subscriber=pair[0], server=pair[1], day__in=(day - 1, day))
    return told.filter(reporter__grade__in=grades).exists()

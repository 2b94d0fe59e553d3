"""Whether messages of 3x-ui wait on this machine: found here once, for ``doctor``, gauges and cards."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from operations.findings import Condition, Level, Watch

from . import draining

# The database is busy for seconds at most, unless something is wrong.
_LATE, _TOO_LATE = timedelta(minutes=1), timedelta(hours=1)


def spool(now: datetime) -> Iterator[Condition]:
    waiting = draining.current().waiting()
    if waiting.oldest is not None:
        since = datetime.fromtimestamp(waiting.oldest, UTC)
        yield Condition(
            code="inform-waiting",
            level=_level(now - since),
            figures={"messages": waiting.messages, "waiting_bytes": waiting.bytes},
            since=since,
        )
    if waiting.set_aside:
        yield Condition(
            code="inform-set-aside",
            level=Level.ERROR,
            figures={"messages": waiting.set_aside, "folder": str(draining.current().folder)},
        )


def _level(age: timedelta) -> Level:
    if age > _TOO_LATE:
        return Level.ERROR
    return Level.WARNING if age > _LATE else Level.OK


WATCHES = (Watch(spool),)

"""The ``Retry-After`` header of RFC 9110: how long a server asks to wait. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# A server cannot ask for more than a day.
MAX_WAIT = 86_400


def bounded(seconds: float) -> int:
    """Whole seconds from 0 to a day."""
    return int(min(max(seconds, 0), MAX_WAIT))


def parse(text: str, now: datetime) -> int | None:
    """Seconds (at most a day) from a number or a date; None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return bounded(int(text[:9]))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return bounded((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())

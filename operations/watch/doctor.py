"""Problems of this installation and advice, for ``manage.py doctor`` and its page in the admin."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from operations import wording
from operations.extension import extensions
from operations.findings import Condition, Finding
from operations.wording import Words

from . import conditions


def examine(now: datetime) -> list[Finding]:
    """All findings, causes before their consequences."""
    return lines(conditions.everything(now))


def lines(found: Sequence[Condition]) -> list[Finding]:
    """One line per condition, in the active language."""
    return wording.findings(found, _words())


def _words() -> Mapping[str, Words]:
    known: dict[str, Words] = {}
    for extension in extensions():
        known |= extension.words
    return known

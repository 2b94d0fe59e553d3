"""Reference: the same webhook without a database."""

from datetime import datetime
from typing import TYPE_CHECKING

from xpert_panel.wsgi import application  # before anything that needs models

if TYPE_CHECKING:
    from traffic.ledger.recording import Work

__all__ = ["application"]

from traffic.ledger import group_commit
from traffic.ledger.recording import Outcome


def _forget(
    work: "Work[list[Outcome]]", now: datetime, *, create_subscribers: bool = False
) -> list[Outcome]:
    return [Outcome.RECORDED] * work.size


group_commit.submit = _forget  # type: ignore[assignment]  # only reports are submitted

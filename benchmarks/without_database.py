"""Reference: the same webhook, answering without a database."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xpert_panel.wsgi import application  # before anything that needs models

if TYPE_CHECKING:
    from traffic.reports import Report

__all__ = ["application"]

from traffic import group_commit
from traffic.recording import Outcome


def _forget(reports: "Sequence[Report]", *, create_subscribers: bool = False) -> list[Outcome]:
    return [Outcome.RECORDED] * len(reports)


group_commit.submit = _forget

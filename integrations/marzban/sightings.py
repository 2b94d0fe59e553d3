"""A linked panel in the list of reporters: it is expected to call, like everybody who reports."""

from datetime import datetime

from operations.databases.transactions import write_transaction
from traffic.ledger import reporters
from traffic.ledger.reporters import Sender, Terms
from traffic.models import Reporter

from .models import PanelLink

_TERMS = Terms(Reporter.Kind.LINK, Reporter.Grade.PROVIDER)


@write_transaction
def note(link: PanelLink, now: datetime) -> None:
    """The panel has called its node."""
    [reporter] = reporters.lock({_sender(link): _TERMS}, now).values()
    reporters.see(reporter, _TERMS, None, now)


def end(link: PanelLink, now: datetime) -> None:
    """No more calls are expected."""
    reporters.end(_origin(link), now)


def _sender(link: PanelLink) -> Sender:
    return Sender(None, None, _origin(link), f"link-{link.pk}")


def _origin(link: PanelLink) -> str:
    return f"link:{link.pk}"

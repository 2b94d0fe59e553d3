"""Which accounts are counted here, so that a provider's header does not count them again."""

from operations.outbound.url_policy import Refused
from traffic.models import MeteredPerson

from . import places
from .adapters.asking import Way
from .models import Panel


def reads(url: str, subscriber: int) -> bool:
    """Whether a panel on the URL's host tells this subscriber's usage; its figures are safer than a header's."""
    panels = Panel.objects.filter(enabled=True).exclude(last_success=None)
    return any(_tells(panel, subscriber) for panel in panels if _is_same_host(panel.url, url))


def _tells(panel: Panel, subscriber: int) -> bool:
    if panel.access == Way.LINK:
        return panel.subscriber_id == subscriber
    people = MeteredPerson.objects.filter(reporter__origin=panel.origin, subscriber=subscriber)
    return people.exists()


def _is_same_host(one: str, other: str) -> bool:
    try:
        return places.host_of(one) == places.host_of(other)
    except Refused:
        return False

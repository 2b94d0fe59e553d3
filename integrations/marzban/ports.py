"""Where the node of each link listens."""

from .conf import Address, conf
from .models import PanelLink

# Where somebody on this machine reaches what listens on all addresses.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound


def listen(link: PanelLink) -> Address:
    """Nodes of several links must not share a port: gRPC brings nothing else to tell their panels apart."""
    return _shifted(conf.node_listen, link.number)


def api(link: PanelLink) -> Address:
    return _shifted(conf.node_api, link.number)


def address(link: PanelLink) -> str:
    """How a panel on this machine reaches it; empty when the node listens on all addresses."""
    host = listen(link).host
    return "" if host in WILDCARDS else host


def _shifted(place: Address, number: int) -> Address:
    return place._replace(port=place.port + 2 * number)

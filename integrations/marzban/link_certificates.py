"""Which certificate the node of a link shows."""

from . import certificates, ports
from .certificates import Own
from .models import PanelLink


def of(link: PanelLink) -> Own:
    """Raises CertificateError."""
    if link.kind != PanelLink.Kind.PASARGUARD:
        return certificates.own()
    return certificates.of_host(link.node_address or ports.address(link) or "127.0.0.1")

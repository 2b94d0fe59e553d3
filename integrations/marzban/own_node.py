"""The node of a link, seen from outside its process."""

import socket
import ssl
import time

from . import certificates, link_certificates, link_errors, ports
from .certificates import CertificateError
from .conf import Address
from .link_errors import LinkError
from .models import PanelLink

# Seconds until the node's process has seen a new link, between two looks, and for one look.
_STARTS = 12.0
_PAUSE = 0.3
_LOOK = 2.0


def wait(link: PanelLink) -> None:
    """Return as soon as our node listens for this link. Raises LinkError."""
    deadline = time.monotonic() + _STARTS
    while not _is_ours(link):
        link.refresh_from_db(fields=["node_error"])
        if link.node_error:
            raise LinkError(link_errors.of_node(link))
        if time.monotonic() > deadline:
            raise LinkError(_silence(link))
        time.sleep(_PAUSE)


def _silence(link: PanelLink) -> str:
    port = ports.listen(link).port
    return (
        link_errors.node_port_taken(port)
        if _answers(ports.listen(link))
        else link_errors.node_is_silent(port)
    )


def _is_ours(link: PanelLink) -> bool:
    """Whether it shows the node's certificate."""
    try:
        found = ssl.get_server_certificate(_dialled(ports.listen(link)), timeout=_LOOK)
        return certificates.der(found) == certificates.der(
            link_certificates.of(link).certificate.read_text()
        )
    except (OSError, ValueError, CertificateError):
        return False


def _answers(place: Address) -> bool:
    try:
        socket.create_connection(_dialled(place), timeout=_LOOK).close()
    except OSError:
        return False
    return True


def _dialled(place: Address) -> tuple[str, int]:
    return ports.WILDCARDS.get(place.host, place.host), place.port

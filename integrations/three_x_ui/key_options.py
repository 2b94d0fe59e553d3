"""The server on which a 3x-ui counts whose e-mails name none: an option of its API key."""

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from operations.extension import KeyOption
from operations.hosts import join_host_port
from operations.models import ApiKey
from traffic.ledger.lookup import Endpoint
from traffic.reports import (
    InvalidReport,
    normalised_port,
    normalised_protocol,
    normalised_server,
)


def endpoint(text: str) -> Endpoint:
    """Host, port and protocol of ``host:port/protocol``, normalised as in a report. Raises ValueError with a sentence."""
    place, _slash, protocol = text.strip().rpartition("/")
    host, _colon, port = place.rpartition(":")
    try:
        return normalised_server(host), normalised_port(port), normalised_protocol(protocol)
    except InvalidReport:
        raise ValueError(gettext("Expected a server like vpn.example.com:443/vless.")) from None


def _cleaned(text: str) -> str:
    host, port, protocol = endpoint(text)
    return f"{join_host_port(host, port)}/{protocol}"


SERVER = KeyOption(
    name="server",
    label=_("server of a 3x-ui"),
    help_text=_(
        "Where its bytes count if an e-mail names no server: vpn.example.com:443/vless. Empty = the address of the 3x-ui."
    ),
    clean=_cleaned,
    is_changeable=True,
)


def server_of(key: int) -> Endpoint | None:
    """None: nobody has chosen one."""
    options = ApiKey.objects.filter(pk=key).values_list("options", flat=True).first() or {}
    chosen = options.get(SERVER.name)
    return endpoint(chosen) if chosen else None

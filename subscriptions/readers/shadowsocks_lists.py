"""Lists of Shadowsocks servers: SIP008 (shadowsocks.org/doc/sip008.html) and SSD (github.com/TheCGDF/SSD-Windows, wiki)."""

from typing import Any

from subscriptions.links import LinkError, Node, plugins
from subscriptions.links.base64text import decode_text

from .settings import ReadError, Settings, node_of

SSD = "ssd://"
# Labels, and a disguise of the first bytes that the server does not need.
_OPTIONAL = (
    "id", "remarks", "group", "prefix", "tag", "name", "ratio", "owner", "timeout", "enable", "udpport", "udp_relay",
)  # fmt: skip
# Values of an SSD list that hold for each of its servers.
_SHARED = ("port", "encryption", "password", "plugin", "plugin_options")


def ssd_text(text: str) -> str:
    """The JSON of an SSD link. Raises ReadError."""
    try:
        return decode_text(text.strip()[len(SSD) :].rstrip("/"))
    except LinkError as error:
        raise ReadError(error.code) from None


def ssd_servers(document: dict[str, Any]) -> list[Any]:
    """The servers of an SSD list, each with the values that it shares with the others."""
    shared = {name: document[name] for name in _SHARED if name in document}
    servers = document["servers"]
    return [shared | each if isinstance(each, dict) else each for each in servers]


def read(value: Any) -> Node:
    """Raises ReadError."""
    entry = Settings(value)
    name, server = name_of(value), entry.text("server")
    port = entry.number("server_port", "port")
    params = {
        "method": entry.word("method", "encryption"),
        "password": entry.text("password"),
        "plugin": _plugin(entry.text("plugin"), entry.text("plugin_opts", "plugin_options")),
    }
    entry.ignore(*_OPTIONAL)
    entry.done()
    return node_of("shadowsocks", server, port, name, params)


def name_of(value: Any) -> str:
    found = value.get("remarks") if isinstance(value, dict) else ""
    return found if isinstance(found, str) else ""


def _plugin(name: str, options: str) -> str:
    try:
        return plugins.parse(";".join(filter(None, [name, options]))) if name else ""
    except LinkError as error:
        raise ReadError(error.code) from None

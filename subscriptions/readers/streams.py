"""Names of hosts that an entry leaves out: added where its core means another name than a link would."""

from subscriptions.formats.common import requested_host, server_name
from subscriptions.links import Node
from subscriptions.links.common import LinkError
from subscriptions.links.hosts import parse_host

HTTP_LIKE = frozenset({"ws", "httpupgrade", "http", "xhttp"})


def with_own_host(server: str, params: dict[str, str]) -> dict[str, str]:
    """The Host of a WebSocket for cores that ask for the server's own if none is given."""
    if params.get("network") not in {"ws", "httpupgrade"}:
        return params
    host = _host(server)
    if not params.get("host") and requested_host(_node(host, params)) != host:
        return params | {"host": host}
    # Said twice: a link without it means the same.
    if params.get("host") == host and not params.get("sni"):
        return params | {"host": ""}
    return params


def named(server: str, params: dict[str, str], networks: frozenset[str]) -> dict[str, str]:
    """The TLS name for transports over which the core asks for the server's own if none is given."""
    host = _host(server)
    is_implied = params.get("security") == "tls" and not params.get("sni")
    if not is_implied or params.get("network") not in networks:
        return params
    return params if server_name(_node(host, params)) in {"", host} else params | {"sni": host}


def _node(host: str, params: dict[str, str]) -> Node:
    given = {name: value for name, value in params.items() if value}
    return Node("", "vless", host, 1, "", given)


def _host(server: str) -> str:
    try:
        return parse_host(server)
    except LinkError:  # the server is refused where the node is made
        return server

"""``tuic://UUID:PASSWORD@host:port?…#name``: version 5. It has no official form; this is the one of NekoBox and dae."""

from urllib.parse import unquote

from operations.hosts import join_host_port

from . import tls
from .common import Fields, LinkError, Node, escape, filled, join, split
from .hosts import parse_host, parse_port, split_endpoint
from .ids import parse_uuid

_CONTROLS = {
    "": "",
    "cubic": "",
    "bbr": "bbr",
    "new_reno": "new_reno",
    "new-reno": "new_reno",
    "newreno": "new_reno",
}


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    user, colon, password = unquote(url.userinfo or "").partition(":")
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    password = password or fields.take_secret("password")
    # Only a user is a token of version 4.
    if user and not (colon or password):
        raise LinkError("missing_password")
    params = {"uuid": parse_uuid(user), **filled(password=password), **_read_options(fields)}
    params |= tls.read(fields, tls.take_security(fields, "tls") or "tls")
    return Node(
        raw, "tuic", parse_host(host), parse_port(port, 443), url.remark, params, fields.rest()
    )


def emit(node: Node, remark: str) -> str:
    """The colon is not escaped, because mihomo would read an escaped one as a token of version 4."""
    params = node.params
    query = {
        "congestion_control": params.get("congestion_control", "cubic"),
        "udp_relay_mode": params.get("udp_relay_mode", "native"),
        "reduce_rtt": params.get("reduce_rtt", ""),
        **tls.write(params, insecure="allow_insecure"),
        **node.extra,
    }
    user = f"{params['uuid']}:{escape(params.get('password', ''))}"
    head = f"tuic://{user}@{join_host_port(node.server, node.port)}"
    return join(head, query, remark)


def _read_options(fields: Fields) -> dict[str, str]:
    control = _CONTROLS.get(
        fields.take_word("congestion_control", "congestion_controller", "congestion")
    )
    relay = fields.take_word("udp_relay_mode") or "native"
    if control is None:
        raise LinkError("bad_congestion")
    if relay not in {"native", "quic"}:
        raise LinkError("bad_relay_mode")
    rtt = tls.flag(fields.take_word("reduce_rtt", "zero_rtt_handshake", "zero-rtt"))
    return filled(
        congestion_control=control, udp_relay_mode=relay if relay == "quic" else "", reduce_rtt=rtt
    )

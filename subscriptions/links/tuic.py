"""``tuic://UUID:PASSWORD@host:port?…#name``: version 5, which has no official form; this is NekoBox' and dae's."""

from urllib.parse import unquote

from . import tls
from .common import Fields, LinkError, Node, escape, filled, join, split
from .hosts import join_endpoint, parse_host, parse_port, split_endpoint
from .ids import parse_uuid

_CONTROLS = {"": "", "cubic": "", "bbr": "bbr", "new_reno": "new_reno", "new-reno": "new_reno", "newreno": "new_reno"}


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    user, _, password = unquote(url.userinfo or "").partition(":")
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    # A user alone is a token of version 4.
    if user and not password:
        raise LinkError("missing_password")
    params = {"uuid": parse_uuid(user), "password": password, **_read_options(fields)}
    params |= tls.read(fields, tls.parse_security(fields.take_word("security"), "tls") or "tls")
    return Node(raw, "tuic", parse_host(host), parse_port(port), url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    """With a bare colon: where it is escaped, mihomo takes all for a token of version 4."""
    params = node.params
    query = {
        "congestion_control": params.get("congestion_control", "cubic"),
        "udp_relay_mode": params.get("udp_relay_mode", "native"),
        "reduce_rtt": params.get("reduce_rtt", ""),
        **tls.write(params, insecure="allow_insecure"),
        **node.extra,
    }
    head = f"tuic://{params['uuid']}:{escape(params['password'])}@{join_endpoint(node.server, node.port)}"
    return join(head, query, remark)


def _read_options(fields: Fields) -> dict[str, str]:
    control = _CONTROLS.get(fields.take_word("congestion_control", "congestion_controller", "congestion-controller"))
    relay = fields.take_word("udp_relay_mode", "udp-relay-mode") or "native"
    if control is None:
        raise LinkError("bad_congestion")
    if relay not in {"native", "quic"}:
        raise LinkError("bad_relay_mode")
    rtt = tls.flag(fields.take_word("reduce_rtt", "reduce-rtt", "zero_rtt_handshake"))
    return filled(congestion_control=control, udp_relay_mode=relay if relay == "quic" else "", reduce_rtt=rtt)

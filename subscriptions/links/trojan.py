"""``trojan://PASSWORD@host:port?…#name``. Source: trojan-gfw/trojan-url; the default port is 443.

``trojan-go://`` is the same unless it uses Shadowsocks inside or a plugin.
"""

from operations.hosts import join_host_port

from . import vless
from .common import Fields, LinkError, Node, escape, join, parse_password, split
from .hosts import parse_host, parse_port, split_endpoint


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    if fields.take_word("encryption") not in {"", "none"} or fields.take_word("plugin") not in {
        "",
        "none",
    }:
        raise LinkError("unsupported")
    # Flows belong to VLESS, but generators write them everywhere.
    fields.take("flow")
    params = {"password": parse_password(url.userinfo), **vless.read_stream(fields, "tls")}
    return Node(
        raw, "trojan", parse_host(host), parse_port(port, 443), url.remark, params, fields.rest()
    )


def emit(node: Node, remark: str) -> str:
    """The port is always written, because mihomo refuses the whole list without it."""
    head = f"trojan://{escape(node.params['password'])}@{join_host_port(node.server, node.port)}"
    return join(head, {**vless.write_stream(node.params), **node.extra}, remark)

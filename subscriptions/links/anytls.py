"""``anytls://PASSWORD@host:port?…#name``. Source: anytls/anytls-go, docs/uri_scheme.md; the default port is 443."""

from operations.hosts import join_host_port

from . import tls
from .common import Fields, Node, escape, join, parse_password, split
from .hosts import parse_host, parse_port, split_endpoint


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    params = {"password": parse_password(url.userinfo)}
    params |= tls.read(fields, tls.take_security(fields, "tls") or "tls")
    return Node(
        raw, "anytls", parse_host(host), parse_port(port, 443), url.remark, params, fields.rest()
    )


def emit(node: Node, remark: str) -> str:
    params = node.params
    security = {"security": "reality"} if params["security"] == "reality" else {}
    head = f"anytls://{escape(params['password'])}@{join_host_port(node.server, node.port)}"
    return join(head, {**security, **tls.write(params, insecure="insecure"), **node.extra}, remark)

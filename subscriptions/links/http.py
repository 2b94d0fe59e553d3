"""``http(s)://user:password@host:port#name``. Without user and port it is the address of a page or list."""

from urllib.parse import unquote

from operations.hosts import join_host_port

from . import tls
from .common import Fields, LinkError, Node, escape, join, split
from .hosts import parse_host, parse_port, split_endpoint
from .socks import parse_user


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, port = split_endpoint(url.endpoint)
    params = parse_user(unquote(url.userinfo or ""))
    if not params or not port or url.path:
        raise LinkError("not_a_proxy")
    fields = Fields(url.query)
    params |= tls.read(fields, tls.take_security(fields, "tls" if raw.startswith("https") else ""))
    return Node(raw, "http", parse_host(host), parse_port(port), url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    user = f"{escape(params.get('username', ''))}:{escape(params.get('password', ''))}"
    scheme = "https" if "security" in params else "http"
    security = {"security": "reality"} if params.get("security") == "reality" else {}
    query = {**security, **tls.write(params), **node.extra}
    return join(f"{scheme}://{user}@{join_host_port(node.server, node.port)}", query, remark)

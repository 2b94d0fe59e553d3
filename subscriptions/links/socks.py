"""``socks://base64(user:password)@host:port#name`` (v2rayN), ``socks5://[user:password@]host:port``, or all in base64."""

from base64 import b64encode
from urllib.parse import quote, unquote

from operations.hosts import join_host_port

from . import tls
from .base64text import decode_text
from .common import Fields, LinkError, Node, filled, join, split
from .hosts import parse_host, parse_port, split_endpoint


def parse(raw: str, rest: str) -> Node:
    url = split(_unpacked(rest))
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    params = parse_user(unquote(url.userinfo or ""))
    params |= tls.read(fields, tls.take_security(fields))
    return Node(raw, "socks", parse_host(host), parse_port(port), url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    """With the user in base64, which v2rayN and v2rayNG require."""
    params, user = node.params, ""
    if {"username", "password"} & params.keys():
        pair = f"{params.get('username', '')}:{params.get('password', '')}"
        user = quote(b64encode(pair.encode()).decode().rstrip("="), safe="+") + "@"
    security = {"security": params["security"]} if "security" in params else {}
    query = {**security, **tls.write(params), **node.extra}
    return join(f"socks://{user}{join_host_port(node.server, node.port)}", query, remark)


def parse_user(text: str) -> dict[str, str]:
    """``user:password``, plain or in base64, or only a user."""
    if text and ":" not in text:
        try:
            decoded = decode_text(text)
        except LinkError:
            decoded = ""
        text = decoded if ":" in decoded else text
    username, _, password = text.partition(":")
    return filled(username=username, password=password)


def _unpacked(rest: str) -> str:
    body, mark, fragment = rest.partition("#")
    blob, question, query = body.partition("?")
    if "@" in blob or ":" in blob:
        return rest
    try:
        text = decode_text(blob)
    except LinkError:
        return rest
    return f"{text}{question}{query}{mark}{fragment}" if ":" in text else rest

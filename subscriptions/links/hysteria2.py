"""``hysteria2://[auth@]host[:ports]/?…#name``, also ``hy2://``. Source: v2.hysteria.network/docs/developers/URI-Scheme."""

from urllib.parse import quote, unquote

from . import hops, tls
from .common import Fields, LinkError, Node, filled, join, split
from .hosts import join_endpoint, parse_host, split_endpoint

_OBFS = frozenset({"salamander", "gecko"})


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, ports = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    port, params = hops.read(ports or "443", fields)
    params |= filled(password=unquote(url.userinfo or "")) | _read_obfs(fields)
    params |= tls.read(fields, tls.parse_security(fields.take_word("security"), "tls") or "tls")
    return Node(raw, "hysteria2", parse_host(host), port, url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    # With a bare colon between user and password: mihomo takes the text as it stands.
    user = f"{quote(params['password'], safe=':')}@" if "password" in params else ""
    query = {
        **hops.write(params),
        "obfs": params.get("obfs", ""),
        "obfs-password": params.get("obfs_password", ""),
        **tls.write(params, insecure="insecure"),
        **node.extra,
    }
    return join(f"hysteria2://{user}{join_endpoint(node.server, node.port)}", query, remark)


def _read_obfs(fields: Fields) -> dict[str, str]:
    obfs, password = fields.take_word("obfs"), fields.take("obfs-password", "obfs_password", "obfsParam")
    if obfs in {"", "none"}:
        return {}
    if obfs not in _OBFS:
        raise LinkError("bad_obfs")
    if not password:
        raise LinkError("missing_obfs_password")
    return {"obfs": obfs, "obfs_password": password}

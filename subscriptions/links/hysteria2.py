"""``hysteria2://[auth@]host[:ports]/?…#name``, also ``hy2://``. Source: v2.hysteria.network/docs/developers/URI-Scheme."""

from collections.abc import Mapping
from urllib.parse import quote, unquote

from operations.hosts import join_host_port

from . import hops, masks, tls, transports
from .common import Fields, LinkError, Node, filled, join, split
from .hosts import parse_host, split_endpoint
from .hysteria import speed_of

_OBFS = frozenset({"salamander", "gecko"})


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, ports = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    mask = masks.read(transports.compact(fields.take("fm", "finalmask")))
    port, found = hops.read(ports or "443", fields)
    # Explicit parameters of the link take precedence over its mask.
    params = hops.masked(mask, fields) | found
    params |= _read_obfs(fields, mask) | _speeds(fields, mask) | filled(fm=mask.get("fm", ""))
    params |= filled(password=unquote(url.userinfo or "") or fields.take_secret("auth", "password"))
    params |= tls.read(fields, tls.take_security(fields, "tls") or "tls")
    return Node(raw, "hysteria2", parse_host(host), port, url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    # The colon between user and password is not escaped, because mihomo does not decode it.
    user = f"{quote(params['password'], safe=':')}@" if "password" in params else ""
    query = {
        **hops.write(params),
        "obfs": params.get("obfs", ""),
        "obfs-password": params.get("obfs_password", ""),
        "upmbps": params.get("up", ""),
        "downmbps": params.get("down", ""),
        "fm": params.get("fm", ""),
        **tls.write(params, insecure="insecure"),
        **node.extra,
    }
    return join(f"hysteria2://{user}{join_host_port(node.server, node.port)}", query, remark)


def _read_obfs(fields: Fields, mask: Mapping[str, str]) -> dict[str, str]:
    obfs = fields.take_word("obfs", "obfs-type") or mask.get("obfs", "")
    password = fields.take_secret("obfs-password", "obfsParam", "obfs-pwd") or mask.get(
        "obfs_password", ""
    )
    if obfs in {"", "none"}:
        # A password without an obfuscation: some apps use it, some do not.
        fields.put("obfs-password", "" if obfs else password)
        return {}
    if obfs not in _OBFS:
        raise LinkError("bad_obfs")
    if not password:
        raise LinkError("missing_obfs_password")
    return {"obfs": obfs, "obfs_password": password}


def _speeds(fields: Fields, mask: Mapping[str, str]) -> dict[str, str]:
    """The speeds. With both, the client sends at a fixed speed. An invalid speed is put back."""
    given = {"up": fields.take_word("upmbps", "up"), "down": fields.take_word("downmbps", "down")}
    speeds = {name: speed_of(text) for name, text in given.items()}
    for name, text in given.items():
        if not speeds[name]:
            fields.put(name, text)
    return filled(**{name: speed or mask.get(name, "") for name, speed in speeds.items()})

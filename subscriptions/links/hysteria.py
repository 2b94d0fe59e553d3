"""``hysteria://host:port?auth=…#name``: version 1. Source: v1.hysteria.network/docs/uri-scheme."""

import re

from . import hops, tls
from .common import Fields, LinkError, Node, filled, join, split
from .hosts import join_endpoint, parse_host, split_endpoint

# Mbit/s unless it says otherwise.
_SPEED = re.compile(r"([0-9]{1,7})(?:\.0*)? *(kbps|k|mbps|m|gbps|g)?", re.ASCII)
_TRANSPORTS = {"": "", "udp": "", "wechat-video": "wechat-video", "faketcp": "faketcp"}


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, ports = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    if not ports:
        raise LinkError("missing_port")
    port, params = hops.read(ports, fields)
    transport = _TRANSPORTS.get(fields.take_word("protocol"))
    if transport is None:
        raise LinkError("bad_network")
    params |= filled(
        transport=transport,
        auth=fields.take("auth", "auth_str"),
        up=_parse_speed(fields.take_word("upmbps", "up")),
        down=_parse_speed(fields.take_word("downmbps", "down")),
        **_read_obfs(fields),
    )
    params |= tls.read(fields, "tls")
    return Node(raw, "hysteria", parse_host(host), port, url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    names = tls.write(params, insecure="insecure")
    query = {
        "protocol": params.get("transport", "udp"),
        "auth": params.get("auth", ""),
        "peer": names.pop("sni", ""),
        **names,
        "upmbps": params["up"],
        "downmbps": params["down"],
        "obfs": params.get("obfs", ""),
        "obfsParam": params.get("obfs_password", ""),
        **hops.write(params),
        **node.extra,
    }
    return join(f"hysteria://{join_endpoint(node.server, node.port)}", query, remark)


def _parse_speed(text: str) -> str:
    """Mbit/s; mihomo and sing-box refuse to start without them."""
    if not text:
        raise LinkError("missing_speed")
    found = _SPEED.fullmatch(text)
    if not found:
        raise LinkError("bad_speed")
    speed = {"k": int(found[1]) // 1000, "g": int(found[1]) * 1000}.get((found[2] or "m")[0], int(found[1]))
    if not speed:
        raise LinkError("bad_speed")
    return str(speed)


def _read_obfs(fields: Fields) -> dict[str, str]:
    """Of the one kind that there is, xplus; some write its password alone."""
    obfs, password = fields.take("obfs"), fields.take("obfsParam", "obfs-password")
    if obfs.lower() in {"", "none"} and not password:
        return {}
    if obfs.lower() == "xplus" and not password:
        raise LinkError("missing_obfs_password")
    return {"obfs": "xplus", "obfs_password": password or obfs}

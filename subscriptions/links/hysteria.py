"""``hysteria://host:port?auth=…#name``: version 1. Source: v1.hysteria.network/docs/uri-scheme."""

import re
from urllib.parse import unquote

from operations.hosts import join_host_port

from . import hops, tls
from .common import Fields, LinkError, Node, filled, join, split
from .hosts import parse_host, split_endpoint

# The default unit is Mbit/s.
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
        auth=unquote(url.userinfo or "") or fields.take_secret("auth", "auth_str"),
        up=_parse_speed(fields.take_word("upmbps", "up")),
        down=_parse_speed(fields.take_word("downmbps", "down")),
        **_read_obfs(fields),
    )
    params |= tls.read(fields, tls.take_security(fields, "tls") or "tls")
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
    return join(f"hysteria://{join_host_port(node.server, node.port)}", query, remark)


def _parse_speed(text: str) -> str:
    """The speed in Mbit/s, which is required: mihomo and sing-box refuse to start without it."""
    if not text:
        raise LinkError("missing_speed")
    speed = speed_of(text)
    if not speed:
        raise LinkError("bad_speed")
    return speed


def speed_of(text: str) -> str:
    """The speed in Mbit/s; empty for zero and for an invalid speed."""
    found = _SPEED.fullmatch(text)
    if not found:
        return ""
    number, unit = int(found[1]), (found[2] or "m")[0]
    speed = {"k": number // 1000, "m": number, "g": number * 1000}[unit]
    return str(speed) if speed else ""


def _read_obfs(fields: Fields) -> dict[str, str]:
    """The only obfuscation is xplus; some links have only its password."""
    obfs, password = fields.take_secret("obfs"), fields.take_secret("obfsParam", "obfs-password")
    if obfs.lower() in {"", "none"} and not password:
        return {}
    if obfs.lower() == "xplus" and not password:
        raise LinkError("missing_obfs_password")
    return {"obfs": "xplus", "obfs_password": password or obfs}

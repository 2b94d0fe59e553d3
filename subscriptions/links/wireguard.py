"""``wireguard://PRIVATEKEY@host:port?publickey=…#name``, also ``wg://`` with both keys in the query (v2rayN, v2rayNG)."""

import ipaddress
import re
from urllib.parse import unquote

from .base64text import decode_bytes, parse_key
from .common import MAX_LIST, Fields, LinkError, Node, escape, filled, join, split
from .hosts import join_endpoint, parse_host, parse_port, split_endpoint
from .transports import parse_number

# What v2rayNG takes where a link has none.
_ADDRESS, _MTU = "172.16.0.2/32", "1420"
_EVERYTHING = {"0.0.0.0/0", "::/0"}
_BYTE = re.compile(r"[0-9]{1,3}", re.ASCII)


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, port = split_endpoint(url.endpoint)
    # Upper case and word marks in the names mean nothing: publicKey, public_key, public-key.
    fields = Fields({re.sub("[_-]", "", name.lower()): value for name, value in reversed([*url.query.items()])})
    private = fields.take("privatekey", "secretkey")
    params = {
        "private_key": parse_key(unquote(url.userinfo or "") or private, 32),
        "public_key": parse_key(fields.take("publickey", "peerpublickey"), 32),
        **_read_options(fields),
    }
    return Node(raw, "wireguard", parse_host(host), parse_port(port), url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    query = {
        "publickey": params["public_key"],
        "presharedkey": params.get("preshared_key", ""),
        "address": params["address"],
        "allowedips": params.get("allowed_ips", ""),
        "mtu": params.get("mtu", _MTU),
        "reserved": params.get("reserved", ""),
        "keepalive": params.get("keepalive", ""),
        **node.extra,
    }
    head = f"wireguard://{escape(params['private_key'])}@{join_endpoint(node.server, node.port)}"
    return join(head, query, remark)


def _read_options(fields: Fields) -> dict[str, str]:
    shared = fields.take("presharedkey", "psk")
    allowed = _networks(fields.take("allowedips"))
    mtu = parse_number(fields.take("mtu"))
    addresses = [fields.take("address", "ip", "localaddress"), fields.take("ipv6")]
    return filled(
        preshared_key=parse_key(shared, 32) if shared else "",
        address=_networks(",".join(addresses)) or _ADDRESS,
        allowed_ips="" if set(allowed.split(",")) == _EVERYTHING else allowed,
        mtu="" if mtu == _MTU else mtu,
        reserved=_reserved(fields.take("reserved")),
        keepalive=parse_number(fields.take("keepalive", "persistentkeepalive")),
    )


def _networks(text: str) -> str:
    """A list of addresses, each with the length of its prefix."""
    if "%" in text or text.count(",") > MAX_LIST:
        raise LinkError("bad_address")
    try:
        return ",".join(str(ipaddress.ip_interface(part.strip())) for part in text.split(",") if part.strip())
    except ValueError:
        raise LinkError("bad_address") from None


def _reserved(text: str) -> str:
    """Three bytes as numbers or in base64; three zeros are none."""
    numbers = [part.strip() for part in text.strip("[]").split(",")]
    if len(numbers) == 1 and text:
        numbers = [str(byte) for byte in decode_bytes(text, "bad_reserved")]
    if text and (len(numbers) != 3 or not all(_BYTE.fullmatch(part) and int(part) < 256 for part in numbers)):
        raise LinkError("bad_reserved")
    found = ",".join(str(int(part)) for part in numbers if part)
    return "" if found == "0,0,0" else found

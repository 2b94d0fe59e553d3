"""``wireguard://PRIVATEKEY@host:port?publickey=…#name``, also ``wg://`` with both keys in the query (v2rayN, v2rayNG)."""

import ipaddress
import re
from urllib.parse import unquote

from operations.hosts import join_host_port

from .base64text import decode_bytes, parse_key
from .common import MAX_LIST, Fields, LinkError, Node, escape, filled, join, split
from .hosts import parse_host, parse_port, split_endpoint
from .transports import parse_number

# v2rayNG's default for a link without an address.
_ADDRESS = "172.16.0.2/32"
_PORT = 51820
_EVERYTHING = {"0.0.0.0/0", "::/0"}
_BYTE = re.compile(r"[0-9]{1,3}", re.ASCII)
# Parameters of AmneziaWG: junk before the handshake, and non-standard headers and sizes of messages.
AMNEZIA = (
    "jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4", "i1", "i2", "i3", "i4", "i5", "j1", "j2", "j3",
    "itime",
)  # fmt: skip
# The values of standard WireGuard.
_PLAIN = {"h1": "1", "h2": "2", "h3": "3", "h4": "4"}
_AMNEZIA_NUMBER = re.compile(r"[0-9]{1,10}(?:-[0-9]{1,10})?", re.ASCII)
_AMNEZIA_TEXT = re.compile(r"(?:<[a-z]{1,4}(?: +[0-9a-zA-Zx]+)?> *)+", re.ASCII)


def parse(raw: str, rest: str) -> Node:
    url = split(rest)
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    private = fields.take("privatekey", "secretkey", "pk")
    public = fields.take("publickey", "peerpublickey", "peerpk", "pub")
    params = {
        "private_key": parse_key(unquote(url.userinfo or "") or private, 32),
        "public_key": parse_key(public, 32),
        **_read_options(fields),
        **_read_amnezia(fields),
    }
    port_number = parse_port(port, _PORT)
    return Node(raw, "wireguard", parse_host(host), port_number, url.remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    query = {
        "publickey": params["public_key"],
        "presharedkey": params.get("preshared_key", ""),
        "address": params["address"],
        "allowedips": params.get("allowed_ips", ""),
        "mtu": params.get("mtu", ""),
        "reserved": params.get("reserved", ""),
        "keepalive": params.get("keepalive", ""),
        **{name: params.get(name, "") for name in AMNEZIA},
        **node.extra,
    }
    head = f"wireguard://{escape(params['private_key'])}@{join_host_port(node.server, node.port)}"
    return join(head, query, remark)


def _read_options(fields: Fields) -> dict[str, str]:
    shared = fields.take("presharedkey", "psk")
    allowed = _networks(fields.take("allowedips"))
    addresses = [
        fields.take("address", "localaddress", "addresses", "ip", "ips", "ipv4"),
        fields.take("ipv6"),
    ]
    return filled(
        preshared_key=parse_key(shared, 32) if shared else "",
        address=_networks(",".join(addresses)) or _ADDRESS,
        allowed_ips="" if set(allowed.split(",")) == _EVERYTHING else allowed,
        mtu=parse_number(fields.take("mtu")),
        reserved=_reserved(fields.take("reserved", "clientid")),
        keepalive=parse_number(
            fields.take("keepalive", "persistentkeepalive", "persistentkeepaliveinterval")
        ),
    )


def _read_amnezia(fields: Fields) -> dict[str, str]:
    """The parameters of AmneziaWG. mihomo would refuse the whole list for a wrong value."""
    given = {name: fields.take(name) for name in AMNEZIA}
    found = {name: text for name, text in given.items() if text not in {"", "0", _PLAIN.get(name)}}
    if not all(_is_amnezia(name, text) for name, text in found.items()):
        raise LinkError("bad_number")
    return found


def _is_amnezia(name: str, text: str) -> bool:
    if name[0] in "ij" and name[1:].isdigit():
        return _AMNEZIA_TEXT.fullmatch(text) is not None
    whole = "-" not in text or name[0] == "h"
    return whole and _AMNEZIA_NUMBER.fullmatch(text) is not None


def _networks(text: str) -> str:
    """A list of addresses, each with its prefix length."""
    if "%" in text or text.count(",") > MAX_LIST:
        raise LinkError("bad_address")
    try:
        return ",".join(
            str(ipaddress.ip_interface(re.sub(r"[\[\]]", "", part).strip()))
            for part in text.split(",")
            if part.strip("[] ")
        )
    except ValueError:
        raise LinkError("bad_address") from None


def _reserved(text: str) -> str:
    """Three bytes as numbers or in base64; empty for three zeros or a single zero."""
    text = text.strip("[] ")
    if text == "0":
        return ""
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) == 1 and text:
        numbers = [str(byte) for byte in decode_bytes(text, "bad_reserved")]
    if text and (
        len(numbers) != 3 or not all(_BYTE.fullmatch(part) and int(part) < 256 for part in numbers)
    ):
        raise LinkError("bad_reserved")
    found = ",".join(str(int(part)) for part in numbers if part)
    return "" if found == "0,0,0" else found

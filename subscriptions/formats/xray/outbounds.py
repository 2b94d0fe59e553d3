"""A server as an Xray outbound."""

from collections.abc import Callable

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    cipher_and_password,
    endpoint,
    mtu,
    number,
    only,
    parts,
    reserved_bytes,
    vmess_cipher,
)
from subscriptions.links import Node
from subscriptions.links.wireguard import AMNEZIA

from .streams import json_object, stream, tls

# Parameters of which each means more than plain TCP.
_STREAM = frozenset({"network", "security", "header_type", "fm"})
_CIPHERS = frozenset({
    "none", "aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305",
})  # fmt: skip


def _vless(node: Node) -> Entry:
    given = node.params
    flow = given.get("flow", "")
    if flow and given.get("flow_udp443"):
        flow += "-udp443"
    user = {"id": given["uuid"], "encryption": given.get("encryption", "none"), "flow": flow}
    return _to_user(node, user) | stream(node)


def _vmess(node: Node) -> Entry:
    """Refuses the old MD5 scheme (alterId), which Xray has removed."""
    if number(node.params.get("alter_id"), 1, 65535):
        raise Inexpressible
    return _to_user(
        node, {"id": node.params["uuid"], "alterId": 0, "security": vmess_cipher(node)}
    ) | stream(node)


def _to_user(node: Node, user: Entry) -> Entry:
    server = {"address": node.server, "port": node.port, "users": [only(user)]}
    return {"protocol": node.protocol, "settings": {"vnext": [server]}}


def _trojan(node: Node) -> Entry:
    return _to_server(node, {"password": node.params["password"]}) | stream(node)


def _shadowsocks(node: Node) -> Entry:
    if "plugin" in node.params:
        raise Inexpressible
    cipher, password = cipher_and_password(node, _CIPHERS)
    server = _to_server(node, {"method": cipher, "password": password, "uot": "uot" in node.params})
    return server | (stream(node) if _STREAM & node.params.keys() else {})


def _proxy(node: Node) -> Entry:
    """A SOCKS or HTTP outbound."""
    user = only({"user": node.params.get("username"), "pass": node.params.get("password")})
    return _to_server(node, {"users": [user] if user else []}) | stream(node)


def _to_server(node: Node, more: Entry) -> Entry:
    server = {"address": node.server, "port": node.port} | only(more)
    return {"protocol": node.protocol, "settings": {"servers": [server]}}


def _hysteria2(node: Node) -> Entry:
    """For Xray of 2026 and later. A core that does not hop uses the first port, which every server answers."""
    given = node.params
    obfs = given.get("obfs")
    if (obfs and obfs != "salamander") or given.get("security") == "reality":
        raise Inexpressible
    stream = {
        "network": "hysteria",
        "hysteriaSettings": {"version": 2, "auth": given.get("password", "")},
        "security": "tls",
        "tlsSettings": tls(node) | {"alpn": parts(given.get("alpn")) or ["h3"]},
    }
    if mask := _mask(node):
        stream["finalmask"] = mask
    settings = {"version": 2, "address": node.server, "port": node.port}
    return {"protocol": "hysteria", "settings": settings, "streamSettings": stream}


def _mask(node: Node) -> Entry:
    """The obfuscation password, the ports to hop between and the speeds, added to the link's own mask."""
    given = node.params
    mask: Entry = json_object(given.get("fm"))
    if "obfs" in given:
        disguise = {"type": "salamander", "settings": {"password": given["obfs_password"]}}
        mask["udp"] = [disguise, *mask.get("udp", [])]
    hop = only({"ports": given.get("ports"), "interval": given.get("hop_interval")})
    quic = {
        "udpHop": hop,
        "brutalUp": f"{given['up']} mbps" if "up" in given else "",
        "brutalDown": f"{given['down']} mbps" if "down" in given else "",
    }
    if said := only(quic):
        mask["quicParams"] = mask.get("quicParams", {}) | said
    return mask


def _wireguard(node: Node) -> Entry:
    given = node.params
    if given.keys() & set(AMNEZIA):
        raise Inexpressible
    peer = {
        "endpoint": endpoint(node),
        "publicKey": given["public_key"],
        "preSharedKey": given.get("preshared_key"),
        "allowedIPs": parts(given.get("allowed_ips", "0.0.0.0/0,::/0")),
        "keepAlive": number(given.get("keepalive"), 1, 65_535),
    }
    settings = {
        "secretKey": given["private_key"],
        "address": parts(given.get("address", "172.16.0.2/32")),
        "peers": [only(peer)],
        "mtu": mtu(node),
        "reserved": reserved_bytes(node),
    }
    return {"protocol": "wireguard", "settings": only(settings)}


PROTOCOLS: dict[str, Callable[[Node], Entry]] = {
    "vless": _vless,
    "vmess": _vmess,
    "trojan": _trojan,
    "shadowsocks": _shadowsocks,
    "hysteria2": _hysteria2,
    "wireguard": _wireguard,
    "socks": _proxy,
    "http": _proxy,
}

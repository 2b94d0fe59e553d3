"""A server as an outbound of Xray."""

from collections.abc import Callable

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    cipher_and_password,
    endpoint,
    number,
    only,
    parts,
    reserved_bytes,
    vmess_cipher,
)
from subscriptions.links import Node

from .streams import stream, tls

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
    """Without the old MD5 scheme (alterId), which Xray has given up."""
    if number(node.params.get("alter_id"), 1, 65535):
        raise Inexpressible
    return _to_user(node, {"id": node.params["uuid"], "alterId": 0, "security": vmess_cipher(node)}) | stream(node)


def _to_user(node: Node, user: Entry) -> Entry:
    server = {"address": node.server, "port": node.port, "users": [only(user)]}
    return {"protocol": node.protocol, "settings": {"vnext": [server]}}


def _trojan(node: Node) -> Entry:
    return _to_server(node, {"password": node.params["password"]}) | stream(node)


def _shadowsocks(node: Node) -> Entry:
    if "plugin" in node.params:
        raise Inexpressible
    cipher, password = cipher_and_password(node, _CIPHERS)
    return _to_server(node, {"method": cipher, "password": password, "uot": "uot" in node.params})


def _proxy(node: Node) -> Entry:
    """SOCKS and HTTP."""
    user = only({"user": node.params.get("username"), "pass": node.params.get("password")})
    return _to_server(node, {"users": [user] if user else []}) | stream(node)


def _to_server(node: Node, more: Entry) -> Entry:
    server = {"address": node.server, "port": node.port} | only(more)
    return {"protocol": node.protocol, "settings": {"servers": [server]}}


def _hysteria2(node: Node) -> Entry:
    """Xray of 2026 and later. It gets the first port of a range, which every server answers."""
    given = node.params
    obfs = given.get("obfs")
    if obfs and not (obfs == "salamander" and given.get("obfs_password")):
        raise Inexpressible
    stream = {
        "network": "hysteria",
        "hysteriaSettings": {"version": 2, "auth": given.get("password", "")},
        "security": "tls",
        "tlsSettings": tls(node) | {"alpn": parts(given.get("alpn")) or ["h3"]},
    }
    if obfs:
        mask = {"type": "salamander", "settings": {"password": given["obfs_password"]}}
        stream["finalmask"] = {"udp": [mask]}
    settings = {"version": 2, "address": node.server, "port": node.port}
    return {"protocol": "hysteria", "settings": settings, "streamSettings": stream}


def _wireguard(node: Node) -> Entry:
    given = node.params
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
        "mtu": number(given.get("mtu"), 1280, 9000),
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

"""A server for sing-box, which refuses the whole list for one unknown key or one value out of bounds."""

import re
from collections.abc import Callable

from subscriptions.formats.common import (
    PLUGIN_HOST,
    Entry,
    Inexpressible,
    V2rayPlugin,
    as_v2ray_plugin,
    cipher_and_password,
    mtu,
    number,
    only,
    packet_encoding,
    parts,
    plugin_of,
    refuse_masks,
    refuse_settings,
    refuse_unread,
    reserved_bytes,
    speed,
    v2ray_plugin,
    vmess_cipher,
)
from subscriptions.links import Node
from subscriptions.links.wireguard import AMNEZIA

from .streams import plain_tls, stream, stream_tls

_CIPHERS = frozenset({
    "none", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
    "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr",
    "rc4-md5", "chacha20-ietf", "xchacha20",
    "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305",
})  # fmt: skip
_ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\;:="})
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def entry(node: Node, name: str) -> Entry:
    """An item of ``outbounds``, or of ``endpoints`` for wireguard; raises Inexpressible."""
    refuse_unread(node)
    refuse_masks(node)
    if node.protocol == "wireguard":
        return _wireguard(node, name)
    write = _PROTOCOLS.get(node.protocol)
    if write is None:
        raise Inexpressible
    kind, found = write(node)
    return {"type": kind, "tag": name, "server": node.server, "server_port": node.port} | only(
        found
    )


def _vless(node: Node) -> tuple[str, Entry]:
    given = node.params
    if given.get("encryption"):
        raise Inexpressible
    found = {
        "uuid": given["uuid"],
        "flow": given.get("flow"),
        "packet_encoding": packet_encoding(node),
    }
    return "vless", found | stream(node)


def _vmess(node: Node) -> tuple[str, Entry]:
    given = node.params
    alter_id = number(given.get("alter_id"), 0, 65535) or 0
    found = {
        "uuid": given["uuid"],
        "security": vmess_cipher(node),
        "alter_id": alter_id,
        "packet_encoding": packet_encoding(node),
    }
    return "vmess", found | stream(node)


def _trojan(node: Node) -> tuple[str, Entry]:
    return "trojan", {"password": node.params["password"]} | stream(node)


def _shadowsocks(node: Node) -> tuple[str, Entry]:
    cipher, password = cipher_and_password(node, _CIPHERS)
    found = {"method": cipher, "password": password, "udp_over_tcp": "uot" in node.params}
    return "shadowsocks", found | _plugin(node)


def _plugin(node: Node) -> Entry:
    if given := as_v2ray_plugin(node):
        return _v2ray_plugin(given)
    plugin = plugin_of(node)
    if plugin is None:
        return {}
    if plugin.name == "obfs-local":
        refuse_settings(plugin.options, frozenset({"obfs", "obfs-host"}))
        host = plugin.options.get("obfs-host") or PLUGIN_HOST
        wanted = {"obfs": plugin.options["obfs"], "obfs-host": host}
        return {"plugin": "obfs-local", "plugin_opts": _options(only(wanted))}
    if plugin.name == "v2ray-plugin":
        return _v2ray_plugin(v2ray_plugin(plugin.options))
    raise Inexpressible


def _v2ray_plugin(given: V2rayPlugin) -> Entry:
    """Its TLS accepts only a valid certificate, and its path has no query."""
    if given.insecure or given.upgrade or "?" in given.path or "#" in given.path:
        raise Inexpressible
    wanted = {
        "mode": "websocket",
        "host": given.host,
        "path": given.path,
        "mux": "" if given.mux else "0",
    }
    return {"plugin": "v2ray-plugin", "plugin_opts": _options(only(wanted), tls=given.tls)}


def _options(options: Entry, *, tls: bool = False) -> str:
    """The options as SIP003 writes them, with separators escaped by a backslash."""
    found = [f"{name}={value.translate(_ESCAPES)}" for name, value in options.items()]
    return ";".join(["tls", *found] if tls else found)


def _hysteria(node: Node) -> tuple[str, Entry]:
    given = node.params
    if given.get("transport", "udp") != "udp":
        raise Inexpressible
    return "hysteria", {
        "auth_str": given.get("auth"),
        # Both are required.
        "up_mbps": speed(node, "up"),
        "down_mbps": speed(node, "down"),
        "obfs": given.get("obfs_password"),
        "tls": plain_tls(node),
    } | _hopping(node)


def _hysteria2(node: Node) -> tuple[str, Entry]:
    given = node.params
    obfs = given.get("obfs", "")
    if obfs and not (obfs in {"salamander", "gecko"} and given.get("obfs_password")):
        raise Inexpressible
    return "hysteria2", {
        "password": given.get("password"),
        "obfs": {"type": obfs, "password": given["obfs_password"]} if obfs else None,
        "up_mbps": given.get("up") and speed(node, "up"),
        "down_mbps": given.get("down") and speed(node, "down"),
        "tls": plain_tls(node),
    } | _hopping(node)


def _hopping(node: Node) -> Entry:
    """The ports to hop between. A single port is written as a range."""
    ranges = [part.partition("-") for part in parts(node.params.get("ports"))]
    interval = number(node.params.get("hop_interval"), 5, 86_400)
    return {
        "server_ports": [f"{first}:{last or first}" for first, _, last in ranges],
        "hop_interval": f"{interval}s" if interval and ranges else None,
    }


def _tuic(node: Node) -> tuple[str, Entry]:
    given = node.params
    if not _UUID.fullmatch(given["uuid"]):
        raise Inexpressible
    congestion, relay = given.get("congestion_control"), given.get("udp_relay_mode")
    security = plain_tls(node)
    # Unlike other cores sing-box offers no ALPN by default, and most servers then close the connection.
    security.setdefault("alpn", ["h3"])
    return "tuic", {
        "uuid": given["uuid"],
        "password": given.get("password"),
        "congestion_control": congestion if congestion in {"cubic", "new_reno", "bbr"} else None,
        "udp_relay_mode": relay if relay in {"native", "quic"} else None,
        "zero_rtt_handshake": "reduce_rtt" in given,
        "tls": security,
    }


def _wireguard(node: Node, name: str) -> Entry:
    given = node.params
    if given.keys() & set(AMNEZIA):
        raise Inexpressible
    peer = {
        "address": node.server,
        "port": node.port,
        "public_key": given["public_key"],
        "pre_shared_key": given.get("preshared_key"),
        "allowed_ips": parts(given.get("allowed_ips", "0.0.0.0/0,::/0")),
        "persistent_keepalive_interval": number(given.get("keepalive"), 1, 65_535),
        "reserved": reserved_bytes(node),
    }
    own = {
        "address": parts(given.get("address", "172.16.0.2/32")),
        "private_key": given["private_key"],
        "mtu": mtu(node),
        "peers": [only(peer)],
    }
    return {"type": "wireguard", "tag": name} | only(own)


def _socks(node: Node) -> tuple[str, Entry]:
    if "security" in node.params:
        raise Inexpressible
    found = {"username": node.params.get("username"), "password": node.params.get("password")}
    return "socks", {"version": "5"} | found


def _http(node: Node) -> tuple[str, Entry]:
    found = {"username": node.params.get("username"), "password": node.params.get("password")}
    return "http", found | {"tls": plain_tls(node)}


def _anytls(node: Node) -> tuple[str, Entry]:
    return "anytls", {"password": node.params["password"], "tls": stream_tls(node)}


_PROTOCOLS: dict[str, Callable[[Node], tuple[str, Entry]]] = {
    "vless": _vless,
    "vmess": _vmess,
    "trojan": _trojan,
    "shadowsocks": _shadowsocks,
    "hysteria": _hysteria,
    "hysteria2": _hysteria2,
    "tuic": _tuic,
    "socks": _socks,
    "http": _http,
    "anytls": _anytls,
}
PROTOCOLS = frozenset(_PROTOCOLS) | {"wireguard"}

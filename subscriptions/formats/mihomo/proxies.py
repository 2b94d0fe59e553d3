"""A server as mihomo's ``proxies`` have it. It refuses the whole list for one that it does not like."""

from collections.abc import Callable

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    Options,
    Plugin,
    cipher_and_password,
    fingerprint_of,
    number,
    only,
    packet_encoding,
    parts,
    plugin_of,
    reserved_bytes,
    server_name,
    v2ray_plugin,
    vmess_cipher,
)
from subscriptions.links import Node

from .streams import plain_tls, quic_tls, stream_tls, transport

_CIPHERS = frozenset({
    "none", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "aes-128-ccm", "aes-192-ccm", "aes-256-ccm",
    "aes-128-gcm-siv", "aes-256-gcm-siv", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
    "chacha8-ietf-poly1305", "xchacha8-ietf-poly1305", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb",
    "aes-128-ctr", "aes-192-ctr", "aes-256-ctr", "rc4-md5", "chacha20", "chacha20-ietf", "xchacha20",
    "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305",
    "2022-blake3-aes-128-ccm", "2022-blake3-aes-256-ccm",
})  # fmt: skip
_SSR_CIPHERS = frozenset({
    "none", "dummy", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr",
    "rc4-md5", "chacha20", "chacha20-ietf", "xchacha20",
})  # fmt: skip
_SSR_PROTOCOLS = frozenset(
    {"origin", "auth_sha1_v4", "auth_aes128_md5", "auth_aes128_sha1", "auth_chain_a", "auth_chain_b"}
)
_SSR_OBFS = frozenset(
    {"plain", "http_simple", "http_post", "random_head", "tls1.2_ticket_auth", "tls1.2_ticket_fastauth"}
)


def entry(node: Node, name: str) -> Entry:
    """An item of ``proxies``; raises Inexpressible."""
    write = _PROTOCOLS.get(node.protocol)
    if write is None:
        raise Inexpressible
    kind, found = write(node)
    return {"name": name, "type": kind, "server": node.server, "port": node.port, "udp": True} | only(found)


def _vless(node: Node) -> tuple[str, Entry]:
    given = node.params
    flow = given.get("flow", "")
    if flow and given.get("flow_udp443"):
        flow += "-udp443"
    found = {
        "uuid": given["uuid"],
        "encryption": given.get("encryption"),
        "flow": flow,
        "packet-encoding": packet_encoding(node),
    }
    return "vless", found | stream_tls(node) | transport(node)


def _vmess(node: Node) -> tuple[str, Entry]:
    given = node.params
    found = {
        "uuid": given["uuid"],
        # Not left out when 0: mihomo wants it.
        "alterId": number(given.get("alter_id"), 0, 65535) or 0,
        "cipher": vmess_cipher(node),
        "packet-encoding": packet_encoding(node),
    }
    return "vmess", found | stream_tls(node) | transport(node)


def _trojan(node: Node) -> tuple[str, Entry]:
    if not node.params.get("security") or node.params.get("network", "tcp") in {"http", "xhttp"}:
        raise Inexpressible
    # The same keys as vless, but TLS is a matter of course, and the name is called sni.
    tls = stream_tls(node)
    del tls["tls"]
    return "trojan", {"password": node.params["password"], "sni": tls.pop("servername")} | tls | transport(node)


def _shadowsocks(node: Node) -> tuple[str, Entry]:
    cipher, password = cipher_and_password(node, _CIPHERS)
    # Not left out when empty: mihomo wants it.
    found = {"cipher": cipher, "password": password or "none", "udp-over-tcp": "uot" in node.params}
    return "ss", found | _plugin(plugin_of(node))


def _plugin(plugin: Plugin | None) -> Entry:
    if plugin is None:
        return {}
    write = _PLUGINS.get(plugin.name)
    if write is None:
        raise Inexpressible
    name, options = write(plugin.options)
    return {"plugin": name, "plugin-opts": options}


def _obfs(options: Options) -> tuple[str, Entry]:
    return "obfs", only({"mode": options["obfs"], "host": options.get("obfs-host")})


def _v2ray_plugin(options: Options) -> tuple[str, Entry]:
    given = v2ray_plugin(options)
    found = {
        "mode": "websocket",
        "tls": given.tls,
        "host": given.host,
        "path": given.path,
        "skip-cert-verify": "insecure" in options or "skip-cert-verify" in options,
    }
    # Not left out when off: mihomo would have it on.
    return "v2ray-plugin", only(found) | {"mux": given.mux}


def _shadow_tls(options: Options) -> tuple[str, Entry]:
    version = number(options.get("version", "2"), 1, 3)
    if not version or not options.get("host"):
        raise Inexpressible
    found = {"host": options["host"], "password": options.get("password"), "version": version}
    return "shadow-tls", only(found)


def _ssr(node: Node) -> tuple[str, Entry]:
    given = node.params
    protocol, obfs = given.get("ssr_protocol", "origin"), given.get("obfs", "plain")
    if given["method"] not in _SSR_CIPHERS or protocol not in _SSR_PROTOCOLS or obfs not in _SSR_OBFS:
        raise Inexpressible
    return "ssr", {
        "cipher": given["method"],
        "password": given["password"],
        "protocol": protocol,
        "protocol-param": given.get("ssr_protocol_param"),
        "obfs": obfs,
        "obfs-param": given.get("obfs_param"),
    }


def _hysteria(node: Node) -> tuple[str, Entry]:
    given = node.params
    transport = given.get("transport", "udp")
    if transport not in {"udp", "wechat-video", "faketcp"}:
        raise Inexpressible
    return "hysteria", {
        "auth-str": given.get("auth"),
        # Both are a must.
        "up": str(number(given.get("up"), 1, 100_000) or 10),
        "down": str(number(given.get("down"), 1, 100_000) or 50),
        "obfs": given.get("obfs_password"),
        "protocol": transport,
        "ports": given.get("ports"),
        "hop-interval": number(given.get("hop_interval"), 1, 86_400),
    } | quic_tls(node)


def _hysteria2(node: Node) -> tuple[str, Entry]:
    given = node.params
    obfs = given.get("obfs", "")
    if obfs and not (obfs in {"salamander", "gecko"} and given.get("obfs_password")):
        raise Inexpressible
    return "hysteria2", {
        "password": given.get("password"),
        "obfs": obfs,
        "obfs-password": given.get("obfs_password"),
        "ports": given.get("ports"),
        "hop-interval": number(given.get("hop_interval"), 1, 86_400),
    } | quic_tls(node)


def _tuic(node: Node) -> tuple[str, Entry]:
    given = node.params
    return "tuic", {
        "uuid": given["uuid"],
        "password": given["password"],
        "congestion-controller": given.get("congestion_control"),
        "udp-relay-mode": given.get("udp_relay_mode"),
        "reduce-rtt": "reduce_rtt" in given,
        "disable-sni": "disable_sni" in given,
    } | quic_tls(node)


def _wireguard(node: Node) -> tuple[str, Entry]:
    given = node.params
    addresses = parts(given.get("address", "172.16.0.2/32"))
    return "wireguard", {
        "private-key": given["private_key"],
        "public-key": given["public_key"],
        "pre-shared-key": given.get("preshared_key"),
        "ip": next((address for address in addresses if ":" not in address), None),
        "ipv6": next((address for address in addresses if ":" in address), None),
        "allowed-ips": parts(given.get("allowed_ips", "0.0.0.0/0,::/0")),
        "reserved": reserved_bytes(node),
        "mtu": number(given.get("mtu"), 1280, 9000),
        "persistent-keepalive": number(given.get("keepalive"), 1, 65_535),
    }


def _socks(node: Node) -> tuple[str, Entry]:
    return "socks5", {"username": node.params.get("username"), "password": node.params.get("password")} | plain_tls(
        node
    )


def _http(node: Node) -> tuple[str, Entry]:
    found = {"username": node.params.get("username"), "password": node.params.get("password")}
    return "http", found | plain_tls(node) | {"sni": server_name(node)}


def _anytls(node: Node) -> tuple[str, Entry]:
    if node.params.get("security") == "reality":
        raise Inexpressible
    found = {"password": node.params["password"], "client-fingerprint": fingerprint_of(node)}
    return "anytls", found | quic_tls(node)


_PLUGINS: dict[str, Callable[[Options], tuple[str, Entry]]] = {
    "obfs-local": _obfs,
    "v2ray-plugin": _v2ray_plugin,
    "shadow-tls": _shadow_tls,
}
_PROTOCOLS: dict[str, Callable[[Node], tuple[str, Entry]]] = {
    "vless": _vless,
    "vmess": _vmess,
    "trojan": _trojan,
    "shadowsocks": _shadowsocks,
    "ssr": _ssr,
    "hysteria": _hysteria,
    "hysteria2": _hysteria2,
    "tuic": _tuic,
    "wireguard": _wireguard,
    "socks": _socks,
    "http": _http,
    "anytls": _anytls,
}

"""A server as an item of mihomo's ``proxies``. mihomo refuses the whole list if one item is not valid."""

from collections.abc import Callable, Sequence

from subscriptions.formats.common import (
    PLUGIN_HOST,
    Entry,
    Inexpressible,
    Options,
    Plugin,
    V2rayPlugin,
    as_v2ray_plugin,
    cipher_and_password,
    fingerprint_of,
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

from .streams import plain_tls, quic_tls, stream_tls, transport

_CIPHERS = frozenset({
    "none", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "aes-128-ccm", "aes-192-ccm", "aes-256-ccm",
    "aes-128-gcm-siv", "aes-256-gcm-siv", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
    "chacha8-ietf-poly1305", "xchacha8-ietf-poly1305", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb",
    "aes-128-ctr", "aes-192-ctr", "aes-256-ctr", "rc4-md5", "chacha20", "chacha20-ietf", "xchacha20",
    "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305",
    "2022-blake3-aes-128-ccm", "2022-blake3-aes-256-ccm",
})  # fmt: skip
_LEAST_OF_IPV6 = 1280
_SSR_CIPHERS = frozenset({
    "none", "dummy", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr",
    "rc4-md5", "chacha20", "chacha20-ietf", "xchacha20",
})  # fmt: skip
_SSR_PROTOCOLS = frozenset(
    {
        "origin",
        "auth_sha1_v4",
        "auth_aes128_md5",
        "auth_aes128_sha1",
        "auth_chain_a",
        "auth_chain_b",
    }
)
_SSR_OBFS = frozenset(
    {
        "plain",
        "http_simple",
        "http_post",
        "random_head",
        "tls1.2_ticket_auth",
        "tls1.2_ticket_fastauth",
    }
)


def entry(node: Node, name: str) -> Entry:
    """An item of ``proxies``; raises Inexpressible."""
    write = _PROTOCOLS.get(node.protocol)
    if write is None:
        raise Inexpressible
    refuse_unread(node)
    refuse_masks(node)
    kind, found = write(node)
    return {
        "name": name,
        "type": kind,
        "server": node.server,
        "port": node.port,
        "udp": True,
    } | only(found)


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
        # mihomo requires it even if it is 0.
        "alterId": number(given.get("alter_id"), 0, 65535) or 0,
        "cipher": vmess_cipher(node),
        "packet-encoding": packet_encoding(node),
    }
    return "vmess", found | stream_tls(node) | transport(node)


def _trojan(node: Node) -> tuple[str, Entry]:
    if not node.params.get("security") or node.params.get("network", "tcp") in {"http", "xhttp"}:
        raise Inexpressible
    # The same keys as vless, but TLS is implied, and the name is called sni.
    tls = stream_tls(node)
    del tls["tls"]
    return "trojan", {
        "password": node.params["password"],
        "sni": tls.pop("servername"),
    } | tls | transport(node)


def _shadowsocks(node: Node) -> tuple[str, Entry]:
    cipher, password = cipher_and_password(node, _CIPHERS)
    # mihomo requires it even if it is empty.
    found: Entry = {"cipher": cipher, "password": password or "none"}
    if "uot" in node.params:
        version = int(node.params["uot"])
        found |= {"udp-over-tcp": True, "udp-over-tcp-version": version if version > 1 else None}
    if given := as_v2ray_plugin(node):
        return "ss", found | {"plugin": "v2ray-plugin", "plugin-opts": _v2ray_options(given)}
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
    refuse_settings(options, frozenset({"obfs", "obfs-host"}))
    return "obfs", {"mode": options["obfs"], "host": options.get("obfs-host") or PLUGIN_HOST}


def _v2ray_plugin(options: Options) -> tuple[str, Entry]:
    return "v2ray-plugin", _v2ray_options(v2ray_plugin(options))


def _v2ray_options(given: V2rayPlugin) -> Entry:
    found = {
        "mode": "websocket",
        "tls": given.tls,
        "host": given.host,
        "path": given.path,
        "skip-cert-verify": given.insecure,
        "v2ray-http-upgrade": given.upgrade,
    }
    # Written even if it is off, because mihomo's default is on.
    return only(found) | {"mux": given.mux}


def _shadow_tls(options: Options) -> tuple[str, Entry]:
    refuse_settings(options, frozenset({"host", "password", "version"}))
    version = number(options.get("version", "2"), 1, 3)
    if not version or not options.get("host"):
        raise Inexpressible
    found = {"host": options["host"], "password": options.get("password"), "version": version}
    return "shadow-tls", only(found)


def _ssr(node: Node) -> tuple[str, Entry]:
    given = node.params
    protocol, obfs = given.get("ssr_protocol", "origin"), given.get("obfs", "plain")
    if (
        given["method"] not in _SSR_CIPHERS
        or protocol not in _SSR_PROTOCOLS
        or obfs not in _SSR_OBFS
    ):
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
        # Both are required.
        "up": str(speed(node, "up")),
        "down": str(speed(node, "down")),
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
        "up": given.get("up") and str(speed(node, "up")),
        "down": given.get("down") and str(speed(node, "down")),
        "ports": given.get("ports"),
        "hop-interval": given.get("hop_interval"),
    } | quic_tls(node)


def _tuic(node: Node) -> tuple[str, Entry]:
    given = node.params
    return "tuic", {
        "uuid": given["uuid"],
        "password": given.get("password"),
        "congestion-controller": given.get("congestion_control"),
        "udp-relay-mode": given.get("udp_relay_mode"),
        "reduce-rtt": "reduce_rtt" in given,
        "disable-sni": "disable_sni" in given,
    } | quic_tls(node)


def _wireguard(node: Node) -> tuple[str, Entry]:
    given = node.params
    addresses = parts(given.get("address", "172.16.0.2/32"))
    v4, v6 = _of_family(addresses, v6=False), _of_family(addresses, v6=True)
    size = mtu(node)
    # mihomo refuses the list if packets are too small for IPv6.
    if v6 and size and size < _LEAST_OF_IPV6:
        raise Inexpressible
    return "wireguard", {
        "private-key": given["private_key"],
        "public-key": given["public_key"],
        "pre-shared-key": given.get("preshared_key"),
        "ip": v4,
        "ipv6": v6,
        "allowed-ips": parts(given.get("allowed_ips", "0.0.0.0/0,::/0")),
        "reserved": reserved_bytes(node),
        "mtu": size,
        "persistent-keepalive": number(given.get("keepalive"), 1, 65_535),
        "amnezia-wg-option": _amnezia(node),
    }


def _of_family(addresses: Sequence[str], *, v6: bool) -> str | None:
    """The first address of a family, because mihomo has one key per family."""
    found = [address for address in addresses if (":" in address) == v6]
    if len(found) > 1:
        raise Inexpressible
    return found[0] if found else None


def _amnezia(node: Node) -> Entry:
    """Numbers as numbers; mihomo reads ranges and packets as texts."""
    given = {name: node.params[name] for name in AMNEZIA if name in node.params}
    return {name: int(text) if text.isdigit() else text for name, text in given.items()}


def _socks(node: Node) -> tuple[str, Entry]:
    """Over TLS the certificate must have the server's own name, because mihomo has no option for another one."""
    found = {"username": node.params.get("username"), "password": node.params.get("password")}
    tls = plain_tls(node)
    if tls and tls.pop("sni") not in {"", node.server}:
        raise Inexpressible
    return "socks5", found | tls


def _http(node: Node) -> tuple[str, Entry]:
    found = {"username": node.params.get("username"), "password": node.params.get("password")}
    return "http", found | plain_tls(node)


def _anytls(node: Node) -> tuple[str, Entry]:
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

"""An item of ``outbounds`` or ``endpoints`` in sing-box's configuration. Source: sing-box.sagernet.org/configuration."""

import re
from collections.abc import Callable
from typing import Any

from subscriptions.links import LinkError, Node, plugins
from subscriptions.links.hysteria import speed_of

from . import sing_box_streams
from .settings import ReadError, Settings, node_of, one

# Outbounds that are not servers.
NOT_SERVERS = frozenset({"direct", "block", "dns", "selector", "urltest", "bond", "fallback"})
# What the app does by itself: the server takes connections with and without it.
_OPTIONAL = (
    "bind_interface", "inet4_bind_address", "inet6_bind_address", "bind_address_no_port", "routing_mark", "reuse_addr",
    "netns", "connect_timeout", "tcp_fast_open", "tcp_multi_path", "udp_fragment", "udp_timeout", "domain_resolver",
    "network_strategy", "network_type", "fallback_network_type", "fallback_delay", "domain_strategy", "multiplex",
    "network", "disable_tcp_keep_alive", "tcp_keep_alive", "tcp_keep_alive_interval", "global_padding",
    "authenticated_length", "recv_window_conn", "recv_window", "disable_mtu_discovery", "brutal_debug", "heartbeat",
    "idle_session_check_interval", "idle_session_timeout", "min_idle_session", "system", "name", "system_interface",
    "interface_name", "gso", "workers", "on_demand", "bbr_profile",
)  # fmt: skip
_SECONDS = re.compile(r"([1-9][0-9]{0,4})s", re.ASCII)


def read(value: Any) -> Node:
    """Raises ReadError."""
    entry = Settings(value)
    reader = _READERS.get(entry.word("type"))
    if reader is None:
        raise ReadError("unsupported")
    if entry.has("detour"):
        raise ReadError("chained")
    name, server = entry.take("tag"), entry.text("server")
    port = entry.number("server_port")
    protocol, params = reader(entry, server)
    if protocol == "wireguard":
        server, port = params.pop("server") or server, int(params.pop("port") or port)
    entry.ignore(*_OPTIONAL, "detour")
    entry.done()
    if not port and params.get("ports"):
        port = int(params["ports"].replace("-", ",").partition(",")[0])
    return node_of(protocol, server, port, name if isinstance(name, str) else "", params)


def name_of(value: Any) -> str:
    """The name of an entry that cannot be read."""
    tag = value.get("tag") if isinstance(value, dict) else ""
    return tag if isinstance(tag, str) else ""


def _vless(entry: Settings, server: str) -> tuple[str, dict[str, str]]:
    packets = entry.take("packet_encoding")
    # Without it sing-box uses XUDP, as links do.
    encoding = {None: "", "xudp": "", "": "none"}.get(packets, packets)
    params = {"uuid": entry.text("uuid"), "flow": entry.word("flow"), "packet_encoding": encoding}
    return "vless", params | sing_box_streams.read(entry, server)


def _vmess(entry: Settings, server: str) -> tuple[str, dict[str, str]]:
    cipher, alter_id = entry.word("security"), entry.number("alter_id")
    params = {
        "uuid": entry.text("uuid"),
        "cipher": "" if cipher == "auto" else cipher,
        "alter_id": str(alter_id or ""),
        "packet_encoding": entry.word("packet_encoding"),
    }
    return "vmess", params | sing_box_streams.read(entry, server)


def _trojan(entry: Settings, server: str) -> tuple[str, dict[str, str]]:
    return "trojan", {"password": entry.text("password")} | sing_box_streams.read(entry, server)


def _shadowsocks(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    return "shadowsocks", {
        "method": entry.word("method"),
        "password": entry.text("password"),
        "uot": _udp_over_tcp(entry),
        "plugin": _plugin(entry),
    }


def _udp_over_tcp(entry: Settings) -> str:
    """A switch, or an object. Its default version is the second, that of a link is not told."""
    value = entry.take("udp_over_tcp")
    if not isinstance(value, dict):
        return "1" if Settings({"on": value}).switch("on") else ""
    options = Settings(value)
    enabled, version = options.switch("enabled"), options.number("version") or 2
    options.done()
    return str(version) if enabled else ""


def _plugin(entry: Settings) -> str:
    kind, options = entry.text("plugin"), entry.text("plugin_opts")
    if not kind:
        return ""
    if kind not in {"obfs-local", "v2ray-plugin"}:
        raise ReadError("bad_plugin")
    try:
        found = plugins.parse(f"{kind};{options}")
    except LinkError as error:
        raise ReadError(error.code) from None
    # The default of the core is not that of a link.
    if not plugins.settings(found).get("host" if kind == "v2ray-plugin" else "obfs-host"):
        raise ReadError("inexact")
    return found


def _hysteria(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    obfs = entry.text("obfs")
    if entry.has("auth"):
        raise ReadError("inexact")
    return "hysteria", {
        "auth": entry.text("auth_str"),
        "obfs": "xplus" if obfs else "",
        "obfs_password": obfs,
        **_speeds(entry),
        **_hops(entry),
        **sing_box_streams.over_quic(entry),
    }


def _hysteria2(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    obfs = entry.part("obfs")
    return "hysteria2", {
        "password": entry.text("password"),
        "obfs": obfs.word("type"),
        "obfs_password": obfs.text("password"),
        **_speeds(entry),
        **_hops(entry),
        **sing_box_streams.over_quic(entry),
    }


def _speeds(entry: Settings) -> dict[str, str]:
    """In Mbit/s as a number, or as a text with a unit."""
    found = {}
    for name in ("up", "down"):
        text = str(entry.number(f"{name}_mbps") or "") or entry.word(name)
        found[name] = speed_of(text)
        if text and not found[name]:
            raise ReadError("bad_speed")
    return found


def _hops(entry: Settings) -> dict[str, str]:
    """sing-box hops every 30 seconds by itself. A link has whole seconds."""
    interval = entry.word("hop_interval")
    seconds = _SECONDS.fullmatch(interval)
    if interval and not seconds:
        raise ReadError("inexact")
    ranges = [_range(text) for text in entry.texts("server_ports")]
    return {"ports": ",".join(ranges), "hop_interval": seconds[1] if seconds and ranges else ""}


def _range(text: str) -> str:
    first, _, last = text.partition(":")
    return first if first == last else f"{first}-{last}"


def _tuic(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    control, relay = entry.word("congestion_control"), entry.word("udp_relay_mode")
    return "tuic", {
        "uuid": entry.text("uuid"),
        "password": entry.text("password"),
        "congestion_control": "" if control == "cubic" else control,
        "udp_relay_mode": "" if relay == "native" else relay,
        "reduce_rtt": "1" if entry.switch("zero_rtt_handshake") else "",
        **sing_box_streams.over_quic(entry),
    }


def _wireguard(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    """An endpoint with one peer, or the outbound of versions before 1.13."""
    found = {
        "private_key": entry.text("private_key"),
        "address": entry.listed("address", "local_address"),
        "mtu": str(entry.number("mtu") or ""),
    }
    if not entry.has("peers"):
        return "wireguard", found | {"server": "", "port": ""} | _old_peer(entry)
    peer = Settings(one(entry.take("peers")))
    found |= {
        "server": peer.text("address", "server"),
        "port": str(peer.number("port", "server_port")),
        "public_key": peer.text("public_key"),
        "preshared_key": peer.text("pre_shared_key"),
        "allowed_ips": _networks(peer.listed("allowed_ips")),
        "keepalive": str(peer.number("persistent_keepalive_interval") or ""),
        "reserved": peer.listed("reserved"),
    }
    peer.done()
    return "wireguard", found


def _old_peer(entry: Settings) -> dict[str, str]:
    return {
        "public_key": entry.text("peer_public_key"),
        "preshared_key": entry.text("pre_shared_key"),
        "reserved": entry.listed("reserved"),
    }


def _networks(allowed: str) -> str:
    """Everything is the default of a link; nothing would make the tunnel useless."""
    if not allowed:
        raise ReadError("inexact")
    return "" if set(allowed.split(",")) == {"0.0.0.0/0", "::/0"} else allowed


def _socks(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    if entry.text("version") not in {"", "5"}:
        raise ReadError("inexact")
    return "socks", _user(entry)


def _http(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    return "http", _user(entry) | sing_box_streams.tls(entry.part("tls"))


def _user(entry: Settings) -> dict[str, str]:
    return {"username": entry.text("username"), "password": entry.text("password")}


def _anytls(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    return "anytls", {"password": entry.text("password")} | sing_box_streams.over_tls(entry)


_READERS: dict[str, Callable[[Settings, str], tuple[str, dict[str, str]]]] = {
    "vless": _vless,
    "vmess": _vmess,
    "trojan": _trojan,
    "shadowsocks": _shadowsocks,
    "hysteria": _hysteria,
    "hysteria2": _hysteria2,
    "tuic": _tuic,
    "wireguard": _wireguard,
    "socks": _socks,
    "http": _http,
    "anytls": _anytls,
}

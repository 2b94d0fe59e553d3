"""An item of ``proxies`` in the configuration of mihomo and other Clash cores. Source: wiki.metacubex.one/config/proxies."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from subscriptions.links import Node, plugins
from subscriptions.links.hysteria import speed_of
from subscriptions.links.wireguard import AMNEZIA

from . import clash_streams
from .settings import ReadError, Settings, fingerprint, node_of

# Not servers, and groups.
NOT_SERVERS = frozenset({"direct", "reject", "reject-drop", "dns", "pass", "rematch"})
# What the app does by itself: the server takes connections with and without it.
_OPTIONAL = (
    "udp", "tfo", "mptcp", "ip-version", "interface-name", "routing-mark", "smux", "fast-open", "benchmark-url",
    "benchmark-timeout", "global-padding", "authenticated-length", "disable-mtu-discovery", "recv-window-conn",
    "recv-window", "initial-stream-receive-window", "max-stream-receive-window", "initial-connection-receive-window",
    "max-connection-receive-window", "max-open-streams", "cwnd", "heartbeat-interval", "request-timeout", "max-idle-time",
    "max-udp-relay-packet-size", "idle-session-check-interval", "idle-session-timeout", "min-idle-session", "bbr-profile",
    "remote-dns-resolve", "dns", "refresh-server-ip-interval", "workers", "xudp", "tls-fragment",
)  # fmt: skip
# mihomo's default; that of links is another one.
_PLUGIN_HOST = "bing.com"
_PLUGIN_NAMES = {"obfs": "obfs-local", "v2ray-plugin": "v2ray-plugin", "shadow-tls": "shadow-tls"}


def read(value: Any) -> Node:
    """Raises ReadError."""
    entry = Settings(value)
    kind = entry.word("type")
    reader = _READERS.get(kind)
    if reader is None:
        raise ReadError("unsupported")
    if entry.has("dialer-proxy"):
        raise ReadError("chained")
    name = entry.take("name")
    server, port = entry.text("server"), entry.number("port")
    protocol, params = reader(entry, server)
    entry.ignore(*_OPTIONAL, "dialer-proxy")
    entry.done()
    # Without a port it is the first one to hop between.
    if not port and params.get("ports", "")[:1].isdigit():
        port = int(params["ports"].replace("-", ",").partition(",")[0])
    return node_of(protocol, server, port, name if isinstance(name, str) else "", params)


def _vless(entry: Settings, server: str) -> tuple[str, dict[str, str]]:
    flow, encryption = entry.word("flow"), entry.text("encryption")
    params = {
        "uuid": entry.text("uuid"),
        "flow": flow.removesuffix("-udp443"),
        "flow_udp443": "1" if flow.endswith("-udp443") else "",
        "encryption": "" if encryption == "none" else encryption,
        # Without it mihomo uses XUDP, as links do.
        "packet_encoding": _packets(entry, default="xudp"),
    }
    return "vless", params | clash_streams.read(entry, server, "vless")


def _vmess(entry: Settings, server: str) -> tuple[str, dict[str, str]]:
    alter_id, cipher = entry.number("alterId"), entry.word("cipher")
    params = {
        "uuid": entry.text("uuid"),
        "alter_id": str(alter_id or ""),
        "cipher": "" if cipher == "auto" else cipher,
        "packet_encoding": _packets(entry, default=""),
    }
    return "vmess", params | clash_streams.read(entry, server, "vmess")


def _packets(entry: Settings, default: str) -> str:
    """The encoding of UDP packets; empty for the default of a link, which is that of the core."""
    text, is_address = entry.word("packet-encoding"), entry.switch("packet-addr")
    if text not in {"", "xudp", "packet", "packetaddr", "none"}:
        raise ReadError("inexact")
    found = "packetaddr" if text.startswith("packet") or is_address else text
    return "" if found in {default, "none"} else found


def _trojan(entry: Settings, server: str) -> tuple[str, dict[str, str]]:
    if entry.part("ss-opts").switch("enabled"):
        raise ReadError("inexact")
    password = entry.text("password")
    return "trojan", {"password": password} | clash_streams.read(entry, server, "trojan")


def _shadowsocks(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    method = entry.word("cipher")
    password, uot = entry.text("password"), entry.switch("udp-over-tcp")
    version = entry.number("udp-over-tcp-version")
    params = {
        "method": method,
        "password": "" if method == password == "none" else password,
        "uot": ("2" if version == 2 else "1") if uot else "",
    }
    return "shadowsocks", params | _plugin(entry)


def _plugin(entry: Settings) -> dict[str, str]:
    kind, options = entry.text("plugin"), entry.part("plugin-opts")
    if not kind:
        return {}
    if kind not in _PLUGINS:
        raise ReadError("bad_plugin")
    found = _PLUGINS[kind](options)
    if kind == "shadow-tls":
        entry.ignore("client-fingerprint")
    if "network" in found:
        return {name: value for name, value in found.items() if value}
    given = {name: value for name, value in found.items() if value != ""}
    return {"plugin": plugins.written(_PLUGIN_NAMES[kind], given)}


def _obfs(options: Settings) -> dict[str, str | None]:
    return {"obfs": options.word("mode"), "obfs-host": options.text("host") or _PLUGIN_HOST}


def _v2ray_plugin(options: Settings) -> Any:
    """Settings of the plugin; with HTTPUpgrade those of the transport that equals it."""
    if options.word("mode") != "websocket":
        raise ReadError("bad_plugin")
    host, path = options.text("host") or _PLUGIN_HOST, options.text("path")
    is_tls, insecure = options.switch("tls"), options.switch("skip-cert-verify")
    mux, upgrade = options.take("mux"), options.switch("v2ray-http-upgrade")
    options.ignore("v2ray-http-upgrade-fast-open")
    if mux not in (None, True, False) or (upgrade and mux is not False):
        raise ReadError("inexact")
    if upgrade:
        return {
            "network": "httpupgrade", "host": host, "path": "" if path == "/" else path,
            "security": "tls" if is_tls else "", "insecure": "1" if insecure else "",
        }  # fmt: skip
    found: dict[str, str | None] = {"mode": "websocket", "host": host, "path": path}
    found |= {"tls": None} if is_tls else {}
    found |= {"skip-cert-verify": None} if insecure else {}
    return found | ({"mux": "0"} if mux is False else {})


def _shadow_tls(options: Settings) -> dict[str, str | None]:
    version = options.number("version") or 2
    return {
        "host": options.text("host"),
        "password": options.text("password"),
        "version": str(version),
    }


def _ssr(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    return "ssr", {
        "method": entry.word("cipher"),
        "password": entry.text("password"),
        "ssr_protocol": entry.word("protocol") or "origin",
        "ssr_protocol_param": entry.text("protocol-param"),
        "obfs": entry.word("obfs") or "plain",
        "obfs_param": entry.text("obfs-param"),
    }


def _hysteria(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    obfs, transport = entry.text("obfs"), entry.word("protocol")
    return "hysteria", {
        "auth": entry.text("auth-str", "auth_str"),
        "up": _speed(entry, "up"),
        "down": _speed(entry, "down"),
        "obfs": "xplus" if obfs else "",
        "obfs_password": obfs,
        "transport": "" if transport == "udp" else transport,
        **_hops(entry),
        **clash_streams.tls_alone(entry),
    }


def _hysteria2(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    obfs, password = entry.word("obfs"), entry.text("obfs-password")
    return "hysteria2", {
        "password": entry.text("password"),
        "obfs": obfs,
        "obfs_password": password if obfs else "",
        "up": _speed(entry, "up"),
        "down": _speed(entry, "down"),
        **_hops(entry),
        **clash_streams.tls_alone(entry),
    }


def _speed(entry: Settings, name: str) -> str:
    text = entry.word(name)
    speed = speed_of(text)
    if text.strip("0") and not speed:
        raise ReadError("bad_speed")
    return speed


def _hops(entry: Settings) -> dict[str, str]:
    return {
        "ports": entry.text("ports").replace(" ", "").replace("/", ","),
        "hop_interval": entry.text("hop-interval"),
    }


def _tuic(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    control, relay = entry.word("congestion-controller"), entry.word("udp-relay-mode")
    return "tuic", {
        "uuid": entry.text("uuid"),
        "password": entry.text("password"),
        "congestion_control": "" if control == "cubic" else control,
        "udp_relay_mode": "" if relay == "native" else relay,
        "reduce_rtt": "1" if entry.switch("reduce-rtt") else "",
        **clash_streams.tls_alone(entry),
    }


def _wireguard(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    junk = entry.part("amnezia-wg-option")
    allowed = entry.listed("allowed-ips")
    return "wireguard", {
        "private_key": entry.text("private-key"),
        "public_key": entry.text("public-key"),
        "preshared_key": entry.text("pre-shared-key", "preshared-key"),
        "address": ",".join(filter(None, [entry.text("ip"), entry.text("ipv6")])),
        "allowed_ips": "" if set(allowed.split(",")) == {"0.0.0.0/0", "::/0"} else allowed,
        "reserved": entry.listed("reserved"),
        "mtu": str(entry.number("mtu") or ""),
        "keepalive": str(entry.number("persistent-keepalive") or ""),
        **{name: text for name in AMNEZIA if (text := junk.text(name)) not in {"", "0"}},
    }


def _socks(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    return "socks", _proxy(entry)


def _http(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    return "http", _proxy(entry)


def _proxy(entry: Settings) -> dict[str, str]:
    user = {"username": entry.text("username"), "password": entry.text("password")}
    is_tls = entry.switch("tls")
    return user | (clash_streams.tls_alone(entry) if is_tls else clash_streams.unused(entry))


def _anytls(entry: Settings, _server: str) -> tuple[str, dict[str, str]]:
    found = {
        "password": entry.text("password"),
        "fp": fingerprint(entry.text("client-fingerprint")),
    }
    return "anytls", found | clash_streams.tls_alone(entry)


def name_of(value: Any) -> str:
    """The name of an entry that cannot be read."""
    with suppress(ReadError):
        return Settings(value).text("name")
    return ""


_PLUGINS: dict[str, Callable[[Settings], Any]] = {
    "obfs": _obfs,
    "v2ray-plugin": _v2ray_plugin,
    "shadow-tls": _shadow_tls,
}
_READERS: dict[str, Callable[[Settings, str], tuple[str, dict[str, str]]]] = {
    "vless": _vless,
    "vmess": _vmess,
    "trojan": _trojan,
    "ss": _shadowsocks,
    "ssr": _ssr,
    "hysteria": _hysteria,
    "hysteria2": _hysteria2,
    "tuic": _tuic,
    "wireguard": _wireguard,
    "socks5": _socks,
    "http": _http,
    "anytls": _anytls,
}

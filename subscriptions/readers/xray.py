"""An item of ``outbounds`` in a configuration of Xray or v2ray. Source: xtls.github.io/config/outbound."""

from collections.abc import Callable, Mapping
from typing import Any

from subscriptions.links import LinkError, Node, masks
from subscriptions.links.hosts import split_endpoint

from . import xray_streams
from .settings import ReadError, Settings, compact_json, node_of, one

# Outbounds that are not servers.
NOT_SERVERS = frozenset({"freedom", "blackhole", "dns", "loopback"})
# What the app does by itself: the server takes connections with and without it.
_OPTIONAL = ("tag", "mux", "sendThrough", "targetStrategy", "domainStrategy")
_OF_USER = ("level", "email", "experiments", "testsEnabled", "ivCheck", "security")


def read(value: Any, name: str, outbounds: Mapping[str, Any]) -> Node:
    """``outbounds``: those of the same configuration, by tag. Raises ReadError."""
    entry = Settings(value)
    protocol = entry.word("protocol")
    if protocol not in _READERS:
        raise ReadError("unsupported")
    _refuse_chain(entry, outbounds)
    settings, stream = entry.part("settings"), entry.part("streamSettings")
    kind, server, port, params = _READERS[protocol](settings, stream)
    entry.ignore(*_OPTIONAL)
    entry.done()
    return node_of(kind, server, port, name, params)


def name_of(value: Any) -> str:
    tag = value.get("tag") if isinstance(value, dict) else ""
    return tag if isinstance(tag, str) else ""


def _refuse_chain(entry: Settings, outbounds: Mapping[str, Any]) -> None:
    """A server behind another one is refused. One that only fragments the client's own packets is not."""
    proxy = entry.part("proxySettings").text("tag")
    stream = entry.take("streamSettings")
    options = Settings(stream or {})
    dialer = options.part("sockopt").text("dialerProxy")
    for tag in filter(None, (proxy, dialer)):
        other = outbounds.get(tag)
        if not isinstance(other, dict) or other.get("protocol") != "freedom":
            raise ReadError("chained")
    entry.put("streamSettings", stream)


def _vless(settings: Settings, stream: Settings) -> tuple[str, str, int, dict[str, str]]:
    server, user = _to_user(settings)
    flow, encryption = user.word("flow"), user.text("encryption")
    params = {
        "uuid": user.text("id"),
        "flow": flow.removesuffix("-udp443"),
        "flow_udp443": "1" if flow.endswith("-udp443") else "",
        "encryption": "" if encryption == "none" else encryption,
    }
    return _done("vless", server, user, params, stream)


def _vmess(settings: Settings, stream: Settings) -> tuple[str, str, int, dict[str, str]]:
    server, user = _to_user(settings)
    cipher, alter_id = user.word("security"), user.number("alterId")
    params = {
        "uuid": user.text("id"),
        "cipher": "" if cipher == "auto" else cipher,
        "alter_id": str(alter_id or ""),
    }
    return _done("vmess", server, user, params, stream)


def _trojan(settings: Settings, stream: Settings) -> tuple[str, str, int, dict[str, str]]:
    server = _server(settings, "servers")
    return _done("trojan", server, server, {"password": server.text("password")}, stream)


def _shadowsocks(settings: Settings, stream: Settings) -> tuple[str, str, int, dict[str, str]]:
    server = _server(settings, "servers")
    uot, version = server.switch("uot"), server.number("UoTVersion", "uotVersion")
    params = {
        "method": server.word("method"),
        "password": server.text("password"),
        "uot": ("2" if version == 2 else "1") if uot else "",
    }
    return _done("shadowsocks", server, server, params, stream)


def _proxy(kind: str) -> Callable[[Settings, Settings], tuple[str, str, int, dict[str, str]]]:
    def read_proxy(settings: Settings, stream: Settings) -> tuple[str, str, int, dict[str, str]]:
        server = _server(settings, "servers")
        users = server.take("users")
        user = Settings(one(users)) if users else server
        params = {"username": user.text("user"), "password": user.text("pass")}
        found = _done(kind, server, user, params, stream)
        if found[3].get("network"):
            raise ReadError("inexact")
        return found

    return read_proxy


def _to_user(settings: Settings) -> tuple[Settings, Settings]:
    """The server and its user, nested or, as newer versions have it, in one object."""
    server = _server(settings, "vnext")
    users = server.take("users")
    return server, server if users is None else Settings(one(users))


def _server(settings: Settings, name: str) -> Settings:
    nested = settings.take(name)
    if nested is not None:
        return Settings(one(nested))
    return Settings(settings.rest())


def _done(
    kind: str, server: Settings, user: Settings, params: dict[str, str], stream: Settings
) -> tuple[str, str, int, dict[str, str]]:
    address, port = server.text("address"), server.number("port")
    for each in {server, user}:
        each.ignore(*_OF_USER)
        each.done()
    return kind, address, port, params | xray_streams.read(stream, address)


def _hysteria(settings: Settings, stream: Settings) -> tuple[str, str, int, dict[str, str]]:
    """Version 2, which Xray has as a transport."""
    address, port = settings.text("address"), settings.number("port")
    auth = stream.part("hysteriaSettings")
    versions = {settings.number("version"), auth.number("version")}
    if stream.word("network") != "hysteria" or versions != {2}:
        raise ReadError("inexact")
    params = {"password": auth.text("auth")} | _masks(stream) | xray_streams.security(stream)
    if params.get("security") != "tls":
        raise ReadError("inexact")
    # The only one that the protocol knows, which a link leaves out.
    return "hysteria2", address, port, params | {"alpn": params["alpn"].removeprefix("h3")}


def _masks(stream: Settings) -> dict[str, str]:
    try:
        return masks.read(compact_json(stream.take("finalmask")))
    except LinkError as error:
        raise ReadError(error.code) from None


def _wireguard(settings: Settings, _stream: Settings) -> tuple[str, str, int, dict[str, str]]:
    peer = Settings(one(settings.take("peers")))
    try:
        host, port = split_endpoint(peer.text("endpoint"))
    except LinkError as error:
        raise ReadError(error.code) from None
    allowed = peer.listed("allowedIPs")
    params = {
        "private_key": settings.text("secretKey"),
        "address": settings.listed("address"),
        "mtu": str(settings.number("mtu") or ""),
        "reserved": settings.listed("reserved"),
        "public_key": peer.text("publicKey"),
        "preshared_key": peer.text("preSharedKey"),
        "allowed_ips": "" if set(allowed.split(",")) == {"0.0.0.0/0", "::/0"} else allowed,
        "keepalive": str(peer.number("keepAlive") or ""),
    }
    settings.ignore("noKernelTun", "domainStrategy", "workers")
    peer.done()
    return "wireguard", host, int(port) if port.isdigit() else 0, params


_READERS: dict[str, Callable[[Settings, Settings], tuple[str, str, int, dict[str, str]]]] = {
    "vless": _vless,
    "vmess": _vmess,
    "trojan": _trojan,
    "shadowsocks": _shadowsocks,
    "socks": _proxy("socks"),
    "http": _proxy("http"),
    "hysteria": _hysteria,
    "wireguard": _wireguard,
}

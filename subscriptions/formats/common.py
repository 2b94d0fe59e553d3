"""Code shared by the writers of configurations: unique names, common parts of a link, and failures of one node."""

import ipaddress
import json
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from operations.hosts import join_host_port
from subscriptions.links import Node, decides, invented_name, masks, plugins
from subscriptions.links.base64text import decode_bytes
from subscriptions.links.common import LinkError

logger = logging.getLogger(__name__)
# Names with a meaning for a core, and names of our own groups.
RESERVED = frozenset(
    {
        "direct",
        "reject",
        "reject-drop",
        "global",
        "pass",
        "compatible",
        "block",
        "proxy",
        "auto",
        "dns",
    }
)
# Fingerprints that mihomo, sing-box and Xray all support.
FINGERPRINTS = frozenset(
    {"chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized"}
)
_VMESS_CIPHERS = frozenset({"auto", "none", "zero", "aes-128-gcm", "chacha20-poly1305"})
# The 2022 ciphers that support several users' keys.
_MULTI_USER = re.compile(r"2022-blake3-aes-(?:128|256)-gcm")
_PACKETS = {"xudp": "xudp", "packet": "packetaddr", "packetaddr": "packetaddr"}
# YAML line breaks that JSON does not escape, and characters that YAML counts as unprintable.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_EARLY_DATA = re.compile(r"([?&])ed=([0-9]{1,9})(?:&|$)", re.ASCII)
_PIN = re.compile(r"[0-9a-f]{64}", re.ASCII)
# The bytes after the length of a list of ECH configurations (RFC 9849).
_ECH_VERSION = b"\xfe\x0d"
_HTTP_1, _HTTP_2 = "http/1.1", "h2"
# The only HTTP version that these transports start with.
_HTTP_OF = {"ws": _HTTP_1, "httpupgrade": _HTTP_1, "grpc": _HTTP_2, "http": _HTTP_2}

Entry = dict[str, Any]
# Settings of a plugin; the value of a flag is None.
Options = dict[str, str | None]
# Writes a node and its name in a format; raises Inexpressible.
Writer = Callable[[Node, str], Entry]


class Inexpressible(ValueError):  # noqa: N818  an answer about a node
    """The format cannot express this node."""


class Written(NamedTuple):
    """A written node: its unique name, and a JSON object that is also valid YAML, or a link."""

    name: str
    text: str


def written(
    nodes: Sequence[Node], entry: Writer, reserved: frozenset[str] = frozenset()
) -> Iterator[Written]:
    """All nodes that ``entry`` can express, each with a unique name. ``reserved``: as for ``unique_names``."""
    for node, name in zip(nodes, unique_names(nodes, reserved), strict=True):
        text = text_of(node, name, entry)
        if text is not None:
            yield Written(name, text)


def expressed(node: Node, entry: Writer) -> bool:
    """Whether ``entry`` can express the node."""
    return text_of(node, "", entry) is not None


def text_of(node: Node, name: str, entry: Writer) -> str | None:
    """The written node; None if ``entry`` cannot express it.

    Log an unexpected error and leave out this node, so that the rest of the list is written.
    """
    try:
        return compact(entry(node, name))
    except Inexpressible:
        return None
    except Exception as error:  # noqa: BLE001  its text may hold a password
        kind = type(error).__name__
        logger.warning(
            "%s %s:%d is left out: %s in its writer.", node.protocol, node.server, node.port, kind
        )
        return None


def compact(value: object) -> str:
    """JSON on one line that YAML reads the same way. Raises UnicodeEncodeError for a lone surrogate."""
    text = _UNPRINTABLE.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)
    )
    text.encode()
    return text


def unique_names(nodes: Iterable[Node], reserved: frozenset[str] = frozenset()) -> Iterator[str]:
    """A unique name for each node: its remark, otherwise its address; a second equal name gets a 2 appended.

    mihomo and sing-box refuse the whole list if two servers have the same name. ``reserved``: case-folded names that
    an operator's template has given away.
    """
    taken = set(RESERVED | reserved)
    last: dict[str, int] = {}
    for node in nodes:
        own = node.remark or invented_name(node)
        name, number = own, last.get(own, 1)
        while name.casefold() in taken:
            number += 1
            name = f"{own} {number}"
        last[own] = number
        taken.add(name.casefold())
        yield name


def endpoint(node: Node) -> str:
    return join_host_port(node.server, node.port)


def only(values: Mapping[str, object]) -> Entry:
    """Leave out absent values: None, False, and empty texts and lists."""
    return {
        name: value
        for name, value in values.items()
        if value is not False and value not in (None, "", [], {})
    }


def parts(text: str | None) -> list[str]:
    """The items of a comma-separated list."""
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def number(text: str | None, least: int, most: int) -> int | None:
    """The whole number at the beginning of a text; None if it is not between the limits."""
    found = re.match(r"\s*([0-9]{1,10})", text or "", re.ASCII)
    return int(found[1]) if found and least <= int(found[1]) <= most else None


def refuse_unread(node: Node) -> None:
    """Raises Inexpressible if the link has an unknown parameter that may decide how to connect."""
    if decides(node):
        raise Inexpressible


def refuse_masks(node: Node) -> None:
    """Raises Inexpressible for Xray's masks, which no other core supports."""
    if masks.masked(node.params.get("fm", "")):
        raise Inexpressible


def server_name(node: Node) -> str:
    """The name that the certificate must have: ``sni``, else the transport's host; empty: the server's own name."""
    if sni := node.params.get("sni"):
        return sni
    if node.params.get("network") not in {"ws", "httpupgrade", "xhttp", "http"}:
        return ""
    host = next(iter(parts(node.params.get("host"))), "")
    return "" if _is_address(host) else host


def requested_host(node: Node) -> str:
    """The Host of an HTTP request, as Xray sets it.

    Without it mihomo and sing-box send the address with its port, or even a random name,
    and a proxy in front of the server does not know that host.
    """
    server = f"[{node.server}]" if ":" in node.server else node.server
    name = node.params.get("sni", "") if "security" in node.params else ""
    return node.params.get("host") or name or server


def alpn_of(node: Node) -> list[str]:
    """The ALPN to offer. A WebSocket or CONNECT fails over HTTP/2, and gRPC fails without it."""
    offered = parts(node.params.get("alpn"))
    needed = _HTTP_1 if node.protocol == "http" else _HTTP_OF.get(node.params.get("network", ""))
    if not offered or needed is None or (needed == _HTTP_2 and _HTTP_2 in offered):
        return offered
    return [needed]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def path_of(node: Node) -> tuple[str, int]:
    """The path without ``ed=``, and the number of bytes of early data in ``ed=``."""
    path = node.params.get("path", "/")
    early = _EARLY_DATA.search(path)
    if early:
        path = (path[: early.start()] + early[1] + path[early.end() :]).rstrip("?&")
    path = url_path(path if path.startswith("/") else f"/{path}")
    return path, min(int(early[2]), 65535) if early else 0


def web_socket(node: Node) -> Entry:
    """Path, host and early data under mihomo's keys; sing-box uses underscores instead of dashes."""
    path, early = path_of(node)
    found: Entry = {"path": path, "headers": {"Host": requested_host(node)}}
    if early:
        header = node.params.get("early_header", "Sec-WebSocket-Protocol")
        found |= {"max-early-data": early, "early-data-header-name": header}
    return found


def url_path(text: str) -> str:
    """A URL path with stray percent signs escaped, for which sing-box would refuse the whole list."""
    return _BAD_ESCAPE.sub("%25", text)


def fingerprint_of(node: Node) -> str:
    """The TLS fingerprint to imitate. Unknown ones become Chrome's, and REALITY requires one."""
    wanted = node.params.get("fp", "").lower()
    if node.params.get("security") == "reality" and wanted not in FINGERPRINTS:
        return "chrome"
    if wanted in {"", "none", "unsafe"}:
        return ""
    return wanted if wanted in FINGERPRINTS else "chrome"


def pins(node: Node) -> list[str]:
    """SHA-256 of the pinned certificates in hexadecimal. Raises Inexpressible for any other kind of pin."""
    found = parts(node.params.get("pin_sha256")) + parts(node.params.get("pcs"))
    if not all(map(_PIN.fullmatch, found)):
        raise Inexpressible
    return list(dict.fromkeys(found))


def is_insecure(node: Node) -> bool:
    """Whether any certificate is accepted. False if the link also pins a certificate or names one."""
    pinned = node.params.keys() & {"pin_sha256", "pcs", "pin_public_key", "vcn"}
    return "insecure" in node.params and not pinned


def refuse_other_names(node: Node) -> None:
    """Raises Inexpressible if the certificate has another name than the SNI, which only Xray can check."""
    names = parts(node.params.get("vcn"))
    if names and (server_name(node) or node.server) not in names:
        raise Inexpressible


class Ech(NamedTuple):
    """ECH settings: a configuration in base64, or a name whose DNS record holds one."""

    config: str
    name: str


def ech_of(node: Node) -> Ech | None:
    """The link's ECH settings; raises Inexpressible for anything but a configuration or a query."""
    text = node.params.get("ech", "")
    if not text or node.params.get("security") != "tls":
        return None
    own = server_name(node) or node.server
    if "://" in text:
        name = text.partition("://")[0].rpartition("+")[0]
        return Ech("", name or own)
    if text.lower() in {"1", "true"}:
        return Ech("", own)
    return Ech(_ech_config(text), "")


def _ech_config(text: str) -> str:
    try:
        found = decode_bytes(text.replace(" ", "+"))
    except LinkError:
        raise Inexpressible from None
    if found[2:4] != _ECH_VERSION:
        raise Inexpressible
    return b64encode(found).decode()


def vmess_cipher(node: Node) -> str:
    cipher = node.params.get("cipher", "auto")
    if cipher not in _VMESS_CIPHERS:
        raise Inexpressible
    return cipher


def packet_encoding(node: Node) -> str:
    """The encoding of UDP packets. Other cores need an explicit value for Xray's default."""
    return _PACKETS.get(
        node.params.get("packet_encoding", "xudp" if node.protocol == "vless" else ""), ""
    )


def cipher_and_password(node: Node, known: frozenset[str]) -> tuple[str, str]:
    """Cipher and password of shadowsocks."""
    cipher, password = node.params["method"], node.params.get("password", "")
    several = cipher.startswith("2022-") and ":" in password
    if cipher not in known or (several and not _MULTI_USER.fullmatch(cipher)):
        raise Inexpressible
    return cipher, password


def reserved_bytes(node: Node) -> list[int]:
    """The reserved bytes of wireguard: three or none."""
    found = [number(item, 0, 255) for item in parts(node.params.get("reserved"))]
    known = [byte for byte in found if byte is not None]
    return known if len(found) == len(known) == 3 else []


def mtu(node: Node) -> int | None:
    """The MTU of wireguard. Cores have another default than v2rayNG; mihomo refuses the list if it is out of bounds."""
    if "mtu" not in node.params:
        return None
    found = number(node.params["mtu"], 68, 65_535)
    if found is None:
        raise Inexpressible
    return found


def speed(node: Node, name: str) -> int:
    """``up`` or ``down`` of hysteria in Mbit/s, within the limits of the cores."""
    return min(int(node.params[name]), 100_000)


class Plugin(NamedTuple):
    name: str
    options: Options


class V2rayPlugin(NamedTuple):
    """Settings of v2ray-plugin with WebSocket. ``mux`` is on by default."""

    host: str
    path: str
    tls: bool
    mux: bool
    insecure: bool = False
    upgrade: bool = False


# The default host of v2ray-plugin and simple-obfs. The cores have other defaults.
PLUGIN_HOST = "cloudfront.com"
# Plugin settings that do not change what the server receives.
_OPTIONAL_SETTINGS = frozenset({"fast-open", "tfo", "loglevel", "obfs-uri"})
_V2RAY_SETTINGS = frozenset(
    {"mode", "obfs", "host", "path", "tls", "mux", "insecure", "skip-cert-verify"}
)
_OFF = frozenset({"0", "false", "no", "off", "none"})


def v2ray_plugin(options: Options) -> V2rayPlugin:
    refuse_settings(options, _V2RAY_SETTINGS)
    return V2rayPlugin(
        options.get("host") or PLUGIN_HOST,
        url_path(options.get("path") or ""),
        _is_on(options, "tls"),
        options.get("mux", "1") not in {"0", "false"},
        _is_on(options, "insecure") or _is_on(options, "skip-cert-verify"),
    )


def refuse_settings(options: Options, known: frozenset[str]) -> None:
    """Raises Inexpressible if a plugin has a setting that is neither known nor optional."""
    if options.keys() - known - _OPTIONAL_SETTINGS:
        raise Inexpressible


def _is_on(options: Options, name: str) -> bool:
    return name in options and (options[name] or "").lower() not in _OFF


def plugin_of(node: Node) -> Plugin | None:
    text = node.params.get("plugin", "")
    return Plugin(text.partition(";")[0], plugins.settings(text)) if text else None


# Parameters that v2ray-plugin has no option for.
_BEYOND_PLUGIN = frozenset({
    "plugin", "alpn", "ech", "vcn", "pcs", "pin_sha256", "pin_public_key", "disable_sni", "early_header",
})  # fmt: skip


def as_v2ray_plugin(node: Node) -> V2rayPlugin | None:
    """Shadowsocks over WebSocket or HTTPUpgrade, which equals v2ray-plugin without multiplexing on the wire.

    None for Shadowsocks over TCP. Raises Inexpressible for every other transport.
    """
    given = node.params
    if not given.keys() & {"network", "security", "header_type"}:
        return None
    host = requested_host(node)
    # The plugin uses one name for the request and for the certificate.
    two_names = "security" in given and server_name(node) not in {"", host}
    known = given.get("network") in {"ws", "httpupgrade"} and given.get("security") != "reality"
    if not known or two_names or _BEYOND_PLUGIN & given.keys():
        raise Inexpressible
    return V2rayPlugin(
        host,
        path_of(node)[0],
        "security" in given,
        mux=False,
        insecure="insecure" in given,
        upgrade=given["network"] == "httpupgrade",
    )

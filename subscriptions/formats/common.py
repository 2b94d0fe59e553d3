"""What the writers of configurations share: names, the parts of a link that all of them take apart, one bad node."""

import ipaddress
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from subscriptions.links import Node, invented_name, plugins

logger = logging.getLogger(__name__)
# Names that mean something to a core, or that our own groups have.
RESERVED = frozenset(
    {"direct", "reject", "reject-drop", "global", "pass", "compatible", "block", "proxy", "auto", "dns"}
)
# The fingerprints that mihomo, sing-box and Xray all know.
FINGERPRINTS = frozenset({"chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized"})
_VMESS_CIPHERS = frozenset({"auto", "none", "zero", "aes-128-gcm", "chacha20-poly1305"})
# Of the ciphers of 2022 those that can carry several users' keys.
_MULTI_USER = re.compile(r"2022-blake3-aes-(?:128|256)-gcm")
_PACKETS = {"xudp": "xudp", "packet": "packetaddr", "packetaddr": "packetaddr"}
# Line breaks of YAML that JSON leaves as they are, and what YAML takes for unprintable.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_EARLY_DATA = re.compile(r"([?&])ed=([0-9]{1,9})(?:&|$)", re.ASCII)
_PIN = re.compile(r"(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}", re.ASCII | re.IGNORECASE)

Entry = dict[str, Any]
# Of a plugin; the value of a flag is None.
Options = dict[str, str | None]
# A node and its name to the words of a format; raises Inexpressible.
Writer = Callable[[Node, str], Entry]


class Inexpressible(ValueError):  # noqa: N818  an answer about a node
    """The format has no words for this node."""


class Written(NamedTuple):
    """A node in the words of a format: its unique name, and a JSON object that is YAML as well."""

    name: str
    text: str


def written(nodes: Sequence[Node], entry: Writer) -> Iterator[Written]:
    """All nodes that ``entry`` can express, each under a name of its own."""
    for node, name in zip(nodes, unique_names(nodes), strict=True):
        text = _text(node, name, entry)
        if text is not None:
            yield Written(name, text)


def expressed(node: Node, entry: Writer) -> bool:
    """Whether a list written with ``entry`` holds the node."""
    return _text(node, "", entry) is not None


def _text(node: Node, name: str, entry: Writer) -> str | None:
    """One node at which a writer fails costs the list nothing but itself."""
    try:
        return compact(entry(node, name))
    except Inexpressible:
        return None
    except Exception as error:  # noqa: BLE001  its text may hold a password
        kind = type(error).__name__
        logger.warning("%s %s:%d is left out: %s in its writer.", node.protocol, node.server, node.port, kind)
        return None


def compact(value: object) -> str:
    """JSON in one line that YAML reads the same way. Raises UnicodeEncodeError for half a character."""
    text = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    text.encode()
    return text


def unique_names(nodes: Iterable[Node]) -> Iterator[str]:
    """A name for each node: its remark, else its address; the second of a kind gets a 2 behind it.

    mihomo and sing-box refuse the whole list for one name that comes twice.
    """
    taken = set(RESERVED)
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
    return f"[{node.server}]:{node.port}" if ":" in node.server else f"{node.server}:{node.port}"


def only(values: Mapping[str, object]) -> Entry:
    """Without what is absent: None, False, and empty texts and lists."""
    return {name: value for name, value in values.items() if value is not False and value not in (None, "", [], {})}


def parts(text: str | None) -> list[str]:
    """The items of a comma list."""
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def number(text: str | None, least: int, most: int) -> int | None:
    """The whole number at the beginning of a text, when it lies between the limits."""
    found = re.match(r"\s*([0-9]{1,10})", text or "", re.ASCII)
    return int(found[1]) if found and least <= int(found[1]) <= most else None


def server_name(node: Node) -> str:
    """The name that the certificate must bear: ``sni``, else the host that the transport asks for. Empty: the server's."""
    if sni := node.params.get("sni"):
        return sni
    if node.params.get("network") not in {"ws", "httpupgrade", "xhttp", "http"}:
        return ""
    host = next(iter(parts(node.params.get("host"))), "")
    return "" if _is_address(host) else host


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def path_of(node: Node) -> tuple[str, int]:
    """The path without ``ed=``, and the bytes of early data that it asks for."""
    path = node.params.get("path", "/")
    early = _EARLY_DATA.search(path)
    if early:
        path = (path[: early.start()] + early[1] + path[early.end() :]).rstrip("?&")
    path = url_path(path if path.startswith("/") else f"/{path}")
    return path, min(int(early[2]), 65535) if early else 0


def web_socket(node: Node) -> Entry:
    """Path, host and early data in mihomo's words; sing-box has an underscore for each dash."""
    path, early = path_of(node)
    found: Entry = {"path": path, "headers": only({"Host": node.params.get("host")})}
    if early:
        found |= {"max-early-data": early, "early-data-header-name": "Sec-WebSocket-Protocol"}
    return only(found)


def url_path(text: str) -> str:
    """A path of a URL: sing-box refuses the whole list for a per cent sign that escapes nothing."""
    return _BAD_ESCAPE.sub("%25", text)


def fingerprint_of(node: Node) -> str:
    """The TLS fingerprint to imitate: unknown ones become Chrome's, and REALITY can't do without one."""
    wanted = node.params.get("fp", "").lower()
    if node.params.get("security") == "reality" and wanted not in FINGERPRINTS:
        return "chrome"
    if wanted in {"", "none", "unsafe"}:
        return ""
    return wanted if wanted in FINGERPRINTS else "chrome"


def pinned(node: Node) -> str:
    """SHA-256 of the server's certificate in hexadecimal, when the link pins one."""
    pin = node.params.get("pin_sha256") or node.params.get("pcs", "")
    return pin.replace(":", "").lower() if _PIN.fullmatch(pin) else ""


def vmess_cipher(node: Node) -> str:
    cipher = node.params.get("cipher", "auto")
    if cipher not in _VMESS_CIPHERS:
        raise Inexpressible
    return cipher


def packet_encoding(node: Node) -> str:
    """How UDP is packed; unlike Xray the other cores have to be told its usual way."""
    return _PACKETS.get(node.params.get("packet_encoding", "xudp" if node.protocol == "vless" else ""), "")


def cipher_and_password(node: Node, known: frozenset[str]) -> tuple[str, str]:
    """Of shadowsocks."""
    cipher, password = node.params["method"], node.params.get("password", "")
    several = cipher.startswith("2022-") and ":" in password
    if cipher not in known or (several and not _MULTI_USER.fullmatch(cipher)):
        raise Inexpressible
    return cipher, password


def reserved_bytes(node: Node) -> list[int]:
    """Of wireguard: three, or none."""
    found = [number(item, 0, 255) for item in parts(node.params.get("reserved"))]
    known = [byte for byte in found if byte is not None]
    return known if len(found) == len(known) == 3 else []


class Plugin(NamedTuple):
    name: str
    options: Options


class V2rayPlugin(NamedTuple):
    """What v2ray-plugin is told; its transport is WebSocket. ``mux``: on unless it says otherwise."""

    host: str
    path: str
    tls: bool
    mux: bool


def v2ray_plugin(options: Options) -> V2rayPlugin:
    mux = options.get("mux", "1") not in {"0", "false"}
    return V2rayPlugin(options.get("host") or "", url_path(options.get("path") or ""), "tls" in options, mux)


def plugin_of(node: Node) -> Plugin | None:
    text = node.params.get("plugin", "")
    return Plugin(text.partition(";")[0], plugins.settings(text)) if text else None

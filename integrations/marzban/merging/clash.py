"""YAML of Clash and Clash Meta (mihomo). Operators write their own templates, so everything else in it stays as it is.

The external servers go into the text in place of one marked item per list. Each is one line of JSON, as in our own lists.
"""

import io
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from subscriptions.formats import Written
from subscriptions.formats.common import Entry, compact

from .names import Names, NotUnderstood, renamed, takes_servers

try:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
except (
    ModuleNotFoundError
):  # without the extra "marzban" the panel works, and such lists stay as they are
    YAML, YAMLError = None, ValueError  # type: ignore[assignment,misc]

# The first line of a section of the document.
_SECTION = re.compile(r"""^(?=["']?[A-Za-z][\w-]*["']?[ ]*:(?:\s|$))""", re.ASCII | re.MULTILINE)
_KEY = re.compile(r"""["']?([\w-]+)""", re.ASCII)
_EDITED = ("proxies", "proxy-groups")
# ruamel drops such an anchor when nothing in the same text refers to it.
_GENERATED_ANCHOR = re.compile(r"[&*]id\d")
# Bytes beyond which reading what is edited costs seconds.
_MOST = 2**19
# What the last release of Clash knows.
_OLD_TYPES = frozenset({"ss", "ssr", "vmess", "trojan", "socks5", "http"})
_OLD_NETWORKS = frozenset({None, "ws", "grpc", "http", "h2"})
_OLD_CIPHERS = frozenset({
    "auto", "none", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb",
    "aes-128-ctr", "aes-192-ctr", "aes-256-ctr", "rc4-md5", "chacha20-ietf", "xchacha20",
    "chacha20-poly1305", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
})  # fmt: skip
_OLD_PLUGINS = frozenset({None, "obfs", "v2ray-plugin"})
# Without them the server would not be reached, or not be recognised.
_NEW_KEYS = frozenset({"reality-opts", "ech-opts", "fingerprint", "udp-over-tcp"})


def known_to_old(servers: Sequence[Written]) -> list[Written]:
    """Those that the last release of Clash can use: it refuses the whole list for one unknown type."""
    return [server for server in servers if _is_old(json.loads(server.text))]


def _is_old(proxy: Entry) -> bool:
    upgrade = "v2ray-http-upgrade"
    return (
        proxy["type"] in _OLD_TYPES
        and proxy.get("network") in _OLD_NETWORKS
        and proxy.get("cipher", "auto") in _OLD_CIPHERS
        and proxy.get("plugin") in _OLD_PLUGINS
        and not proxy.keys() & _NEW_KEYS
        and not (proxy.get("ws-opts", {}) | proxy.get("plugin-opts", {})).get(upgrade)
    )


def merged(body: bytes, servers: Sequence[Written]) -> bytes:
    text = body.decode()
    try:
        return _in_sections(text, servers).encode()
    except YAMLError:  # an anchor of another section, for instance
        pass
    try:
        return _edited(text, servers).encode()
    except YAMLError:
        raise NotUnderstood from None


def _in_sections(text: str, servers: Sequence[Written]) -> str:
    """Only two sections are read and written, because a template may have ten thousand rules."""
    sections = [part for part in _SECTION.split(text) if part]
    places = [place for place, part in enumerate(sections) if _key(part) in _EDITED]
    keys = [_key(sections[place]) for place in places]
    if _GENERATED_ANCHOR.search(text) or sorted(keys) != sorted(_EDITED):
        return _edited(text, servers)
    both = _edited("".join(map(_whole_line, (sections[place] for place in places))), servers)
    edited = [part for part in _SECTION.split(both) if part]
    for place, part in zip(places, edited, strict=True):
        sections[place] = part
    return "".join(sections)


def _key(section: str) -> str:
    found = _KEY.match(section)
    return found[1] if found else ""


def _whole_line(section: str) -> str:
    return section if section.endswith("\n") else f"{section}\n"


def _edited(text: str, servers: Sequence[Written]) -> str:
    if YAML is None or len(text) > _MOST:
        raise NotUnderstood
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 2**20
    document = yaml.load(text)
    if not isinstance(document, Mapping) or "proxies" not in document:
        raise NotUnderstood
    own = [_name(proxy) for proxy in _list(document["proxies"])]
    groups = [_mapping(group) for group in _list(document.get("proxy-groups"))]
    ours = renamed(servers, Names([*own, *map(_name, groups)]))
    mark = f"external-{secrets.token_hex(8)}"
    _append(document, f"{mark}-servers")
    for group in _open(groups, own):
        _append(group, f"{mark}-names")
    written = io.StringIO()
    yaml.dump(document, written)
    found = _filled(written.getvalue(), f"{mark}-servers", [_proxy(server) for server in ours])
    return _filled(found, f"{mark}-names", [compact(server.name) for server in ours])


def _open(groups: Sequence[Any], own: Sequence[str]) -> Iterator[Any]:
    """The groups that get the servers, each list of members once: an anchor may stand for several."""
    seen: set[int] = set()
    for group in groups:
        members = group.get("proxies")
        is_open = "proxies" in group and "use" not in group and takes_servers(members, own)
        if is_open and not (members and id(members) in seen):
            seen.add(id(members))
            yield group


def _append(owner: Any, mark: str) -> None:
    if owner["proxies"]:
        owner["proxies"].append(mark)
    else:
        owner["proxies"] = [mark]


def _filled(text: str, mark: str, items: Sequence[str]) -> str:
    """The items instead of the mark: a line each, or between brackets."""

    def lines(found: re.Match[str]) -> str:
        return "".join(f"{found[1]}{item}\n" for item in items)

    text = re.sub(rf"^([ ]*-[ ]+){mark}\n", lines, text, flags=re.MULTILINE)
    return text.replace(mark, ", ".join(items))


def _proxy(server: Written) -> str:
    proxy = json.loads(server.text)
    return server.text if proxy["name"] == server.name else compact(proxy | {"name": server.name})


def _list(value: Any) -> Any:
    if value is None:
        return []
    if not isinstance(value, list):
        raise NotUnderstood
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise NotUnderstood
    return value


def _name(entry: Any) -> str:
    return str(_mapping(entry).get("name"))

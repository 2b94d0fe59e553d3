"""The kinds of sources, each loaded when it is asked for: an agent runs one or two of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from xpert_agent.sources.base import Source, SourceError, Store

KINDS = {
    "amneziawg": "xpert_agent.sources.wireguard:AmneziaWg",
    "clash": "xpert_agent.sources.clash:Clash",
    "gateway": "xpert_agent.sources.gateway:Gateway",
    "hysteria2": "xpert_agent.sources.hysteria2:Hysteria2",
    "nftables": "xpert_agent.sources.nftables:NfTables",
    "openvpn": "xpert_agent.sources.openvpn:OpenVpn",
    "outline": "xpert_agent.sources.outline:Outline",
    "radius": "xpert_agent.sources.radius:Radius",
    "shadowsocks": "xpert_agent.sources.shadowsocks:Shadowsocks",
    "singbox": "xpert_agent.sources.singbox:SingBox",
    "ssm": "xpert_agent.sources.ssm:Ssm",
    "v2rayn": "xpert_agent.sources.v2rayn:V2rayN",
    "wireguard": "xpert_agent.sources.wireguard:WireGuard",
    "xray": "xpert_agent.sources.xray:Xray",
    "xray-gateway": "xpert_agent.sources.xray_gateway:XrayGateway",
}
"""kind -> module:class"""


def source_class(kind: str) -> type[Source]:
    """The class that reads sources of this kind; raises `SourceError` for an unknown kind."""
    if kind not in KINDS:
        raise SourceError(
            f"There is no kind of source “{kind}”; known are {', '.join(sorted(KINDS))}."
        )
    module, _, name = KINDS[kind].partition(":")
    loaded: type[Source] = getattr(import_module(module), name)
    return loaded


def complete_options(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    """`given` with the defaults of this kind; raises `SourceError` for unknown or missing ones."""
    known = {option.name: option for option in source_class(kind).options}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SourceError(
            f"“{unknown[0]}” is not an option of {kind}; it has {', '.join(known) or 'none'}."
        )
    missing = [
        name for name, option in known.items() if option.default is None and not given.get(name)
    ]
    if missing:
        raise SourceError(f"{kind} needs the option “{missing[0]}”: {known[missing[0]].meaning}")
    return {name: given.get(name, option.default or "") for name, option in known.items()}


def open_source(kind: str, given: Mapping[str, str], store: Store) -> Source:
    """A source ready to be read; raises `SourceError` for what is wrong with its options."""
    return source_class(kind)(complete_options(kind, given), store)

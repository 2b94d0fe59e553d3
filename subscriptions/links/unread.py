"""Parameters that no module here reads, and whether they may decide how to connect.

Apps and panels invent parameters. Most are labels or client-side preferences that the server never
sees. The others name a transport, an obfuscation or a key. A configuration without them connects in
a different way than the link says.
"""

import re

from .common import NOTHING, Node, fold

# Parts of parameter names that concern transport, security or obfuscation.
_DECIDES = re.compile(
    r"alpn|authority|awg|bypass|camouflage|cert|cipher|cloak|crypt|detour|dialer|disguise|early|(?<!t)ech(?!o)"
    r"|fakehost|finalmask|flow|gost|grpc|h2|header|hpkp|http|junk|kcp|knock|mask|network|obfs|padding|pbk|pin(?![gt])"
    r"|plugin|prox(?:y|ied)|psk|quic|reality|salamander|secur|session|shadow|shortid|sni|spider|ssl|stream"
    r"|tls|transport|tunnel|udpover|settings|opts|upstream|utls|websocket|wspath|wshost|xhttp|xpadding"
)
# Whole names that concern them.
_DECIDES_ALONE = frozenset({
    "type", "net", "ws", "wss", "ed", "eh", "fm", "extra", "protocol", "proto", "method", "key", "brutal",
    "jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4", "i1", "i2", "i3", "i4", "i5",
})  # fmt: skip
# Client-side preferences: the server accepts connections with and without them.
_OPTIONAL = re.compile(
    r"(?:s?mux|multiplex|fragment|noises?|prefix|tlsfragment|tlsrecordfragment|wnoise|wpayload|ifp)\w*"
    r"|tls13|tlstricks|mixedcasesni|mixedsnicase|\w*keepalive\w*|httptest\w*|testhttp\w*|\w*remarks?"
    r"|encryption|flow|fp|spx|packetencoding|httptimeout|sessiontimeout|idlesession\w*|minidlesession"
)
# Values that switch something off, or name a default.
_NEUTRAL = frozenset({
    "", "0", "false", "no", "off", "none", "auto", "default", "tcp", "raw", "udp", "original", "origin", "plain",
    "[]", "{}", "/", "-", "cubic", "native", "gun", "both",
})  # fmt: skip
# Protocols over QUIC. Some links name the protocol itself as its transport.
_OVER_QUIC = {"hysteria", "hysteria2", "tuic"}
_NAMES_OF_QUIC = _OVER_QUIC | {"hy2", "quic"}
_UNSAID = frozenset(map(str.lower, NOTHING))


def decides(node: Node) -> bool:
    """Whether the link has an unknown parameter that may decide how to connect."""
    return any(_decides(node, fold(name), value.lower()) for name, value in node.extra.items())


def _decides(node: Node, name: str, value: str) -> bool:
    if value in _NEUTRAL or value in _UNSAID or _OPTIONAL.fullmatch(name):
        return False
    if value == node.protocol or (node.protocol in _OVER_QUIC and value in _NAMES_OF_QUIC):
        return False
    return name in _DECIDES_ALONE or _DECIDES.search(name) is not None

"""The real cores dial what a link means, in any of its spellings.

The meaning and the spellings are defined in this file, independently of our own parser of
links.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from subscriptions import formats, links
from subscriptions.links import Node
from tests.subscriptions.formats.cores import needs_mihomo, needs_sing_box, needs_v2ray
from tests.subscriptions.formats.dialled import (
    Dialled,
    Listener,
    by_mihomo,
    by_sing_box,
    by_v2ray,
    listening,
    public_key,
)

pytestmark = [needs_sing_box, pytest.mark.slow]

ID = "11111111-2222-4333-8444-555555555555"
Dial = Callable[[Sequence[Node], Listener], None]
# A core takes a second to start, and another to send the requests.
FEW = settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Meant(NamedTuple):
    """How a server must be contacted."""

    protocol: str
    network: str
    tls: bool
    sni: str
    host: str
    path: str
    alpn: str


MEANT = st.builds(
    Meant,
    protocol=st.sampled_from(["vless", "trojan", "vmess", "vmess as JSON", "ss"]),
    network=st.sampled_from(["ws", "httpupgrade"]),
    tls=st.booleans(),
    sni=st.sampled_from(["", "sni.example"]),
    host=st.sampled_from(["", "host.example"]),
    path=st.sampled_from(["", "/", "/a", "/a/b.c", "/p?x=1", "/ж", "/a%20b"]),
    alpn=st.sampled_from(["", "h2", "h2,http/1.1", "h3,h2", "http/1.1"]),
)
_SPELLINGS = {
    "type": ("type", "Type", "TYPE", "network", "net"),
    "security": ("security", "Security", "tls"),
    "sni": ("sni", "SNI", "peer", "serverName", "server_name"),
    "host": ("host", "Host", "wsHost", "ws-host", "obfs-host", "obfsParam", "obfsParam in JSON"),
    "path": ("path", "Path", "wspath", "ws-path", "obfs-uri"),
    "alpn": ("alpn", "ALPN"),
    "allowInsecure": ("allowInsecure", "insecure", "allow_insecure", "skip-cert-verify", "allowinsecure"),
}  # fmt: skip
_NETWORKS = {
    "ws": ("ws", "websocket", "WS", "WebSocket"),
    "httpupgrade": ("httpupgrade", "httpUpgrade", "http-upgrade"),
}
# Labels and client preferences, which no server sees.
_CHATTER = (
    "",
    "&remarks=x",
    "&tfo=1",
    "&mux=1",
    "&fragment=1,40-60,30-50",
    "&udp=true",
    "&headerType=none",
    "&extra=null",
)


@st.composite
def spelled(draw: st.DrawFn) -> tuple[Meant, Callable[[int], str]]:
    """A meaning, and a function that makes a link with that meaning for a port, in a random spelling."""
    meant = draw(MEANT)
    if meant.protocol == "trojan":
        meant = meant._replace(tls=True)
    if meant.protocol == "vmess as JSON":
        return meant, _as_json(meant)
    said = {
        "type": draw(st.sampled_from(_NETWORKS[meant.network])),
        "security": draw(st.sampled_from(["tls", "TLS"] if meant.tls else ["none", ""])),
        **({"sni": meant.sni, "alpn": meant.alpn, "allowInsecure": "1"} if meant.tls else {}),
        "host": meant.host,
        "path": meant.path,
    }
    items = []
    for name, value in said.items():
        spelling = draw(st.sampled_from(_SPELLINGS[name]))
        if spelling == "obfsParam in JSON":
            spelling, value = "obfsParam", json.dumps({"Host": value}) if value else ""
        if spelling == "tls":
            value = "1" if meant.tls else "0"
        items.append(f"{spelling}={quote(value, safe='')}")
        if draw(st.booleans()):
            items.insert(0, f"{spelling}=")
    order = draw(st.permutations(items))
    query = "&".join(order) + draw(st.sampled_from(_CHATTER))
    scheme, user = {"trojan": ("trojan", "pw"), "ss": ("ss", "aes-128-gcm:pw")}.get(
        meant.protocol, (meant.protocol, ID)
    )
    return meant, lambda port: f"{scheme}://{user}@127.0.0.1:{port}?{query}"


def _as_json(meant: Meant) -> Callable[[int], str]:
    fields = {
        "v": 2, "id": ID, "add": "127.0.0.1", "net": meant.network, "type": meant.network, "ps": "",
        "host": meant.host, "path": meant.path, "sni": meant.sni, "tls": "tls" if meant.tls else "",
        "alpn": meant.alpn, "skip-cert-verify": True,
    }  # fmt: skip

    def link(port: int) -> str:
        text = json.dumps(fields | {"port": float(port)})
        return "vmess://" + base64.b64encode(text.encode()).decode()

    return link


def _expected(meant: Meant) -> tuple[Any, ...]:
    """What must arrive at the server, according to Xray, which defines the parameters."""
    name = meant.sni if meant.tls else ""
    path = quote(meant.path or "/", safe="/?=%")
    hello = (name or meant.host, ["http/1.1"]) if meant.tls else ("", [])
    return (meant.tls, *hello, f"GET {path} HTTP/1.1", meant.host or name or "127.0.0.1")


def _heard(dialled: Dialled, meant: Meant) -> tuple[Any, ...]:
    alpn = dialled.alpn or (["http/1.1"] if meant.tls else [])
    return (dialled.tls, dialled.sni, alpn, dialled.request, dialled.header("Host"))


def _nodes(listener: Listener, found: Sequence[tuple[Meant, Callable[[int], str]]]) -> list[Node]:
    return [links.parse(link(port)) for (_, link), port in zip(found, listener.ports, strict=False)]


def _is_beyond(core: str, meant: Meant) -> bool:
    """Whether a core cannot express the meaning, or would dial in another way."""
    if core == "xray":
        return False
    plugin = meant.protocol == "ss"
    several_names = plugin and meant.tls and meant.sni not in {"", meant.host or meant.sni}
    if core == "mihomo":
        return several_names or (plugin and meant.tls and meant.alpn != "")
    return "?" in meant.path or (plugin and (meant.tls or meant.network == "httpupgrade"))


def _compare(core: str, dial: Dial, found: Any, folder: Path) -> None:
    with listening(len(found), folder) as listener:
        nodes = _nodes(listener, found)
        dial(nodes, listener)
        for (meant, _), node in zip(found, nodes, strict=True):
            left_out = core in formats.left_out([node])
            assert left_out == _is_beyond(core, meant), node.raw
            if not left_out:
                assert node.port in listener.heard, node.raw
                assert _heard(listener.heard[node.port], meant) == _expected(meant), node.raw


@needs_mihomo
@FEW
@given(found=st.lists(spelled(), min_size=20, max_size=40))
def test_mihomo_dials_what_is_meant(found: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    _compare("mihomo", by_mihomo, found, tmp_path_factory.mktemp("mihomo"))


@FEW
@given(found=st.lists(spelled(), min_size=20, max_size=40))
def test_sing_box_dials_what_is_meant(found: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    _compare("sing-box", by_sing_box, found, tmp_path_factory.mktemp("sing-box"))


def _is_older(found: tuple[Meant, Any]) -> bool:
    """Whether V2Ray behaves like Xray here: it has no HTTPUpgrade, and a missing host becomes the server."""
    return found[0].network == "ws" and found[0].host != ""


@needs_v2ray
@FEW
@given(found=st.lists(spelled().filter(_is_older), min_size=10, max_size=20))
def test_xray_dials_what_is_meant(found: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    _compare("xray", by_v2ray, found, tmp_path_factory.mktemp("v2ray"))


TLS = "security=tls&allowInsecure=1&sni=s.example"
# The expected ALPN, and the first data inside.
OTHERS = {
    "gRPC": (f"type=grpc&serviceName=svc&{TLS}", ["h2"], b"PRI * HTTP/2.0"),
    "gRPC that offers the wrong": (f"type=grpc&serviceName=svc&{TLS}&alpn=http/1.1", ["h2"], b"PRI * HTTP/2.0"),
    "HTTP/2 that offers the wrong": (f"type=h2&{TLS}&alpn=http/1.1", ["h2"], b"PRI * HTTP/2.0"),
}  # fmt: skip
DIALS = [pytest.param(by_mihomo, marks=needs_mihomo, id="mihomo"), pytest.param(by_sing_box, id="sing-box")]  # fmt: skip


@pytest.mark.parametrize("dial", DIALS)
def test_what_speaks_http_2_agrees_on_it(dial: Dial, tmp_path: Path) -> None:
    with listening(len(OTHERS), tmp_path) as listener:
        nodes = [
            links.parse(f"vless://{ID}@127.0.0.1:{port}?{query}")
            for (query, _, _), port in zip(OTHERS.values(), listener.ports, strict=True)
        ]
        dial(nodes, listener)
        heard = [listener.heard[node.port] for node in nodes]
    assert [(each.sni, each.alpn, each.sent[:14]) for each in heard] == [
        ("s.example", alpn, sent) for _, alpn, sent in OTHERS.values()
    ]


def ech_config() -> str:
    """A list with one configuration for the name public.example and a random key (RFC 9849, section 4)."""
    key = bytes(range(1, 33))
    suites = b"\0\x04\0\x01\0\x01"
    name = b"public.example"
    contents = b"\x07\0\x20\0\x20" + key + suites + b"\0" + bytes([len(name)]) + name + b"\0\0"
    config = b"\xfe\x0d" + len(contents).to_bytes(2, "big") + contents
    return base64.b64encode(len(config).to_bytes(2, "big") + config).decode()


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize(
    "link",
    [f"vless://{ID}@{{at}}?type=tcp&{TLS}&ech={{ech}}", "trojan://pw@{at}?sni=s.example&insecure=1&ech={ech}"],
)  # fmt: skip
def test_with_ech_only_the_public_name_is_seen(dial: Dial, link: str, tmp_path: Path) -> None:
    with listening(1, tmp_path) as listener:
        at = f"127.0.0.1:{listener.ports[0]}"
        dial([links.parse(link.format(at=at, ech=quote(ech_config(), safe="")))], listener)
        heard = listener.heard[listener.ports[0]]
    assert (heard.ech, heard.sni) == (True, "public.example")


def _gets_in(dial: Dial, link: str, pin: Callable[[bytes], str], folder: Path) -> list[bool]:
    """Whether a core sends data to a server, first with the pin of its certificate, then with another pin."""
    with listening(2, folder) as listener:
        pins = [pin(listener.certificate), pin(bytes(reversed(listener.certificate)))]
        nodes = [
            links.parse(link.format(at=f"127.0.0.1:{port}", pin=quote(value, safe="")))
            for port, value in zip(listener.ports, pins, strict=True)
        ]
        dial(nodes, listener)
        return [bool(listener.heard[node.port].sent) for node in nodes]


@needs_mihomo
@pytest.mark.parametrize(
    "link",
    [
        "trojan://pw@{at}?sni=s.example&insecure=1&pinSHA256={pin}",
        f"vless://{ID}@{{at}}?type=ws&security=tls&pcs={{pin}}",
        "anytls://pw@{at}?pinSHA256={pin}&insecure=1",
        "https://u:p@{at}?pcs={pin}&allowInsecure=1",
    ],
)
def test_mihomo_speaks_to_no_certificate_but_the_pinned_one(link: str, tmp_path: Path) -> None:
    def pin(certificate: bytes) -> str:
        return hashlib.sha256(certificate).hexdigest()

    assert _gets_in(by_mihomo, link, pin, tmp_path) == [True, False]


def test_sing_box_speaks_to_no_key_but_the_pinned_one(tmp_path: Path) -> None:
    def pin(certificate: bytes) -> str:
        key = public_key(certificate) if certificate.startswith(b"0") else certificate
        return base64.b64encode(hashlib.sha256(key).digest()).decode()

    link = "trojan://pw@{at}?sni=s.example&insecure=1&pinSHA256={pin}"
    assert _gets_in(by_sing_box, link, pin, tmp_path) == [True, False]

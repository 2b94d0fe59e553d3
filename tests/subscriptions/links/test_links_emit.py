"""Links as they are handed out: writing and reading a server again gives the same server, and apps can read it."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from subscriptions.links import (
    MAX_LENGTH,
    LinkError,
    Node,
    clean_remark,
    emit,
    fingerprint,
    outgoing,
    parse,
)
from subscriptions.links.common import NOTHING

UUID = "11111111-2222-4333-8444-555555555555"
REALITY_KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
_FILE = Path(__file__).parents[1] / "data" / "links.jsonl"
_ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()
]
VALID = [row["link"] for row in _ROWS if row["valid"]]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def assert_same(before: Node, after: Node) -> None:
    assert (after.protocol, after.server, after.port) == (
        before.protocol,
        before.server,
        before.port,
    )
    assert (after.params, after.extra) == (before.params, before.extra)
    assert fingerprint(after) == fingerprint(before)


@pytest.mark.parametrize(
    ("given", "emitted"),
    [
        # v2rayNG drops a vless link without a query.
        (
            f"vless://{UUID}@a.example:1#n",
            f"vless://{UUID}@a.example:1?encryption=none&security=none&type=tcp#n",
        ),
        (
            f"vless://{UUID}@a.example:1?type=ws&path=/a=b+c&security=tls&zz=1&aa=2#n",
            f"vless://{UUID}@a.example:1?encryption=none&security=tls&type=ws&path=%2Fa%3Db%2Bc&aa=2&zz=1#n",
        ),
        (
            f"vless://{UUID}@[2001:DB8::1]:1?security=reality&pbk={REALITY_KEY}&sid=AB&flow=xtls-rprx-vision#n",
            f"vless://{UUID}@[2001:db8::1]:1?encryption=none&flow=xtls-rprx-vision&security=reality&fp=chrome&pbk={REALITY_KEY}&sid=ab&type=tcp#n",
        ),
        # mihomo refuses the whole list for a trojan link without a port, and reads a password only up to a colon.
        ("trojan://a:b@a.example#n", "trojan://a%3Ab@a.example:443?security=tls&type=tcp#n"),
        # The same for the older form with a slash, and for a plugin without its mode.
        (f"ss://{b64('aes-256-gcm:p/w@a.example:1')}#n", "ss://YWVzLTI1Ni1nY206cC93@a.example:1#n"),
        (
            "ss://aes-256-gcm:pw@a.example:1?plugin=v2ray-plugin%3Btls#n",
            "ss://YWVzLTI1Ni1nY206cHc@a.example:1/?plugin=v2ray-plugin%3Bmode%3Dwebsocket%3Btls#n",
        ),
        # The 2022 ciphers must not be in base64.
        (
            f"ss://{b64('2022-blake3-aes-128-gcm:eHh4eHh4eHh4eHh4eHh4eA==')}@a.example:1#n",
            "ss://2022-blake3-aes-128-gcm:eHh4eHh4eHh4eHh4eHh4eA%3D%3D@a.example:1#n",
        ),
        # v2rayN and v2rayNG cannot read several ports in place of the port.
        ("hy2://u:p@a.example:1,5-6#n", "hysteria2://u:p@a.example:1?mport=1%2C5-6#n"),
        # mihomo reads an escaped colon as a token.
        (
            f"tuic://{UUID}%3Ap%40w@a.example:1?allow_insecure=1#n",
            f"tuic://{UUID}:p%40w@a.example:1?congestion_control=cubic&udp_relay_mode=native&allow_insecure=1#n",
        ),
        ("socks5://u:p@a.example:1#n", "socks://dTpw@a.example:1#n"),
        ("https://u:p%40@a.example:1#n", "https://u:p%40@a.example:1#n"),
        (
            "anytls://pw@a.example?insecure=true&alpn=h2,h3#n",
            "anytls://pw@a.example:443?alpn=h2%2Ch3&insecure=1#n",
        ),
        (
            "hysteria://a.example:1?auth=a&peer=p&up=1&down=2&obfs=o#n",
            "hysteria://a.example:1?protocol=udp&auth=a&peer=p&upmbps=1&downmbps=2&obfs=xplus&obfsParam=o#n",
        ),
    ],
)
def test_a_link_is_written_as_apps_read_it(given: str, emitted: str) -> None:
    assert emit(parse(given)) == emitted


def vmess_json(link: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        base64.b64decode(link.removeprefix("vmess://"), validate=True)
    )
    return found


def test_vmess_goes_out_as_padded_json_of_strings_with_a_name() -> None:
    blob = b64(
        json.dumps({"add": "a.example", "port": 443, "id": UUID, "net": "h2", "tls": True})
    ).rstrip("=")
    assert vmess_json(emit(parse(f"vmess://{blob}"), "Имя")) == {
        "v": "2", "ps": "Имя", "add": "a.example", "port": "443", "id": UUID, "aid": "0", "scy": "auto", "net": "h2",
        "type": "none", "host": "", "path": "", "tls": "tls", "sni": "", "alpn": "", "fp": "",
    }  # fmt: skip


def test_vmess_that_its_json_cannot_say_goes_out_as_a_url() -> None:
    link = f"vmess://{UUID}@a.example:1?encryption=zero&security=reality&fp=qq&pbk={REALITY_KEY}&type=tcp#n"
    assert emit(parse(link)) == link


def test_an_unknown_word_of_a_url_does_not_become_the_server_of_the_json() -> None:
    after = parse(emit(parse(f"vmess://{UUID}@a.example:1?type=ws&add=evil.example&port=2")))
    assert (after.server, after.port) == ("a.example", 1)


def test_a_server_without_a_name_gets_one() -> None:
    assert emit(parse("trojan://pw@[2001:db8::1]:1")).endswith(
        "#trojan%20%5B2001%3Adb8%3A%3A1%5D%3A1"
    )


class TestOutgoing:
    @pytest.mark.parametrize(
        "link",
        [
            f"vless://{UUID}@vpn.example.com:443?security=tls#Vienna",
            f"vless://{UUID}@vpn.example.com:443?type=tcp&security=tls&headerType=none&sni=#Имя 1 | два",
            "trojan://secret@fast.vpn.com:443?security=tls#Frankfurt",
            "trojan://secret@fast.vpn.com:443#Frankfurt",
            "anytls://pw@a.example:443?insecure=0&sni=s#%D0%B0",
        ],
    )
    def test_a_good_link_goes_out_as_the_operator_wrote_it(self, link: str) -> None:
        assert outgoing(parse(link)) == link

    def test_an_empty_alter_id_does_not_go_out_for_mihomo_refuses_the_list(self) -> None:
        fields = {"ps": "n", "id": UUID, "add": "a.example", "port": "443", "aid": ""}
        assert vmess_json(outgoing(parse("vmess://" + b64(json.dumps(fields)))))["aid"] == "0"

    @pytest.mark.parametrize("numbers", [{"port": 443, "aid": 0, "v": 2}, {"port": "443"}])
    def test_a_good_json_goes_out_as_the_operator_wrote_it(self, numbers: dict[str, Any]) -> None:
        fields = {
            "ps": "n",
            "net": "ws",
            "tls": "tls",
            "id": UUID,
            "add": "a.example",
            "path": "/p",
            "sni": "",
        }
        link = "vmess://" + b64(json.dumps(fields | numbers, indent=1))
        assert outgoing(parse(link)) == link
        assert vmess_json(outgoing(parse(link), "м"))["ps"] == "м"

    @pytest.mark.parametrize(
        "fields",
        [
            {"port": " 443 "},  # mihomo refuses the list
            {"ps": ""},  # mihomo skips it
            {"ps": 1},  # and this
            {"net": "ws", "host": 1},  # mihomo sends no host
            {"add": "A.example"},
            {"tls": True},
            {"net": "grpc", "type": "none"},
        ],
    )
    def test_another_json_goes_out_as_apps_read_it(self, fields: dict[str, Any]) -> None:
        link = "vmess://" + b64(
            json.dumps({"ps": "n", "id": UUID, "add": "a.example", "port": "443"} | fields)
        )
        assert outgoing(parse(link)) == emit(parse(link)) != link

    def test_json_in_base64_that_mihomo_skips_is_written_anew(self) -> None:
        link = "vmess://" + b64(
            json.dumps({"ps": "n?", "id": UUID, "add": "a.example", "port": "443"})
        ).rstrip("=")
        assert outgoing(parse(f"{link}#n")) == emit(parse(link))

    def test_a_name_behind_json_does_not_go_out_for_mihomo_skips_the_link(self) -> None:
        link = emit(
            parse(
                "vmess://"
                + b64(json.dumps({"ps": "n", "id": UUID, "add": "a.example", "port": "443"}))
            )
        )
        assert outgoing(parse(f"{link}#n")) == link

    def test_a_good_link_under_another_name_keeps_all_but_the_name(self) -> None:
        node = parse("trojan://pw@a.example:1?type=tcp&security=tls#A")
        assert (
            outgoing(node, "Б #1") == "trojan://pw@a.example:1?type=tcp&security=tls#%D0%91%20%231"
        )
        assert outgoing(msgspec.structs.replace(node, remark="Б #1")) == outgoing(node, "Б #1")

    @pytest.mark.parametrize(
        "link",
        [
            f"vless://{UUID}@a.example:1#n",  # no query: v2rayNG drops it
            "trojan://pw@a.example#n",  # no port: mihomo refuses the list
            "trojan://pw@A.example:1#n",
            "trojan://p:w@a.example:1#n",
            "trojan://pw@a.example:1?type=ws&path=/p=1#n",  # v2rayNG cuts at the second =
            "trojan://pw@a.example:1?type=ws&type=tcp#n",
            "trojan://pw@a.example:1?flag#n",  # v2rayNG drops it
            f"vless://{UUID}@a.example:1?encryption=none&amp;type=tcp#n",
            "hy2://pw@a.example:1,5-6#n",
        ],
    )
    def test_another_link_goes_out_as_apps_read_it(self, link: str) -> None:
        assert outgoing(parse(link)) == emit(parse(link)) != link

    @pytest.mark.parametrize("name", ["#1", "50%", "a\\b", "<b>", '"q"', "`", "{}"])
    def test_a_name_at_which_apps_stumble_is_escaped(self, name: str) -> None:
        node = parse(f"trojan://pw@a.example:1#{name}")
        assert outgoing(node) == emit(node).replace("?security=tls&type=tcp", "")


# Servers of every protocol, in the vocabulary of Node.
controls = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFFFD]
characters = st.characters(
    exclude_categories=["Cs"], exclude_characters="".join(map(chr, controls))
)
texts = st.text(characters, min_size=1, max_size=12).filter(str.strip)
# Spaces around a value are ignored.
words = texts.map(str.strip).filter(lambda text: text and text not in NOTHING)
secrets = texts.map(str.strip).filter(bool)
hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z]{2,5}){1,2}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda text: not text.startswith("::")),
)
uuids = st.uuids().map(str)
ids = st.one_of(uuids, words.filter(lambda text: len(text.encode()) <= 30))
digits = st.integers(1, 9999).map(str)
paths = words.filter(lambda text: text != "/").map(
    lambda text: text if text.startswith("/") else f"/{text}"
)
header_names = st.text("abc.,-", min_size=1, max_size=9)
keys = st.binary(min_size=32, max_size=32).map(lambda key: base64.b64encode(key).decode())
objects = st.dictionaries(
    words, st.one_of(words, st.integers(), st.booleans()), min_size=1, max_size=3
).map(lambda found: json.dumps(found, separators=(",", ":"), sort_keys=True))
extras = st.dictionaries(texts.map("x-{}".format), words, max_size=2)


def some(
    required: Mapping[str, Any], **optional: st.SearchStrategy[str]
) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(dict(required), optional=optional)


def joined(*parts: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[dict[str, str]]:
    return st.tuples(*parts).map(
        lambda found: {name: value for part in found for name, value in part.items()}
    )


common_tls = {
    "sni": header_names, "alpn": st.sampled_from(["h2", "h2,http/1.1", "h3"]), "insecure": st.just("1"),
    "fp": st.sampled_from(["chrome", "qq", "random"]), "ech": words, "pcs": words, "vcn": words,
}  # fmt: skip
tls = some({"security": st.just("tls")}, **common_tls)
reality = some(
    {
        "security": st.just("reality"), "fp": st.just("chrome"),
        "pbk": keys.map(lambda key: key[:-1].replace("+", "-").replace("/", "_")),
    },
    sid=st.sampled_from(["ab", "0123456789abcdef"]), spx=words, pqv=words,
)  # fmt: skip
no_tls: st.SearchStrategy[dict[str, str]] = st.just({})
host_and_path = {"host": header_names, "path": paths}


def network(name: str, **optional: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return some({"network": st.just(name)}, **optional)


transports = st.one_of(
    st.just({}),
    some({"header_type": st.just("http")}, **host_and_path),
    network("ws", **host_and_path),
    network("httpupgrade", **host_and_path),
    network("http", **host_and_path),
    network(
        "xhttp",
        **host_and_path,
        mode=st.sampled_from(["packet-up", "stream-one"]),
        extra_json=objects,
    ),
    network("grpc", service_name=words, authority=words, mode=st.just("multi")),
    network(
        "kcp",
        header_type=st.sampled_from(["srtp", "dns"]),
        seed=secrets,
        mtu=digits,
        tti=digits,
        fm=objects,
    ),
    network("quic"),
)
streams = joined(
    st.one_of(no_tls, tls, reality),
    transports,
    some({}, packet_encoding=st.sampled_from(["xudp", "packetaddr"])),
)
hops: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.just({}), some({"ports": st.sampled_from(["5-6", "443,5000-6000"])}, hop_interval=digits)
)
plugins = st.sampled_from(
    [
        "obfs-local;obfs=tls;obfs-host=h",
        "v2ray-plugin;mode=websocket;path=/a=b;tls",
        r"x;k=a\;b\\;l\=m=n",
    ]
)
key_texts = st.binary(min_size=16, max_size=16).map(lambda key: base64.b64encode(key).decode())
PARAMS: dict[str, st.SearchStrategy[dict[str, str]]] = {
    "vless": joined(
        streams,
        some(
            {"uuid": ids},
            flow=st.just("xtls-rprx-vision"),
            encryption=st.just(f"mlkem768x25519plus.native.0rtt.{'abc_-' * 8}abc"),
        ),
    ),
    "vmess": joined(streams, some({"uuid": ids}, cipher=st.sampled_from(["none", "zero"]), alter_id=digits)),
    "trojan": joined(streams, some({"password": texts})),
    "shadowsocks": st.one_of(
        some(
            {"method": st.sampled_from(["aes-256-gcm", "none", "rc4-md5"]), "password": texts},
            plugin=plugins, uot=st.just("1"),
        ),
        some({"method": st.just("2022-blake3-aes-128-gcm"), "password": key_texts}),
        some({"method": st.just("none")}),
    ),
    "ssr": some(
        {
            "method": st.just("rc4-md5"), "password": texts, "ssr_protocol": st.just("origin"),
            "obfs": st.just("plain"),
        },
        obfs_param=texts, ssr_protocol_param=texts, group=texts,
    ),
    "hysteria2": joined(
        hops, tls, some({}, password=texts, pin_sha256=st.just("ab" * 32)),
        st.one_of(st.just({}), some({"obfs": st.just("salamander"), "obfs_password": secrets})),
    ),
    "hysteria": joined(
        hops, tls, some({"up": digits, "down": digits}, auth=secrets, transport=st.just("faketcp")),
        st.one_of(st.just({}), some({"obfs": st.just("xplus"), "obfs_password": secrets})),
    ),
    "tuic": joined(
        tls,
        some(
            {"uuid": uuids, "password": texts}, congestion_control=st.sampled_from(["bbr", "new_reno"]),
            udp_relay_mode=st.just("quic"), reduce_rtt=st.just("1"), disable_sni=st.just("1"),
        ),
    ),
    "wireguard": some(
        {"private_key": keys, "public_key": keys, "address": st.sampled_from(["10.0.0.2/32", "10.0.0.2/24,fd00::2/128"])},
        preshared_key=keys, reserved=st.just("1,2,3"), allowed_ips=st.just("10.0.0.0/8"), keepalive=digits,
        mtu=digits.filter(lambda text: text != "1420"),
    ),
    "socks": some({}, username=texts.filter(lambda text: ":" not in text), password=texts),
    "http": joined(
        some({"username": texts.filter(lambda text: ":" not in text)}, password=texts), st.one_of(no_tls, tls)
    ),
    "anytls": joined(some({"password": texts}), st.one_of(tls, reality)),
}  # fmt: skip


def names_of(protocol: str) -> st.SearchStrategy[dict[str, str]]:
    """Unknown parameters. For WireGuard they have no upper case and no punctuation."""
    if protocol != "wireguard":
        return extras
    return st.dictionaries(st.text("xyz", min_size=1, max_size=5), words, max_size=2)


def nodes_of(protocol: str) -> st.SearchStrategy[Node]:
    return st.builds(
        Node,
        raw=st.just(""),
        protocol=st.just(protocol),
        server=hosts,
        port=st.integers(1, 65535),
        remark=texts.map(clean_remark).filter(bool),
        params=PARAMS[protocol],
        extra=names_of(protocol).map(lambda found: dict(sorted(found.items()))),
    )


@given(st.sampled_from(sorted(PARAMS)).flatmap(nodes_of))
def test_every_server_survives_being_written_and_read(node: Node) -> None:
    link = emit(node)
    assume(len(link) <= MAX_LENGTH)
    after = parse(link)
    assert_same(node, after)
    assert after.remark == node.remark
    assert emit(after) == link


pieces = st.sampled_from(
    [
        "@",
        ":",
        "#",
        "?",
        "/",
        "[",
        "]",
        "%",
        "=",
        "&",
        ";",
        "+",
        " ",
        "\\",
        "%0A",
        "%25",
        "%FF",
        "%20",
        "é",
        "0",
        "tls",
    ]
)
changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), pieces), min_size=1, max_size=4)


def changed(text: str, edits: list[tuple[float, int, str]]) -> str:
    for place, cut, piece in edits:
        index = int(place * len(text))
        text = text[:index] + piece + text[index + cut :]
    return text


def changed_inside(link: str, edits: list[tuple[float, int, str]]) -> str:
    """Apply the edits to the base64 part of a link, if it has one."""
    scheme, _, rest = link.partition("://")
    blob = rest.partition("#")[0].partition("?")[0].partition("@")[0]
    try:
        text = base64.urlsafe_b64decode(
            blob.replace("+", "-").replace("/", "_") + "=" * (-len(blob) % 4)
        ).decode()
    except ValueError:
        return changed(link, edits)
    return f"{scheme}://{b64(changed(text, edits))}{rest[len(blob) :]}"


@given(st.sampled_from(VALID), changes, st.booleans())
def test_a_damaged_link_gives_a_link_error_or_a_server_that_survives(
    link: str, edits: list[tuple[float, int, str]], inside: bool
) -> None:
    damaged = changed_inside(link, edits) if inside else changed(link, edits)
    try:
        node = parse(damaged)
    except LinkError:
        return
    for written in (emit(node), outgoing(node)):
        assert len(written.splitlines()) == 1
        assume(len(written) <= MAX_LENGTH)
        assert_same(node, parse(written))

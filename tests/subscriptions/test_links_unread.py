"""Words of links that nobody knows: which keep a server out of YAML and JSON, and which mean nothing."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions import formats, links
from subscriptions.links import common, parse

UUID = "11111111-2222-4333-8444-555555555555"
KEY = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8%3D"
SERVERS = {
    "vless": f"vless://{UUID}@a.example:443?security=tls&type=tcp",
    "trojan": "trojan://pw@a.example:443?security=tls",
    "shadowsocks": "ss://aes-128-gcm:pw@a.example:443?",
    "hysteria2": "hysteria2://pw@a.example:443?sni=s.example",
    "wireguard": f"wireguard://{KEY}@a.example:1?publickey={KEY}&address=10.0.0.2",
    "socks": "socks5://u:p@a.example:1080?",
}
DECIDING = [
    "detour=other", "dialer-proxy=first", "shadow-tls-password=x", "reality-opts=x", "wss=1", "grpcOpts=x",
    "tunnel=1", "camouflage=x", "obfs-mode=x", "http-headers=x", "certificate=x", "tlsSettings=%7B%22a%22:1%7D",
    "wsSettings=%7B%22path%22:%22/x%22%7D", "upstream=x", "XPaddingFoo=1", "finalmask-x=1", "junk=5",
]  # fmt: skip
IDLE = [
    "remarks=x", "udp=1", "tfo=1", "mux=1", "mux-type=h2mux", "fragment=1,40-60,30-50", "noise=x", "tag=x", "level=1",
    "group=x", "country=DE", "@channel=x", "telegram=x", "support=x", "ping=5", "keepalive=20", "version=5",
    "wnoise=quic", "wnoisecount=5", "ifp=10-20", "workers=4", "http-timeout=5", "tech=x",
]  # fmt: skip


def left_out(link: str) -> set[str]:
    return set(formats.left_out([parse(link)]))


@pytest.mark.parametrize("word", DECIDING)
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_word_that_may_decide_the_way_keeps_the_server_out_of_every_format(
    server: str, word: str
) -> None:
    assert left_out(f"{server}&{word}") == {"mihomo", "sing-box", "xray"}


@pytest.mark.parametrize("word", IDLE)
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_label_or_a_habit_of_the_client_keeps_it_out_of_none(server: str, word: str) -> None:
    assert left_out(f"{server}&{word}") == set()


@pytest.mark.parametrize("value", ["", "0", "false", "none", "null", "undefined", "auto", "[]"])
def test_a_word_that_says_nothing_decides_nothing(value: str) -> None:
    assert left_out(f"{SERVERS['vless']}&tunnel={value}") == set()


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_the_link_keeps_what_no_format_can_say(server: str) -> None:
    node = parse(f"{server}&Tunnel=%2Fx")
    assert "Tunnel=%2Fx" in links.emit(node)
    assert links.fingerprint(parse(links.outgoing(node))) == links.fingerprint(node)


def test_a_transport_over_quic_may_be_called_by_its_name() -> None:
    assert left_out(f"{SERVERS['hysteria2']}&type=hysteria&network=udp&headerType=none") == set()


def test_a_password_of_a_disguise_without_a_name_decides() -> None:
    link = "hysteria2://pw@a.example:443?obfs-password=x"
    assert left_out(link) == {"mihomo", "sing-box", "xray"}
    assert left_out(f"{link}&obfs=none") == set()


def test_a_network_that_is_no_transport_decides_unless_it_says_what_is_so_anyway() -> None:
    link = f"vless://{UUID}@a.example:443?network="
    assert left_out(f"{link}pigeon") == {"mihomo", "sing-box", "xray"}
    assert left_out(f"{link}udp") == set()


def test_a_transport_that_quic_has_not_decides() -> None:
    assert left_out(f"{SERVERS['hysteria2']}&type=ws") == {"mihomo", "sing-box", "xray"}


@given(
    st.sampled_from(sorted(common.NOTHING)),
    st.sampled_from(["sni", "host", "path", "alpn", "fp", "extra", "flow", "headerType", "mode", "ech", "pcs"]),
)  # fmt: skip
def test_a_programs_word_for_nothing_is_nothing(nothing: str, name: str) -> None:
    link = f"vless://{UUID}@a.example:443?security=tls&type=xhttp"
    assert parse(f"{link}&{name}={quote(nothing)}").params == parse(link).params


@given(st.data())
def test_case_and_marks_in_a_name_mean_nothing(data: st.DataObject) -> None:
    said = {"type": "ws", "security": "tls", "sni": "s.example", "host": "h.example", "path": "/p", "alpn": "h2",
            "allow_insecure": "1", "early_data_header_name": "X"}  # fmt: skip
    names = {
        name: "".join(
            data.draw(st.sampled_from([letter, letter.upper()])) for letter in name
        ).replace("_", data.draw(st.sampled_from(["", "-", "_"])))
        for name in said
    }
    order = data.draw(st.permutations(list(said)))
    query = "&".join(f"{names[name]}={quote(said[name], safe='')}" for name in order)
    wanted = "type=ws&security=tls&sni=s.example&host=h.example&path=/p&alpn=h2&insecure=1&eh=X"
    link = f"vless://{UUID}@a.example:443?"
    assert parse(link + query).params == parse(link + wanted).params
    assert parse(link + query).extra == {}


def test_a_name_spelled_as_usual_goes_before_another_spelling() -> None:
    link = f"vless://{UUID}@a.example:443?type=ws&Host=other.example&host=h.example"
    assert parse(link).params["host"] == "h.example"


def test_of_two_values_the_first_that_is_one_counts() -> None:
    link = f"vless://{UUID}@a.example:443?type=&type=ws&type=grpc"
    assert parse(link).params["network"] == "ws"


def test_security_said_both_ways_is_left_to_the_link() -> None:
    link = f"vless://{UUID}@a.example:443?security=none&tls=1"
    assert left_out(link) == {"mihomo", "sing-box", "xray"}


def test_transports_that_contradict_each_other_are_left_to_the_link() -> None:
    link = f"vless://{UUID}@a.example:443?type=grpc&obfs=websocket"
    assert left_out(link) == {"mihomo", "sing-box", "xray"}


def test_every_scheme_that_is_read_begins_a_link() -> None:
    schemes = {scheme for protocol in links.PROTOCOLS for scheme in protocol.schemes}
    assert schemes - {"http", "https"} == set(common.SERVER_SCHEMES)

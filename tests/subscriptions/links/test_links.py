"""Share links: a corpus of real and broken links, and each rule separately."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions import links
from subscriptions.links import LinkError, clean_remark, emit, fingerprint, outgoing, parse

UUID = "11111111-2222-4333-8444-555555555555"
KEY = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
REALITY_KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
_FILE = Path(__file__).parents[1] / "data" / "links.jsonl"
CORPUS: list[dict[str, Any]] = [
    json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()
]
VALID = [row for row in CORPUS if row["valid"]]
# An operator's own links may point at private addresses; sources have a separate rule.
INVALID = [row for row in CORPUS if not row["valid"] and row["reason"] != "private_host"]
PRIVATE = [row for row in CORPUS if not row["valid"] and row["reason"] == "private_host"]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def vmess(**fields: Any) -> str:
    return "vmess://" + encoded(
        json.dumps({"add": "a.example", "port": "443", "id": UUID, "ps": "n"} | fields)
    )


def refusal(text: str) -> str:
    with pytest.raises(LinkError) as caught:
        parse(text)
    return caught.value.code


@pytest.mark.parametrize("row", VALID, ids=lambda row: f"{row['id']} {row['note'][:40]}")
def test_a_valid_link_of_the_corpus_is_understood(row: dict[str, Any]) -> None:
    node = parse(row["link"])
    assert (node.protocol, node.server, node.port) == (row["protocol"], row["server"], row["port"])
    assert node.remark == row["remark"]


@pytest.mark.parametrize("row", INVALID, ids=lambda row: f"{row['id']} {row['note'][:40]}")
def test_an_invalid_link_of_the_corpus_is_refused_with_its_reason(row: dict[str, Any]) -> None:
    assert refusal(row["link"]) == row["reason"]


@pytest.mark.parametrize("row", PRIVATE, ids=lambda row: str(row["id"]))
def test_an_operators_link_may_point_at_a_private_address(row: dict[str, Any]) -> None:
    assert parse(row["link"]).protocol == row["protocol"]


@pytest.mark.parametrize("row", VALID, ids=lambda row: f"{row['id']} {row['note'][:40]}")
def test_an_emitted_link_is_the_same_server_under_the_new_name(row: dict[str, Any]) -> None:
    before = parse(row["link"])
    after = parse(emit(before, "Имя & #1? 50% /+"))
    assert after.remark == "Имя & #1? 50% /+"
    assert (after.protocol, after.server, after.port) == (
        before.protocol,
        before.server,
        before.port,
    )
    assert (after.params, after.extra) == (before.params, before.extra)
    assert fingerprint(after) == fingerprint(before)
    assert emit(after) == emit(before, "Имя & #1? 50% /+")


@pytest.mark.parametrize("row", VALID, ids=lambda row: f"{row['id']} {row['note'][:40]}")
def test_an_outgoing_link_is_the_same_server(row: dict[str, Any]) -> None:
    node = parse(row["link"])
    assert fingerprint(parse(outgoing(node))) == fingerprint(node)
    assert fingerprint(parse(outgoing(node, "Имя"))) == fingerprint(node)


def test_every_reason_has_a_sentence() -> None:
    assert str(LinkError("bad_port")) == "The port is not a number from 1 to 65535."


class TestText:
    @pytest.mark.parametrize(
        "text",
        ["", "   ", "\ufeff", "\r\n\t", "\0", "vless://", "vless:///", "vmess://", "ss://#x"],
    )
    def test_nothing_is_empty(self, text: str) -> None:
        assert refusal(text) == "empty"

    def test_blanks_and_a_byte_order_mark_around_a_link_are_dropped(self) -> None:
        assert parse("\ufeff \tTROJAN://pw@a.example:1#n \r\n\0").raw == "trojan://pw@a.example:1#n"

    def test_4096_characters_are_accepted(self) -> None:
        link = "trojan://pw@a.example:1#"
        assert parse(link + "x" * (4096 - len(link))).port == 1

    def test_4097_characters_are_too_long(self) -> None:
        link = "trojan://pw@a.example:1#"
        assert refusal(link + "x" * (4097 - len(link))) == "too_long"

    @pytest.mark.parametrize(
        "bad",
        ["\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ud800", "\x7f"],
    )
    def test_a_link_is_one_line_that_utf8_can_carry(self, bad: str) -> None:
        assert refusal(f"trojan://pw@a.example:1#a{bad}b") == "bad_text"

    @pytest.mark.parametrize(
        "mark", ["\u200b", "\u200e", "\u200f", "\u2060", "\u00a0", "\u202a", "\xad"]
    )
    def test_marks_that_nobody_sees_around_a_link_are_dropped(self, mark: str) -> None:
        assert parse(f"{mark}trojan://pw@a.example:1#n{mark}").raw == "trojan://pw@a.example:1#n"

    @pytest.mark.parametrize("pair", ['""', "''", "``", "“”", "„“", "«»"])
    def test_quotes_around_a_link_are_dropped(self, pair: str) -> None:
        assert parse(f"{pair[0]}trojan://pw@a.example:1#n{pair[1]}").remark == "n"
        assert parse(f"{pair[0]}trojan://pw@a.example:1#n{pair[1]},").remark == "n"

    def test_a_quote_that_nothing_opens_is_part_of_the_name(self) -> None:
        assert parse('trojan://pw@a.example:1#my "n"').remark == 'my "n"'

    @pytest.mark.parametrize(
        "tail", ["<br>", "<br/>", "<BR />", "</p>", "</li> ", "\\n", "\\r\\n", "&nbsp;"]
    )
    def test_leftovers_of_a_page_after_a_link_are_dropped(self, tail: str) -> None:
        assert parse(f"trojan://pw@a.example:1#n{tail}").raw == "trojan://pw@a.example:1#n"

    @pytest.mark.parametrize("between", ["", " ", "|", ",", ";", "<br>", "\\n", "%0A", "A"])
    @pytest.mark.parametrize("scheme", ["vless", "SS", "hy2", "juicity"])
    def test_two_links_are_told_from_one_whatever_stands_between(
        self, between: str, scheme: str
    ) -> None:
        assert refusal(f"trojan://pw@a.example:1#n{between}{scheme}://x@b.example:2") == "two_links"

    @pytest.mark.parametrize("name", ["A vless%3A%2F%2Fx@b.example:2", "A trojan:%2F%2Fx"])
    def test_a_name_never_holds_a_link(self, name: str) -> None:
        assert parse(f"trojan://pw@a.example:1#{name}").remark == "A"
        assert parse(vmess(ps="A vless://x@b.example:2")).remark == "A"
        assert clean_remark("A ss://x@b.example:2") == "A"

    def test_a_pages_address_in_the_name_is_no_second_link(self) -> None:
        assert (
            parse("trojan://pw@a.example:1#see https://example.org").remark
            == "see https://example.org"
        )

    @pytest.mark.parametrize("text", ["# note", "// note", "REMARKS=mine"])
    def test_comments_are_told_from_links(self, text: str) -> None:
        assert refusal(text) == "comment"

    def test_a_name_is_cut_at_255_characters(self) -> None:
        assert parse("trojan://pw@a.example:1#" + "x" * 300).remark == "x" * 255

    def test_control_characters_leave_a_name(self) -> None:
        assert clean_remark(" a\nb\u2028c\ud800 ") == "abc"

    def test_an_encoded_line_break_in_the_name_does_not_come_out(self) -> None:
        assert parse("trojan://pw@a.example:1#a%0Ab").remark == "ab"


class TestHost:
    @pytest.mark.parametrize(
        ("written", "server"),
        [
            ("A.Example.", "a.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0:0::1]", "2001:db8::1"),
            ("[::ffff:192.0.2.1]", "192.0.2.1"),
            ("[::FFFF:c000:201]", "192.0.2.1"),
            ("under_score.example", "under_score.example"),
            ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
            ("%D0%BF%d1%80%D0%B8%D0%BC%D0%B5%D1%80.рф", "xn--e1afmkfd.xn--p1ai"),
            ("localhost", "localhost"),
        ],
    )
    def test_a_host_is_normalised(self, written: str, server: str) -> None:
        assert parse(f"trojan://pw@{written}:1").server == server

    @pytest.mark.parametrize(
        "host",
        [
            "-a.example", "a-.example", "a..example", "a b", "1.2.3", "256.1.1.1", "0x7f000001", "127.0.0.0x1",
            "[::1", "[::1]x", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[1.2.3.4]", "[a.example]", "2001:db8::1", "%41.example", "%FF.example",
            "a" * 64, ".".join(["a" * 60] * 5), "\u200b", "ß" * 300, "xn--а",
        ],
    )  # fmt: skip
    def test_a_text_that_is_not_a_host_is_refused(self, host: str) -> None:
        assert refusal(f"trojan://pw@{host}:1") == "bad_host"

    def test_a_host_that_is_not_there_is_named(self) -> None:
        assert refusal("trojan://pw@:1") == "missing_host"


class TestPort:
    @pytest.mark.parametrize("port", ["1", "65535"])
    def test_ports_from_1_to_65535_are_accepted(self, port: str) -> None:
        assert parse(f"vless://{UUID}@a.example:{port}").port == int(port)

    @pytest.mark.parametrize(
        "port", ["0", "65536", "-1", "+1", "1.0", "٤٤٣", "443a", "4 43", "443,444"]
    )
    def test_other_ports_are_refused(self, port: str) -> None:
        assert refusal(f"vless://{UUID}@a.example:{port}") == "bad_port"

    def test_a_path_behind_the_port_is_cut(self) -> None:
        assert parse(f"vless://{UUID}@a.example:443/x/y?type=tcp").port == 443

    @pytest.mark.parametrize(
        ("ports", "first"),
        [("443,5000-6000", 443), ("5000-6000", 5000), ("7,8", 7), ("", 443), ("9-9", 9)],
    )
    def test_the_first_port_of_a_hop_range_counts(self, ports: str, first: int) -> None:
        assert parse(f"hy2://pw@a.example:{ports}").port == first

    @pytest.mark.parametrize("ports", ["1-0", "5-", "-5", "-", "443,", "1,,2x", "1-70000"])
    def test_a_wrong_hop_range_is_refused(self, ports: str) -> None:
        assert refusal(f"hysteria2://pw@a.example:{ports}") == "bad_port"


class TestVless:
    def test_an_id_of_30_bytes_is_accepted(self) -> None:
        assert parse(f"vless://{'x' * 30}@a.example:1").port == 1

    def test_an_id_of_31_bytes_is_refused(self) -> None:
        assert refusal(f"vless://{'x' * 31}@a.example:1") == "bad_id"

    def test_a_uuid_without_dashes_is_accepted(self) -> None:
        assert parse(f"vless://{UUID.replace('-', '')}@a.example:1").port == 1

    def test_a_short_id_of_16_digits_is_accepted(self) -> None:
        assert (
            parse(
                f"vless://{UUID}@a.example:1?security=reality&pbk={REALITY_KEY}&sid=0123456789abcdef"
            ).port
            == 1
        )

    def test_a_short_id_of_18_digits_is_refused(self) -> None:
        link = (
            f"vless://{UUID}@a.example:1?security=reality&pbk={REALITY_KEY}&sid=0123456789abcdef01"
        )
        assert refusal(link) == "bad_sid"

    def test_the_first_of_two_values_counts(self) -> None:
        link = f"vless://{UUID}@a.example:1?security=reality&pbk={REALITY_KEY}&pbk=bad"
        assert parse(link).port == 1


class TestVmess:
    def test_the_url_form_is_understood(self) -> None:
        node = parse(f"vmess://{UUID}@a.example:443?type=ws#n")
        assert (node.protocol, node.server, node.remark) == ("vmess", "a.example", "n")

    def test_a_fragment_names_a_link_that_has_no_name_inside(self) -> None:
        assert parse(vmess(ps="") + "#outside").remark == "outside"

    @pytest.mark.parametrize("port", [443, "443", 443.0, " 443 "])
    def test_a_port_may_be_a_number_or_a_text(self, port: Any) -> None:
        assert parse(vmess(port=port)).port == 443

    @pytest.mark.parametrize("port", [None, False, [], {}])
    def test_a_port_of_a_wrong_type_counts_as_missing(self, port: Any) -> None:
        assert refusal(vmess(port=port)) == "missing_port"

    def test_a_server_that_is_no_text_counts_as_missing(self) -> None:
        assert refusal(vmess(add=None)) == "missing_host"

    def test_text_that_is_no_json_is_refused(self) -> None:
        assert refusal("vmess://" + encoded("hello there, this is text")) == "bad_json"

    def test_json_nested_too_deeply_is_refused(self) -> None:
        assert refusal("vmess://" + encoded("[" * 2500)) == "bad_json"

    def test_half_a_surrogate_in_the_name_does_not_come_out(self) -> None:
        assert (
            parse(
                "vmess://"
                + encoded(json.dumps({"add": "a.example", "port": 1, "id": UUID, "ps": "a\ud800b"}))
            ).remark
            == "ab"
        )


class TestShadowsocks:
    def test_the_older_form_may_hold_any_character_in_its_password(self) -> None:
        blob = encoded("aes-256-gcm:p@s:s#w?rd/@192.0.2.1:8388")
        assert parse(f"ss://{blob}#n").server == "192.0.2.1"

    def test_the_older_form_without_an_address_is_refused(self) -> None:
        assert refusal("ss://" + encoded("aes-256-gcm:password")) == "bad_form"

    def test_bytes_that_are_no_text_are_refused(self) -> None:
        assert refusal("ss://" + base64.b64encode(b"\xff\xfe@\xff").decode()) == "bad_base64"

    def test_a_missing_password_is_named(self) -> None:
        assert refusal("ss://aes-256-gcm:@a.example:1") == "missing_password"

    def test_the_cipher_none_needs_no_password(self) -> None:
        assert parse("ss://none:@a.example:1").port == 1

    def test_several_2022_keys_are_checked_each(self) -> None:
        good, bad = encoded("x" * 16), encoded("x" * 15)
        assert (
            parse(
                f"ss://2022-blake3-aes-128-gcm:{good}:{good}@a.example:1".replace("==", "%3D%3D")
            ).port
            == 1
        )
        assert (
            refusal(
                f"ss://2022-blake3-aes-128-gcm:{good}:{bad}@a.example:1".replace("==", "%3D%3D")
            )
            == "bad_key"
        )

    def test_a_2022_key_that_is_not_base64_is_refused(self) -> None:
        assert refusal("ss://2022-blake3-aes-128-gcm:$$$@a.example:1") == "bad_key"


class TestOthers:
    def test_an_ssr_link_without_parameters_has_no_name(self) -> None:
        assert parse("ssr://" + encoded("a.example:1:origin:aes-128-ctr:plain:cHc")).remark == ""

    def test_an_ssr_link_with_too_few_parts_is_refused(self) -> None:
        assert refusal("ssr://" + encoded("a.example:1:origin")) == "bad_form"

    def test_an_ssr_link_without_a_password_is_refused(self) -> None:
        assert (
            refusal("ssr://" + encoded("a.example:1:origin:aes-128-ctr:plain:"))
            == "missing_password"
        )

    def test_a_socks_link_may_be_encoded_as_a_whole(self) -> None:
        node = parse("socks://" + encoded("user:pw@a.example:1080") + "#n")
        assert (node.server, node.port, node.remark) == ("a.example", 1080, "n")

    def test_a_host_that_happens_to_be_base64_is_a_host(self) -> None:
        assert refusal("socks://hosthost") == "missing_port"

    @pytest.mark.parametrize(
        "link",
        [
            "http://a.example:8080",
            "http://u:p@a.example",
            "https://u:p@a.example:1/list",
            "http://@a.example:1",
        ],
    )
    def test_a_http_address_without_user_and_port_or_with_a_path_is_no_proxy(
        self, link: str
    ) -> None:
        assert refusal(link) == "not_a_proxy"

    def test_a_tuic_id_must_be_a_uuid(self) -> None:
        assert refusal("tuic://name:pw@a.example:1") == "bad_uuid"

    def test_a_tuic_password_may_be_empty(self) -> None:
        assert "password" not in parse(f"tuic://{UUID}:@a.example:1").params

    def test_an_anytls_link_needs_a_password(self) -> None:
        assert refusal("anytls://a.example:443") == "missing_password"

    def test_an_anytls_link_without_a_port_has_443(self) -> None:
        assert parse("anytls://pw@a.example").port == 443

    def test_a_wireguard_link_needs_a_private_key(self) -> None:
        assert refusal(f"wg://a.example:1?publickey={KEY}") == "missing_key"

    def test_a_wireguard_key_has_32_bytes(self) -> None:
        assert refusal(f"wireguard://{encoded('x' * 31)}@a.example:1?publickey={KEY}") == "bad_key"

    def test_base64_of_an_impossible_length_is_refused(self) -> None:
        assert refusal("vmess://abcde") == "bad_base64"


schemes = st.sampled_from([*links._PARSERS, "foo"])
pieces = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
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
            UUID,
            KEY,
            "a.example",
            "443",
            "2022-blake3-aes-128-gcm:",
        ]
    ),
)
bodies = st.lists(pieces, max_size=12).map("".join)
packed = bodies.map(lambda text: base64.b64encode(text.encode(errors="replace")).decode())
objects = st.dictionaries(
    st.sampled_from(["add", "port", "id", "ps", "net"]),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.lists(st.integers(), max_size=2),
    ),
).map(lambda found: encoded(json.dumps(found)))


@given(st.builds("{}://{}".format, schemes, st.one_of(bodies, packed, objects)))
def test_any_text_gives_a_node_or_a_link_error(text: str) -> None:
    try:
        node = parse(text)
    except LinkError:
        return
    assert 1 <= node.port <= 65535
    assert node.server.isascii()
    assert 1 <= len(node.server) <= 253
    assert len(node.raw.splitlines()) == 1
    assert node.raw.encode()
    assert parse(node.raw) == node


@given(st.text(max_size=300))
def test_free_text_gives_a_node_or_a_link_error(text: str) -> None:
    try:
        parse(text)
    except LinkError as error:
        assert str(error)


@given(st.sampled_from(VALID), st.text(min_size=1, max_size=255))
def test_any_name_survives_renaming_as_one_line(row: dict[str, Any], remark: str) -> None:
    name = clean_remark(remark)
    link = emit(parse(row["link"]), name)
    assert len(link.splitlines()) == 1
    if name:
        assert parse(link).remark == name or len(link) > links.MAX_LENGTH

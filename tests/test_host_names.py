"""One spelling for each server, whoever names it."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.hosts import BadHost, bracketed, is_numeric, join_host_port, normalised_host
from operations.outbound.url_policy import Policy, Refused, check_url
from subscriptions.links import LinkError
from subscriptions.links.hosts import parse_host
from subscriptions.models import DirectConfig, Endpoint, Node
from traffic.figures.statistics import Share
from traffic.models import Server
from traffic.reports import InvalidReport, normalised_server

LOOSE = Policy(http=True, ports=True, addresses=True, private=True)

letters = st.sampled_from("abzAZ019-_.xéßжПß中ａ０。\u00ad\u200d%[]: ")
written = st.one_of(
    st.text(letters, max_size=40),
    st.text(max_size=20),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
    st.ip_addresses(v=4).map(lambda address: f"[::FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}]"),
    st.ip_addresses(v=4).map(lambda address: f"{int(address):#x}"),
    st.integers(0, 2**33).map(str),
    st.from_regex(r"[a-zA-Z0-9-]{1,6}(\.[a-zA-Z0-9-]{1,6}){0,3}(\.0x[0-9a-f]{0,4})?\.?", fullmatch=True),
    st.from_regex(r"[а-яё]{1,8}\.(рф|РФ|example)", fullmatch=True),
)  # fmt: skip


def name_or_none(text: str) -> str | None:
    try:
        return normalised_host(text)
    except BadHost:
        return None


def in_a_link(text: str) -> str | None:
    try:
        return parse_host(text)
    except LinkError:
        return None


def in_a_report(text: str) -> str | None:
    try:
        return normalised_server(text)
    except InvalidReport:
        return None


@given(written)
def test_a_server_has_one_name_in_a_link_and_in_a_report(text: str) -> None:
    reported = in_a_report(text)

    assert reported == name_or_none(text)
    # Blanks around a name and escapes in it belong to links alone.
    if text == text.strip() and "%" not in text:
        assert in_a_link(text) == reported
    if reported is not None:
        assert in_a_link(f" {text}\n") == in_a_link(quote(text, safe="[]:")) == reported


@given(written)
def test_a_name_is_stable_and_the_same_everywhere(text: str) -> None:
    name = name_or_none(text)
    if name is not None:
        assert name_or_none(name) == name_or_none(bracketed(name)) == in_a_link(name) == name


@given(written)
def test_a_url_leads_to_the_server_that_a_report_names(text: str) -> None:
    name = name_or_none(text)
    if name is None:
        return
    try:
        target = check_url(f"https://{bracketed(name)}/", LOOSE)
    except Refused as refusal:
        assert refusal.code == "private_address"
    else:
        assert target.host == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("VPN.Example.COM.", "vpn.example.com"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("under_score.example", "under_score.example"),
        ("192.0.2.1.", "192.0.2.1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::FFFF:c000:201]", "192.0.2.1"),
        ("0x7f.example", "0x7f.example"),
    ],
)
def test_each_spelling_becomes_the_one_name(text: str, name: str) -> None:
    assert normalised_host(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a..b", " a", "a ", "a b", "a\n", "%61.example", "0x7f000001", "0X7F000001", "vpn.0x10", "vpn.0x", "2130706433",
        "127.1", "01.2.3.4", "256.1.1.1", "fe80::1%eth0", "[192.0.2.1]", "[a.example]", "1::2::3", "a:443", "a" * 64,
        "-a.example", "*.example", "☃", "a\u200db.example", ".".join(["a" * 63] * 4), "a" * 513,
    ],
)  # fmt: skip
def test_a_text_that_names_no_host_is_refused_everywhere(text: str) -> None:
    assert name_or_none(text) is None
    assert in_a_report(text) is None
    if text == text.strip() and "%61" not in text:
        assert in_a_link(text) is None


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7F000001", "a.0x10", "192.0.2.1."])
def test_it_knows_what_resolvers_read_as_a_number(host: str) -> None:
    assert is_numeric(host)
    assert not is_numeric(f"{host}.example")


@pytest.mark.parametrize(
    ("host", "joined"),
    [("vpn.example.com", "vpn.example.com:443"), ("192.0.2.1", "192.0.2.1:443"), ("2001:db8::1", "[2001:db8::1]:443")],
)  # fmt: skip
def test_an_ipv6_address_stands_in_brackets_before_a_port(host: str, joined: str) -> None:
    assert join_host_port(host, 443) == joined


def test_no_code_and_no_template_joins_a_host_and_a_port_by_hand() -> None:
    """Brackets for IPv6 were forgotten in three of nine places."""
    root = Path(__file__).parents[1]
    apps = [
        root / app
        for app in ("operations", "traffic", "subscriptions", "gateways", "xpert_panel", "script")
    ]
    files = [file for app in apps for suffix in ("py", "html") for file in app.rglob(f"*.{suffix}")]
    found = {
        f"{file.relative_to(root)}: {line.strip()}"
        for file in files
        if file.name != "hosts.py"
        for line in file.read_text().splitlines()
        if re.search(r"\}\]?(?:<wbr>)?:\{+ ?[\w.]*port ?\}", line) and "|bracketed" not in line
    }

    assert not found


@pytest.mark.parametrize(
    "shown",
    [
        Server(host="2001:db8::1", port=443, protocol="vless"),
        Share("2001:db8::1", 443, "vless", 0, 0, 0),
        Endpoint(server="2001:db8::1", port=443),
        DirectConfig(server="2001:db8::1", port=443, protocol="vless"),
        Node(server="2001:db8::1", port=443, protocol="vless"),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_people_see_ipv6_in_brackets(shown: object) -> None:
    assert "[2001:db8::1]:443" in str(shown)

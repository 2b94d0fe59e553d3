"""Where URLs and addresses may lead the panel, including everything that ``ipaddress`` gets wrong."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.outbound.url_policy import (
    MAX_URL,
    Policy,
    Refused,
    check_url,
    is_private_host,
    is_public,
    may_be_dialled,
    redirected,
)

STRICT = Policy()
NOT_PUBLIC = [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.0.8", "192.0.0.1", "192.88.99.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
    "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1",
    "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "192.0.0.9", "192.0.0.10", "192.0.0.170", "168.63.129.16",
    "100.100.100.200", "::ffff:168.63.129.16", "::ffff:192.0.0.9", "64:ff9b::a83f:8110", "64:ff9b::c000:9",
    "64:ff9b::6464:64c8", "2002:a83f:8110::1", "2002:a9fe:a9fe::1", "2002:c000:9::1", "2002:e000:1::1", "2001:1::1",
    "2001:1::2", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:30::1", "2001:0:4136:e378::1", "::1.1.1.1",
    "100:0:0:1::1", "200::1", "4000::1", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_it_takes_no_address_of_anybodys_own_network_for_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
        "2002:101:101::1",
        "2001:200::1",
        "2620:4f:8000::1",
        "192.31.196.1",
        "192.52.193.1",
        "192.175.48.1",
        "168.63.129.15",
        "168.63.129.17",
    ],
)
def test_it_takes_public_addresses_for_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("network", "before", "after"),
    [
        ("0.0.0.0/8", None, "1.0.0.0"),
        ("10.0.0.0/8", "9.255.255.255", "11.0.0.0"),
        ("100.64.0.0/10", "100.63.255.255", "100.128.0.0"),
        ("127.0.0.0/8", "126.255.255.255", "128.0.0.0"),
        ("169.254.0.0/16", "169.253.255.255", "169.255.0.0"),
        ("172.16.0.0/12", "172.15.255.255", "172.32.0.0"),
        ("192.0.0.0/24", "191.255.255.255", "192.0.1.0"),
        ("192.0.2.0/24", "192.0.1.255", "192.0.3.0"),
        ("192.88.99.0/24", "192.88.98.255", "192.88.100.0"),
        ("192.168.0.0/16", "192.167.255.255", "192.169.0.0"),
        ("198.18.0.0/15", "198.17.255.255", "198.20.0.0"),
        ("198.51.100.0/24", "198.51.99.255", "198.51.101.0"),
        ("203.0.113.0/24", "203.0.112.255", "203.0.114.0"),
        ("224.0.0.0/3", "223.255.255.255", None),
        ("::/3", None, "2000::"),
        ("2001::/23", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
        ("2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
        ("3fff::/20", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
        ("4000::/2", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
        ("8000::/1", None, None),
    ],
)
def test_a_reserved_network_ends_where_the_registry_says_whatever_python_says(
    network: str, before: str | None, after: str | None
) -> None:
    reserved = ip_network(network)
    assert not is_public(reserved[0])
    assert not is_public(reserved[-1])
    assert before is None or is_public(ip_address(before))
    assert after is None or is_public(ip_address(after))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=4, network="192.0.0.0/22"))
def test_an_ipv4_address_is_judged_alike_in_every_way_to_write_it_as_ipv6(
    address: IPv4Address,
) -> None:
    number = int(address)
    for inside in (
        (0xFFFF << 32) + number,
        (0x64FF9B << 96) + number,
        (0x2002 << 112) + (number << 80),
    ):
        assert is_public(IPv6Address(inside)) == is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
        "fd00:42::42", "fd00:c1::a9fe:a9fe", "fe80::a9fe:a9fe", "::ffff:169.254.169.254", "::ffff:168.63.129.16",
        "::ffff:100.100.100.200", "64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110", "2002:a9fe:a9fe::1", "2002:a83f:8110::1",
        "2002:6464:64c8::1", "::169.254.169.254", "2001:0:a9fe:a9fe::1", "0.0.0.0", "::", "224.0.0.1", "240.0.0.1", "ff02::1",
    ],
)  # fmt: skip
def test_where_clouds_hand_out_their_secrets_nothing_is_ever_dialled(address: str) -> None:
    assert not may_be_dialled(ip_address(address), private=True)
    assert not may_be_dialled(ip_address(address), private=False)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.5", "127.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.201", "::1", "fd00::1", "fd00:ec1::254", "::ffff:10.0.0.5"],
)  # fmt: skip
def test_a_private_source_may_be_in_the_operator_s_own_network(address: str) -> None:
    assert may_be_dialled(ip_address(address), private=True)
    assert not may_be_dialled(ip_address(address), private=False)


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://sub.example.com", "sub.example.com", 443, "/"),
        ("https://SUB.Example.com./a?b=c#d", "sub.example.com", 443, "/a?b=c"),
        ("https://sub.example.com:8443/%D1%8F?t=a%2Fb", "sub.example.com", 8443, "/%D1%8F?t=a%2Fb"),
        (
            "https://пример.рф/список",
            "xn--e1afmkfd.xn--p1ai",
            443,
            "/%D1%81%D0%BF%D0%B8%D1%81%D0%BE%D0%BA",
        ),
    ],
)
def test_a_usual_url_passes(url: str, host: str, port: int, target: str) -> None:
    found = check_url(url, STRICT)
    assert (found.host, found.port, found.target) == (host, port, target)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "bad_url"),
        ("https://example.com/a b", "bad_url"),
        ("https://example.com/\r\nHost: x", "bad_url"),
        ("https://example.com\\@127.0.0.1/", "bad_url"),
        ("https://example.com:99999/", "bad_url"),
        ("https://[::1/", "bad_url"),
        ("file:///etc/passwd", "bad_scheme"),
        ("gopher://example.com/", "bad_scheme"),
        ("example.com/sub", "bad_scheme"),
        ("http://example.com/", "http"),
        ("https://user:pw@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https:///sub", "bad_host"),
        ("https://exa_mple..com/", "bad_host"),
        ("https://1.1.1.1/", "ip_literal"),
        ("https://[2606:4700:4700::1111]/", "ip_literal"),
        ("https://2130706433/", "ip_literal"),
        ("https://0x7f000001/", "ip_literal"),
        ("https://0177.0.0.1/", "ip_literal"),
        ("https://127.1/", "ip_literal"),
        ("https://127.0.0.1./", "ip_literal"),
        ("https://example.com:22/", "bad_port"),
        ("https://example.com:0/", "bad_port"),
        ("https://example.com:9000/", "bad_port"),
    ],
)
def test_an_unusual_url_is_refused(url: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, STRICT)
    assert caught.value.code == code


@pytest.mark.parametrize("length", [MAX_URL, MAX_URL + 1])
def test_a_url_has_2048_characters_at_most(length: int) -> None:
    url = "https://example.com/".ljust(length, "x")
    if length <= MAX_URL:
        check_url(url, STRICT)
        return
    with pytest.raises(Refused):
        check_url(url, STRICT)


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("http://example.com/", Policy(http=True)),
        ("https://example.com:9000/", Policy(ports=True)),
        ("https://1.1.1.1/", Policy(addresses=True)),
        ("http://127.0.0.1:9000/", Policy(private=True)),
        ("https://[fd00::1]/", Policy(private=True)),
    ],
)
def test_each_may_be_allowed(url: str, policy: Policy) -> None:
    check_url(url, policy)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[fd00::1]/",
    ],
)
def test_allowing_addresses_does_not_allow_private_ones(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, Policy(addresses=True))
    assert caught.value.code in {"private_address", "bad_host"}


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",
        "224.0.0.1",
        "[::ffff:169.254.169.254]",
        "168.63.129.16",
        "100.100.100.200",
        "[fd00:ec2::254]",
    ],
)
def test_not_even_a_private_source_may_be_where_clouds_hand_out_their_secrets(host: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(f"http://{host}/", Policy(private=True))
    assert caught.value.code == "private_address"


def test_no_policy_allows_the_ports_of_mail_and_ssh() -> None:
    with pytest.raises(Refused):
        check_url("https://example.com:25/", Policy(ports=True, private=True))


def test_allowed_credentials_go_into_the_header_and_out_of_the_rest() -> None:
    found = check_url("https://us%40er:p%3Aw@example.com/x", Policy(credentials=True))
    assert found.authorization == "Basic dXNAZXI6cDp3"
    assert found.host == "example.com"


def hop(start: str, location: str, policy: Policy = STRICT) -> str:
    first = check_url(start, policy)
    found = redirected(first, location, first, policy)
    return f"{found.scheme}://{found.host}:{found.port}{found.target}"


def test_a_redirect_may_be_relative() -> None:
    assert hop("https://example.com/a/b?c", "../d") == "https://example.com:443/d"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://example.com/", "http"),
        ("ftp://example.com/", "bad_scheme"),
        ("https://127.0.0.1/", "ip_literal"),
        ("//2130706433/", "ip_literal"),
        ("https://example.com:22/", "bad_port"),
        ("https://[::1", "bad_url"),
    ],
)
def test_a_redirect_is_checked_like_the_first_url(location: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        hop("https://example.com/", location)
    assert caught.value.code == code


def test_a_redirect_never_leads_from_https_to_http() -> None:
    with pytest.raises(Refused) as caught:
        hop("https://example.com/", "http://example.com/", Policy(http=True))
    assert caught.value.code == "downgrade"


def test_a_private_source_may_redirect_to_itself() -> None:
    private = Policy(private=True)
    assert hop("http://10.0.0.5:3000/a", "/b", private) == "http://10.0.0.5:3000/b"
    assert hop("http://10.0.0.5:3000/a", "https://10.0.0.5/b", private) == "https://10.0.0.5:443/b"


@pytest.mark.parametrize(
    "location", ["http://10.0.0.6/", "http://127.0.0.1:3000/", "http://10.0.0.5:3001/"]
)
def test_a_private_source_may_not_redirect_to_another_private_place(location: str) -> None:
    with pytest.raises(Refused):
        hop("http://10.0.0.5:3000/a", location, Policy(private=True))


def test_credentials_follow_a_redirect_at_home_only() -> None:
    policy = Policy(credentials=True)
    first = check_url("https://a:b@example.com/", policy)
    assert redirected(first, "/x", first, policy).authorization
    assert not redirected(first, "https://other.example/", first, policy).authorization
    assert not redirected(first, "https://c:d@other.example/", first, policy).authorization


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.1.1", "169.254.169.254", "localhost", "a.localhost", "nas.local", "router", "::1",
             "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "0.0.0.0", "db.internal", "224.0.0.1"]
)  # fmt: skip
def test_servers_inside_a_network_are_private(host: str) -> None:
    assert is_private_host(host)


@pytest.mark.parametrize(
    "host", ["vpn.example.com", "1.1.1.1", "192.0.2.7", "2001:db8::60", "localhost.example"]
)
def test_servers_outside_are_not(host: str) -> None:
    assert not is_private_host(host)


@given(st.text(max_size=60) | st.text(max_size=30).map(lambda rest: f"https://{rest}"))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        found = check_url(
            text, Policy(http=True, ports=True, credentials=True, addresses=True, private=True)
        )
    except Refused:
        return
    assert found.target.isascii()
    assert found.target.startswith("/")
    assert found.authorization.isascii()

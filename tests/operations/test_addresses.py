from ipaddress import ip_address

import pytest

from operations.addresses import believed, client_address, parse_address, shortened


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:5555", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:5555", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_it_reads_an_address_as_proxies_write_it(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "example.com", "1.2.3", "[", "[]", ":", "1.2.3.4, 5.6.7.8"]
)
def test_text_that_is_not_an_address_gives_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("header", "depth", "entry"),
    [
        ("a, b, c", 0, ""),
        ("a, b, c", 1, "c"),
        ("a, b, c", 2, "b"),
        ("a, b, c", 3, "a"),
        ("a, b, c", 4, ""),
        ("", 1, ""),
        ("a,", 1, ""),
    ],
)
def test_a_forwarded_header_is_believed_as_deep_as_proxies_are_trusted(
    header: str, depth: int, entry: str
) -> None:
    assert believed(header, depth) == entry


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, "203.0.113.9", "10.0.0.1"),  # nobody is believed
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # the first is the client's own invention
        (2, "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (2, "198.51.100.7", "10.0.0.1"),  # a proxy is missing from the chain
        (1, "", "10.0.0.1"),
        (1, "nonsense", "10.0.0.1"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
    ],
)
def test_the_client_is_the_one_that_the_trusted_proxies_name(
    proxies: int, forwarded: str, client: str
) -> None:
    meta = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(meta, proxies) == ip_address(client)


def test_a_peer_without_an_address_has_no_client_address() -> None:
    assert client_address({"REMOTE_ADDR": ""}, 0) is None
    assert client_address({}, 0) is None


@pytest.mark.parametrize(
    ("address", "kept"),
    [("192.0.2.255", "192.0.2.0"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"), ("::1", "::")],
)
def test_a_shortened_address_identifies_networks_but_no_people(address: str, kept: str) -> None:
    assert shortened(ip_address(address)) == kept


def test_a_missing_address_is_shortened_to_an_empty_text() -> None:
    assert shortened(None) == ""

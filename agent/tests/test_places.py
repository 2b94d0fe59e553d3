"""Places are written alike wherever people read them."""

from __future__ import annotations

import pytest

from xpert_agent.sources.base import join_host_port


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("vpn.example.com", "vpn.example.com:443"),
        ("192.0.2.1", "192.0.2.1:443"),
        ("2001:db8::1", "[2001:db8::1]:443"),
    ],
)
def test_ipv6_is_in_brackets_before_a_port(host: str, shown: str) -> None:
    assert join_host_port(host, 443) == shown

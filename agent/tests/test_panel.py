from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fake_panel import FakePanel

from xpert_agent.mapping import Listed
from xpert_agent.panel import Address, Panel, PanelError, UnreachableError, panel_of
from xpert_agent.sources.base import Endpoint


def test_the_list_of_servers_is_read(panel: FakePanel) -> None:
    panel.list_server("A", "a.example.com", 443, "vless")
    panel.list_server("B", "b.example.com", 8443, "trojan", measured=True)
    assert Panel(Address(panel.url, token=panel.token)).servers() == {
        "A": Listed(Endpoint("a.example.com", 443, "vless"), measured=False),
        "B": Listed(Endpoint("b.example.com", 8443, "trojan"), measured=True),
    }


def test_a_subscriptions_url_tells_panel_and_token() -> None:
    for path in ("sub", "direct-configs/sub"):
        url = f" https://vpn.example.com:8443/panel/api/xpert/{path}?format=clash&user_token=a%2Bb+c\n"
        assert panel_of(url) == ("https://vpn.example.com:8443/panel", "a+b+c")


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Something on loopback that is not a panel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n<html>hello</html>", "does not answer like an Xpert Panel"),
        (
            b'HTTP/1.0 200 OK\r\n\r\n{"servers": [{"name": "x"}]}',
            "does not answer like an Xpert Panel",
        ),
        (b"HTTP/1.0 301 Moved\r\nLocation: https://x/\r\n\r\n", "redirects to another address"),
        (b"HTTP/1.0 404 No\r\n\r\n", "does not know this subscription (HTTP 404)"),
        (
            b'HTTP/1.0 403 No\r\n\r\n{"detail": "Nobody."}',
            "does not accept this subscription (HTTP 403: Nobody.)",
        ),
        (b"HTTP/1.0 502 Bad\r\n\r\n", "answers HTTP 502"),
    ],
)
def test_what_is_wrong_with_an_answer_is_one_sentence(answer: bytes, sentence: str) -> None:
    with answering(answer) as url, pytest.raises(PanelError) as wrong:
        Panel(Address(url, token="t0ken")).servers()
    assert sentence in str(wrong.value)
    assert "t0ken" not in str(wrong.value)


def test_what_is_no_http_at_all_is_unreachable() -> None:
    with (
        answering(b"SSH-2.0-OpenSSH\r\n") as url,
        pytest.raises(UnreachableError, match="cannot be reached"),
    ):
        Panel(Address(url, token="t0ken")).servers()


def test_a_proxy_of_the_environment_is_used_except_for_loopback(
    panel: FakePanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", panel.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(PanelError, match=r"panel\.example\.com does not know this subscription"):
        Panel(Address("http://panel.example.com", token="t0ken", allow_http=True)).servers()
    with pytest.raises(UnreachableError, match="refuses connections"):
        Panel(Address("http://127.0.0.1:1", token="t0ken")).servers()


def test_key_and_token_are_not_in_what_python_prints_of_an_address() -> None:
    printed = repr(Address("https://panel.example.com", key="k3y", token="t0ken"))
    assert "k3y" not in printed
    assert "t0ken" not in printed

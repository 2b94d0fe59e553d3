"""The bot through proxies of the operator's, which run here: HTTP CONNECT and SOCKS5, with and without a password."""

import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from pytest_django import Settings

from integrations.telegram import bot_api
from operations.outbound import proxies
from operations.outbound.errors import OutboundError
from tests.integrations.telegram.bot_api import BotApi

# The bot names a host that only the proxy knows.
NAME = "api.telegram.example"
BASIC = b"Proxy-Authorization: Basic " + b64encode("кот:p@ss".encode())


class ProxyServer(ThreadingTCPServer):
    """``targets``: where it was asked to lead; it leads to ``origin`` always. ``answer``: sent instead of leading anywhere.

    ``tls``: what stands behind it speaks TLS.
    """

    daemon_threads = True
    origin = 0
    has_password = False
    answer = b""
    tls: ssl.SSLContext | None = None

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])


class Handler(BaseRequestHandler):
    server: ProxyServer
    request: socket.socket

    def handle(self) -> None:
        if self.server.answer:
            self.request.recv(4096)
            self.request.sendall(self.server.answer)
            return
        first = self.request.recv(1, socket.MSG_PEEK)
        if self._socks() if first == b"\x05" else self._http():
            self._relay()

    def _http(self) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(1)
        if self.server.has_password and BASIC not in head.split(b"\r\n"):
            self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return False
        self.server.targets.append(head.split(b" ")[1])
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n")
        return True

    def _socks(self) -> bool:
        _, count = self._read(2)
        wanted = 2 if self.server.has_password else 0
        if wanted not in self._read(count):
            self.request.sendall(b"\x05\xff")
            return False
        self.request.sendall(bytes([5, wanted]))
        if self.server.has_password and not self._is_known():
            return False
        _, _, _, kind = self._read(4)
        host = self._read(self._read(1)[0]) if kind == 3 else self._read({1: 4, 4: 16}[kind])
        port = int.from_bytes(self._read(2), "big")
        self.server.targets.append(host + b":%d" % port)
        self.request.sendall(b"\x05\x00\x00\x03\x05local\x00\x01")
        return True

    def _is_known(self) -> bool:
        self._read(1)
        told = [self._read(self._read(1)[0]).decode() for _ in range(2)]
        is_known = told == ["кот", "p@ss"]
        self.request.sendall(b"\x01\x00" if is_known else b"\x01\x01")
        return is_known

    def _read(self, count: int) -> bytes:
        return self.request.recv(count, socket.MSG_WAITALL) if count else b""

    def _relay(self) -> None:
        if self.server.tls is None:
            self._copy_both_ways(self.request)
            return
        # The certificate may be refused.
        with (
            suppress(OSError),
            self.server.tls.wrap_socket(self.request, server_side=True) as secured,
        ):
            self._copy_both_ways(secured)

    def _copy_both_ways(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.server.origin)) as origin:
            back = threading.Thread(target=copy, args=(origin, client), daemon=True)
            back.start()
            copy(client, origin)
            back.join(20)


def copy(source: socket.socket, goal: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            goal.sendall(data)
        goal.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def proxy(api: BotApi, settings: Settings) -> Iterator[ProxyServer]:
    with ProxyServer() as server:
        server.origin = int(api.url.rpartition(":")[2])
        settings.XPERT_TELEGRAM_URL = f"http://{NAME}:8081"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def through(settings: Settings, proxy: ProxyServer, scheme: str, user: str = "") -> bytes:
    settings.XPERT_TELEGRAM_PROXY = f"{scheme}://{user}127.0.0.1:{proxy.port}"
    return bot_api.call("getMe", {})


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("user", ["", "%D0%BA%D0%BE%D1%82:p%40ss@"], ids=["open", "password"])
def test_the_bot_speaks_through_it_and_it_looks_up_the_name(
    settings: Settings, proxy: ProxyServer, scheme: str, user: str
) -> None:
    proxy.has_password = bool(user)
    assert b"panel_bot" in through(settings, proxy, scheme, user)
    assert proxy.targets == [f"{NAME}:8081".encode()]


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_an_address_goes_to_socks_as_an_address(
    settings: Settings, proxy: ProxyServer, address: str
) -> None:
    settings.XPERT_TELEGRAM_URL = f"http://{address}:8081"
    assert b"panel_bot" in through(settings, proxy, "socks5")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert proxy.targets == [socket.inet_pton(family, address.strip("[]")) + b":8081"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("user", ["", "eve:wrong@"], ids=["no password", "a wrong one"])
def test_a_proxy_that_refuses_has_a_code_of_its_own(
    settings: Settings, proxy: ProxyServer, api: BotApi, scheme: str, user: str
) -> None:
    proxy.has_password = True
    with pytest.raises(OutboundError, match="proxy"):
        through(settings, proxy, scheme, user)
    assert api.calls == []


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
        ("http", b"HTTP/1.1 200"),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        ("socks5", b"\x04\x00"),
        ("socks5", b"\x05\x02"),
        ("socks5", b"\x05"),
        ("socks5", b"\x05\x00\x05\x01\x00\x01"),
        ("socks5", b"\x05\x00\x05\x00\x00\x09"),
    ],
)
def test_what_is_no_answer_of_a_proxy_is_refused(
    settings: Settings, proxy: ProxyServer, scheme: str, answer: bytes
) -> None:
    proxy.answer = answer
    with pytest.raises(OutboundError) as caught:
        through(settings, proxy, scheme)
    assert caught.value.code in {"proxy", "connection"}


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_tls_is_spoken_with_telegram_and_not_with_the_proxy(
    settings: Settings,
    proxy: ProxyServer,
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]  # fmt: skip
    made += ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    settings.XPERT_TELEGRAM_URL = f"https://{NAME}"
    proxy.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    proxy.tls.load_cert_chain(certificate, key)
    with pytest.raises(OutboundError):
        through(settings, proxy, scheme)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(proxies, "tls_context", lambda: trusting)
    assert b"panel_bot" in through(settings, proxy, scheme)
    assert proxy.targets[-1] == f"{NAME}:443".encode()

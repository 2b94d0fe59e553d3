"""Marzban's side of the node protocol over real sockets, step by step as Marzban 0.8.4 takes them.

Its answers are read as Marzban reads them: what would end Marzban's accounting raises here too.
"""

import http.client
import json
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc

from integrations.marzban.wire import varint

PATIENCE = 60
USERS = bytes.fromhex("0a07757365723e3e3e1001")
OUTBOUNDS = bytes.fromhex("0a0b6f7574626f756e643e3e3e1001")
QUERY_STATS = "/xray.app.stats.command.StatsService/QueryStats"
SYS_STATS = "/xray.app.stats.command.StatsService/GetSysStats"
ALTER = "/xray.app.proxyman.command.HandlerService/AlterInbound"
# As recorded from a real panel: "2.bob.x" leaves and comes, with the credentials that a panel sends.
REMOVE_BOB = bytes.fromhex(
    "0a11564c45535320544350205245414c495459123a0a2d787261792e6170702e70726f78796d616e2e636f6d6d616e642e"
    "52656d6f7665557365724f7065726174696f6e12090a07322e626f622e78"
)
ADD_BOB = bytes.fromhex(
    "0a11564c45535320544350205245414c495459127d0a2a787261792e6170702e70726f78796d616e2e636f6d6d616e642e"
    "416464557365724f7065726174696f6e124f0a4d1207322e626f622e781a420a18"
    "787261792e70726f78792e766c6573732e4163636f756e7412260a2465666363623332622d306137652d343535302d38653934"
    "2d333032613937646432353534"
)
TAG = "VLESS TCP REALITY"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Key and certificate like Marzban's: X.509 version 1, self-signed."""
    key, request, certificate = (folder / name for name in ("panel.key", "panel.csr", "panel.pem"))
    if certificate.exists():
        return key, certificate
    for command in (
        ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Gozargah", "-keyout", str(key), "-out", str(request)],
        ["x509", "-req", "-in", str(request), "-signkey", str(key), "-days", "36500", "-out", str(certificate)],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=PATIENCE)
    return key, certificate


def config(emails: Iterable[str], tags: Iterable[str] = (TAG,)) -> str:
    """What ``/start`` brings: everybody who is active, with secrets that must not be kept."""
    clients = [{"email": email, "id": "efccb32b-0a7e-4550-8e94-302a97dd2554"} for email in emails]
    return json.dumps(
        {
            "log": {"loglevel": "warning"},
            "inbounds": [
                {
                    "tag": tag,
                    "port": 443,
                    "protocol": "vless",
                    "settings": {"clients": clients, "decryption": "none"},
                    "streamSettings": {"realitySettings": {"privateKey": "never-kept"}},
                }
                for tag in tags
            ]
            + [{"tag": "api", "protocol": "dokodemo-door", "settings": {"address": "127.0.0.1"}}],
        }
    )


def alteration(email: str, *, added: bool, tag: str = TAG) -> bytes:
    def field(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    kind = "Add" if added else "Remove"
    user = field(2, email.encode())
    operation = field(1, user) if added else field(1, email.encode())
    typed = field(1, f"xray.app.proxyman.command.{kind}UserOperation".encode())
    return field(1, tag.encode()) + field(2, typed + field(2, operation))


class Marzban:
    """One installation. ``received``: bytes by user id; ``up`` and ``down``: what its node charts say."""

    def __init__(self, folder: Path) -> None:
        self.key, self.pem = make_certificate(folder)
        self.certificate = self.pem.read_text()
        self.received: Counter[int] = Counter()
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        self.names: dict[int, set[str]] = {}
        self.session: str | None = None
        self.channel: Any = None
        self.http: http.client.HTTPSConnection | None = None

    # --- Connecting ---

    def connect(self, port: int, api_port: int, emails: Iterable[str]) -> None:
        """The whole way: probe, certificate, ``/connect``, ``/start``, gRPC."""
        assert self.probe(port)
        self.reach(port)
        self.ask("/connect")
        self.start(emails)
        self.open_api(api_port)

    def probe(self, port: int) -> bool:
        """Whether Marzban would speak REST: any answer or an orderly end; a reset means the older protocol."""
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
            plain.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            plain.settimeout(1)
            try:
                plain.recv(1024)
            except OSError:
                return False
        return True

    def reach(self, port: int, *, with_certificate: bool = True) -> None:
        self.node_pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE)
        context = ssl.create_default_context(cadata=self.node_pem)
        context.check_hostname = False
        if with_certificate:
            context.load_cert_chain(self.pem, self.key)
        self.leave()
        self.http = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=PATIENCE, context=context
        )

    def start(self, emails: Iterable[str], path: str = "/start", **more: Any) -> dict[str, Any]:
        return self.ask(path, config=config(emails, **more))

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        status, answer = self.call(path, session_id=self.session, **body)
        assert status == 200, answer["detail"]
        if path == "/connect":
            self.session = answer["session_id"]
        return answer

    def call(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        assert self.http
        self.http.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = self.http.getresponse()
        found: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            assert isinstance(found["detail"], str)
        return response.status, found

    def open_api(self, api_port: int) -> None:
        self.channel = grpc.secure_channel(
            f"127.0.0.1:{api_port}",
            grpc.ssl_channel_credentials(self.node_pem.encode()),
            [("grpc.ssl_target_name_override", "Gozargah")],
        )
        grpc.channel_ready_future(self.channel).result(timeout=5)

    def open_log(self) -> ssl.SSLSocket:
        """The log window, after the websocket's handshake."""
        assert self.http
        self.http.close()
        self.http.connect()
        window: ssl.SSLSocket = self.http.sock
        self.http.sock = None
        window.sendall(
            f"GET /logs?session_id={self.session}&interval=0.7 HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += window.recv(1)
        assert b" 101 " in answer
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # the example of RFC 6455
        return window

    def leave(self) -> None:
        if self.http:
            self.http.close()
        if self.channel:
            self.channel.close()
        self.http = self.channel = None

    # --- Asking ---

    def rpc(self, method: str, message: bytes, timeout: float = PATIENCE) -> bytes:
        return self.channel.unary_unary(method)(message, timeout=timeout)  # type: ignore[no-any-return]

    def fetch_users(self, timeout: float = PATIENCE) -> int:
        """One round of the job that records usage: the bytes that came."""
        return self.take(self.rpc(QUERY_STATS, USERS, timeout))

    def take(self, answer: bytes) -> int:
        """Count what an answer holds, as Marzban does."""
        assert len(answer) <= 2**20
        total = 0
        for name, value in stats(answer):
            kind, email, traffic, direction = name.split(">>>")
            assert (kind, traffic) == ("user", "traffic")
            assert direction in {"uplink", "downlink"}
            assert value > 0
            number, username = email.split(".", 1)
            self.received[int(number)] += value
            self.names.setdefault(int(number), set()).add(username)
            total += value
        return total

    def fetch_servers(self) -> int:
        total = 0
        for name, value in stats(self.rpc(QUERY_STATS, OUTBOUNDS)):
            kind, tag, _traffic, direction = name.split(">>>")
            assert kind == "outbound"
            assert value > 0
            (self.up if direction == "uplink" else self.down)[tag] += value
            total += value
        return total

    def alter(self, email: str, *, added: bool, tag: str = TAG) -> None:
        assert self.rpc(ALTER, alteration(email, added=added, tag=tag)) == b""


def stats(answer: bytes) -> list[tuple[str, int]]:
    """Name and value of each entry of a ``QueryStatsResponse``."""
    found = []
    at = 0
    while at < len(answer):
        assert answer[at] == 0x0A
        size, at = _varint(answer, at + 1)
        entry, at = answer[at : at + size], at + size
        assert entry[0] == 0x0A
        length, start = _varint(entry, 1)
        value = 0
        if start + length < len(entry):
            assert entry[start + length] == 0x10
            value, _end = _varint(entry, start + length + 1)
        found.append((entry[start : start + length].decode(), value))
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7

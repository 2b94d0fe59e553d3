"""A panel in a few lines: it takes meter readings by the rules of the real one, and can misbehave."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

HOUR = 3600


class Row(NamedTuple):
    """As the panel's ledger keeps it per sender, meter, person and server."""

    run: int
    up: int
    down: int


class FakePanel:
    """Listens on loopback until `close`."""

    def __init__(self, token: str = "", key: str = "") -> None:
        self.token = token
        self.key = key
        self.listed: list[dict[str, Any]] = []
        self.gateway: dict[str, Any] = {}
        """What the gateway of this key shall be."""
        self.states: list[dict[str, Any]] = []
        """What gateways have told of themselves."""
        self.fetches: list[int] = []
        """The answers to questions for it."""
        self.rows: dict[tuple[Any, ...], Row] = {}
        self.booked: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
        self.hours: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
        self.messages: list[dict[str, Any]] = []
        self.statuses: deque[int] = deque()
        """Answers to give instead, oldest first."""
        self.lose_answer: Callable[[], bool] = lambda: False
        """Whether to count and then say nothing."""
        self.max_rows = 10_000
        self.headers: dict[str, str] = {}
        self.refuse: Callable[[dict[str, Any]], dict[str, list[str]]] = lambda row: {}
        self.clock_offset = 0.0
        """Seconds that this panel's clock is ahead."""
        self.lock = threading.Lock()
        self.server = _Server(self)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def subscription(self) -> str:
        return f"{self.url}/api/xpert/sub?user_token={self.token}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def list_server(self, name: str, server: str, port: int, protocol: str, **more: Any) -> None:
        self.listed.append(
            {"name": name, "server": server, "port": port, "protocol": protocol, **more}
        )

    def take(self, sender: str, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """One message, all or nothing, as in one transaction."""
        with self.lock:
            self.messages.append(message)
            answer: dict[str, Any] = {
                "status": "success",
                "recorded": 0,
                "unchanged": 0,
                "stale": [],
                "rejected": [],
            }
            for index, row in enumerate(message["readings"]):
                self._take_row(sender, message, index, row, answer)
        rows = len(message["readings"])
        return (400 if rows and len(answer["rejected"]) == rows else 200), answer

    def _take_row(
        self,
        sender: str,
        message: dict[str, Any],
        index: int,
        row: dict[str, Any],
        answer: dict[str, Any],
    ) -> None:
        errors = _errors(message, row, time.time() + self.clock_offset) or self.refuse(row)
        if errors:
            answer["rejected"].append({"index": index, "errors": errors})
            return
        person = row.get("user_token") or row["person"]
        server = (person, row["server"], row["port"], row["protocol"])
        key = (sender if self.key else person, message["meter"], *server)
        now = Row(message["run"], row["total_uploaded"], row["total_downloaded"])
        known = self.rows.get(key)
        if known and (
            now.run < known.run
            or (now.run == known.run and (now.up < known.up or now.down < known.down))
        ):
            answer["stale"].append(
                {
                    "index": index,
                    "run": known.run,
                    "total_uploaded": known.up,
                    "total_downloaded": known.down,
                }
            )
            return
        base = known if known and known.run == now.run else Row(now.run, 0, 0)
        self.rows[key] = now
        grown = (now.up - base.up, now.down - base.down)
        answer["recorded" if any(grown) else "unchanged"] += 1
        for sums in (self.booked[server], self.hours[(*server, row["timestamp"] // HOUR)]):
            sums[0] += grown[0]
            sums[1] += grown[1]


def _errors(message: dict[str, Any], row: dict[str, Any], now: float) -> dict[str, list[str]]:
    if message["run"] > now + 300:
        return {"run": ["is in the future"]}
    if not now - 31 * 24 * HOUR <= row["timestamp"] <= now + 300:
        return {"timestamp": ["is not within the last 31 days"]}
    if ("user_token" in row) == ("person" in row):
        return {"person": ["exactly one of user_token and person"]}
    if type(row["port"]) is not int or not 0 < row["port"] < 65536:
        return {"port": ["is not a port"]}
    if any(
        type(row[name]) is not int or row[name] < 0
        for name in ("total_uploaded", "total_downloaded")
    ):
        return {"total_uploaded": ["is not a number of bytes"]}
    return {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, panel: FakePanel) -> None:
        self.panel = panel
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Silent."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + self.server.panel.clock_offset, usegmt=True)

    def do_GET(self) -> None:
        panel, parts = self.server.panel, urlsplit(self.path)
        if parts.path.startswith("/api/xpert/gateways/"):
            self._tell_gateway()
            return
        if parts.path != "/api/xpert/servers" or parse_qs(parts.query).get("user_token") != [
            panel.token
        ]:
            self._answer(404, {"detail": "Not found."})
        else:
            self._answer(200, {"servers": panel.listed})

    def _tell_gateway(self) -> None:
        panel = self.server.panel
        document = json.dumps(panel.gateway)
        tag = f'"{hashlib.sha256(document.encode()).hexdigest()}"'
        if panel.statuses:
            status, body = panel.statuses.popleft(), b"{}"
        elif self.headers["Authorization"] != f"Bearer {panel.key}":
            status, body = 401, b"{}"
        elif self.headers["If-None-Match"] == tag:
            status, body = 304, b""
        else:
            status, body = 200, document.encode()
        panel.fetches.append(status)
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        panel = self.server.panel
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = json.loads(gzip.decompress(body))
        if panel.statuses:
            self._answer(panel.statuses.popleft(), {"detail": "as told"})
        elif panel.key and self.headers["Authorization"] != f"Bearer {panel.key}":
            self._answer(401, {"detail": "A valid API key is needed."})
        elif self.path.endswith("/state"):
            panel.states.append(message)
            self._answer(200, {"status": "success"})
        elif len(message["readings"]) > panel.max_rows:
            self._answer(413, {"detail": "Too large."})
        else:
            self._count(message)

    def _count(self, message: dict[str, Any]) -> None:
        panel = self.server.panel
        answer = panel.take(self.headers.get("Authorization", ""), message)
        if panel.lose_answer():
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = answer
        self._answer(status, body)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        for name, value in self.server.panel.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)

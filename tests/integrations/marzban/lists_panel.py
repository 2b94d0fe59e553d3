"""Stands in for the subscription addresses of a Marzban on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.integrations.marzban.panel import Reply, as_json

# What Marzban sends with every list, here of a person with a limit.
HEADERS = (
    ("content-disposition", 'attachment; filename="alice"'),
    ("profile-web-page-url", "http://panel.example.com/sub/x"),
    ("support-url", "https://t.me/"),
    ("profile-title", "base64:U3Vic2NyaXB0aW9u"),
    ("profile-update-interval", "12"),
    ("subscription-userinfo", "upload=0; download=5; total=10; expire=0"),
)
_NOT_FOUND = as_json(404, {"detail": "Not Found"})


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


def listed(content_type: str, body: bytes, *more: tuple[str, str]) -> Reply:
    return Reply(200, body, (("content-type", content_type), *HEADERS, *more))


class ListsPanel:
    """``replies``: by path without the query. ``gates``: paths that are not answered before theirs is set."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.gates: dict[str, threading.Event] = {}
        self.seen: list[Seen] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def knows(self, token: str, status: str = "active", name: str = "alice") -> None:
        body = {"username": name, "status": status, "links": ["vless://secret@a.example:1"]}
        self.replies[f"/sub/{token}/info"] = as_json(200, body)

    def lists(self) -> list[Seen]:
        """The requests for lists."""
        return [seen for seen in self.seen if not seen.path.endswith("/info")]

    def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        panel = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                found = {name.lower(): value for name, value in self.headers.items()}
                panel.seen.append(Seen(self.command, self.path, found))
                path = self.path.partition("?")[0]
                if path in panel.gates:
                    panel.gates[path].wait(20)
                reply = panel.replies.get(path, _NOT_FOUND)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers:
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(b"" if self.command == "HEAD" else reply.body)
                except OSError:
                    pass  # whoever asked has given up

            def do_GET(self) -> None:
                self.answer()

            def do_HEAD(self) -> None:
                self.answer()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def running_lists_panel() -> Iterator[ListsPanel]:
    found = ListsPanel()
    try:
        yield found
    finally:
        found.close()

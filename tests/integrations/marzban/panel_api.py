"""Stands in for the API of a Marzban or PasarGuard on loopback: signing in, nodes, users. Its answers are those of the real ones."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any]
PASSWORD = "correct horse"
NOT_FOUND: Answer = (404, {"detail": "Not Found"})


class PanelApiServer:
    """``admins``: is_sudo by name. ``connects``: what becomes of a node that is added."""

    def __init__(self, certificate: str) -> None:
        self.certificate = certificate
        self.is_pasarguard = False
        self.admins: dict[str, bool] = {"admin": True, "reseller": False}
        self.nodes: list[dict[str, Any]] = []
        self.users: list[dict[str, Any]] = []
        self.booked: list[dict[str, Any]] = []
        self.connects = "connected"
        self.message: str | None = None
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def changes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("GET") and "token" not in call]

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, who: str
    ) -> Answer:
        if (method, path) == ("POST", "/api/admin/token"):
            return self._token(parse_qs(body.decode()))
        return (
            self._for_admins(method, path, query, body, who)
            if path.startswith("/api/")
            else NOT_FOUND
        )

    def _for_admins(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, who: str
    ) -> Answer:
        if who not in self.admins:
            return 401, {"detail": "Could not validate credentials"}
        if path == "/api/admin":
            return 200, self._admin(who)
        if path.startswith("/api/users"):
            return self._users(path, query)
        if not self.admins[who]:
            return 403, {"detail": "You're not allowed"}
        return self._nodes(method, path, json.loads(body or b"{}"))

    def _token(self, form: dict[str, list[str]]) -> Answer:
        name = form["username"][0]
        if name not in self.admins or form.get("password") != [PASSWORD]:
            return 401, {"detail": "Incorrect username or password"}
        return 200, {"access_token": f"token-{name}", "token_type": "bearer"}

    def _admin(self, name: str) -> dict[str, Any]:
        if self.is_pasarguard:
            return {"username": name, "role": {"name": "owner", "is_owner": True}}
        return {"username": name, "is_sudo": self.admins[name], "users_usage": None}

    def _users(self, path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/api/users/usage":
            return 200, {"usages": self.booked}
        start, size = int(query["offset"][0]), int(query["limit"][0])
        return 200, {"users": self.users[start : start + size], "total": len(self.users)}

    def _nodes(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        if method == "GET":
            return self._read(path)
        self.bodies.append(body)
        return self._add(body) if path == "/api/node" else self._change(method, path, body)

    def _read(self, path: str) -> Answer:
        own = {} if self.is_pasarguard else {"certificate": self.certificate}
        nodes = {"nodes": self.nodes, "total": 1} if self.is_pasarguard else self.nodes
        found: dict[str, Any] = {
            "/api/node/settings": {"min_node_version": "v0.2.0"} | own,
            "/api/nodes": nodes,
            "/api/cores": {"count": 1, "cores": [{"id": 3}]},
        }
        return (200, found[path]) if path in found else NOT_FOUND

    def _change(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        found = next((node for node in self.nodes if str(node["id"]) == path.split("/")[3]), None)
        if found is None:
            return 404, {"detail": "Node not found"}
        if method == "DELETE":
            self.nodes.remove(found)
        else:
            found.update(body, status=self.connects)
        return 200, found

    def _add(self, body: dict[str, Any]) -> Answer:
        if any(node["name"] == body["name"] for node in self.nodes):
            return 409, {"detail": f'Node "{body["name"]}" already exists'}
        made = {"id": len(self.nodes) + 1, "status": self.connects, "message": self.message}
        self.nodes.append(body | made)
        return 200, body | made

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        panel = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                who = self.headers.get("Authorization", "").removeprefix("Bearer token-")
                panel.calls.append(f"{self.command} {url.path}")
                status, answer = panel.answer(
                    self.command, url.path, parse_qs(url.query), body, who
                )
                encoded = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815  the standard library's names

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def running_api(certificate: str) -> Iterator[PanelApiServer]:
    found = PanelApiServer(certificate)
    try:
        yield found
    finally:
        found.close()

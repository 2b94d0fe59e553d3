"""Stands in for Marzban's own API on loopback, with the answers of the real one.

``GET /api/admin`` tells of an admin's token, ``GET /sub/{token}/info`` of a subscription token.
"""

import hashlib
import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


def as_json(status: int, body: object, *headers: tuple[str, str]) -> Reply:
    return Reply(
        status, json.dumps(body).encode(), (("Content-Type", "application/json"), *headers)
    )


_NOT_FOUND = as_json(404, {"detail": "Not Found"})
_REFUSED = as_json(
    401, {"detail": "Could not validate credentials"}, ("WWW-Authenticate", "Bearer")
)


def _part(fields: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def subscription_token(name: str = "alice", minted: int = 1_764_000_000, secret: str = "s") -> str:
    """As Marzban mints one on every answer: it differs by the second, and all stay valid."""
    payload = urlsafe_b64encode(f"{name},{minted}".encode()).decode().rstrip("=")
    digest = hashlib.sha256(f"{payload}{secret}".encode()).digest()
    return payload + urlsafe_b64encode(digest).decode()[:10]


def old_subscription_token(name: str = "alice") -> str:
    """The form of Marzban's early versions, which is still accepted."""
    return f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': name, 'access': 'subscription'})}.c2ln"


def pasarguard_token(user: int = 7, minted: int = 1_764_000_000, secret: str = "s") -> str:
    """As PasarGuard 5 makes one: with the id alone, and the whole signature."""
    payload = urlsafe_b64encode(f"v3,{user},{minted}".encode()).decode().rstrip("=")
    digest = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).digest()
    return f"{payload}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


def admin_token(name: str = "ann", access: str = "sudo", **more: Any) -> str:
    """A token of the form that Marzban makes; ``access`` is only what it says of itself."""
    now = int(time.time())
    claims = {"sub": name, "access": access, "iat": now, "exp": now + 86_400} | more
    signature = urlsafe_b64encode(f"signed:{name}".encode().ljust(32, b".")).decode().rstrip("=")
    return f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}.{signature}"


class Panel:
    """``replies``: by token; any other is refused as the real one does. ``reply``: for all tokens.

    ``asked``: tokens in the order in which they came. While ``gate`` is not set, nobody gets an answer.
    """

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.reply: Reply | None = None
        self.asked: list[str] = []
        self.paths: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0
        self.arrived = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def knows(self, token: str, name: str, *, is_sudo: bool) -> str:
        fields = {
            "username": name,
            "is_sudo": is_sudo,
            "telegram_id": None,
            "discord_webhook": None,
        }
        self.replies[token] = as_json(200, fields | {"users_usage": None})
        return token

    def serves(self, token: str, name: str, **more: Any) -> str:
        """A subscription token of a user; the real answer holds credentials."""
        credential = "11111111-2222-4333-8444-555555555555"
        fields = {"username": name, "status": "active", "used_traffic": 0, "data_limit": None}
        fields |= {
            "proxies": {"vless": {"id": credential}},
            "links": [f"vless://{credential}@a.example:443"],
        }
        self.replies[token] = as_json(200, fields | more)
        return token

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, token: str, path: str) -> Reply:
        with self._lock:
            self.asked.append(token)
            self.paths.append(path)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.arrived.release()
        self.gate.wait(10)
        with self._lock:
            self.at_once -= 1
        unknown = _NOT_FOUND if path.startswith("/sub/") else _REFUSED
        return self.reply or self.replies.get(token, unknown)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        panel = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
                bearer = bearer or self.headers.get("X-Api-Key", "")
                token = bearer or self.path.split("/")[2]
                reply = panel.answer(token, self.path)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers:
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:
                    pass  # whoever asked has given up

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def running_panel() -> Iterator[Panel]:
    found = Panel()
    try:
        yield found
    finally:
        found.close()

"""A stand-in of Telegram's Bot API on this machine: it keeps updates until an offset confirms them, as the real one does."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

TOKEN = "123456789:AAE-s3cr3t-of-the-panels-own-bot"


class Called(NamedTuple):
    method: str
    fields: Any
    body: bytes


class BotApi:
    """``refusals``: status and body for the next calls of a method, instead of a result. ``blocked``: chats that refuse."""

    def __init__(self) -> None:
        self.calls: list[Called] = []
        self.waiting: list[dict[str, Any]] = []
        self.refusals: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.blocked: set[int] = set()
        self.number = 1000
        # Seconds that it waits for an update at most.
        self.patience = 0.05
        self.url = ""
        self._changed = threading.Condition()

    @property
    def texts(self) -> list[str]:
        return [found.fields["text"] for found in self.of("sendMessage")]

    def of(self, method: str) -> list[Called]:
        return [found for found in self.calls if found.method == method]

    @property
    def offsets(self) -> list[int]:
        return [found.fields.get("offset", 0) for found in self.of("getUpdates")]

    def says(self, text: str, chat: int = 7, kind: str = "private", language: str = "en") -> None:
        sender = {"id": chat, "is_bot": False, "first_name": "A", "language_code": language}
        message = {"message_id": 1, "date": 1, "chat": {"id": chat, "type": kind}, "from": sender}
        self.gets(message=message | {"text": text})

    def presses(self, data: str, chat: int = 7) -> None:
        message = {"message_id": 1, "date": 1, "chat": {"id": chat, "type": "private"}}
        sender = {"id": chat, "is_bot": False, "first_name": "A", "language_code": "en"}
        self.gets(callback_query={"id": "9", "from": sender, "message": message, "data": data})

    def gets(self, **content: Any) -> None:
        with self._changed:
            self.number += 1
            self.waiting.append({"update_id": self.number, **content})
            self._changed.notify_all()

    def answer(self, called: Called) -> tuple[int, Any]:
        self.calls.append(called)
        if refused := self.refusals.get(called.method):
            status, more = refused.pop(0)
            return status, {"ok": False, "error_code": status, "description": "no", **more}
        if called.fields.get("chat_id") in self.blocked:
            return 403, {"ok": False, "description": "Forbidden: bot was blocked by the user"}
        made: Callable[[Any], Any] = getattr(self, f"_{called.method}", lambda _: True)
        return 200, {"ok": True, "result": made(called.fields)}

    def _getMe(self, _: Any) -> Any:  # noqa: N802  Telegram's name
        return {"id": 1, "is_bot": True, "username": "panel_bot"}

    def _getUpdates(self, fields: Any) -> Any:  # noqa: N802
        offset = fields.get("offset", 0)
        with self._changed:
            self.waiting = [one for one in self.waiting if one["update_id"] >= offset]
            if not self.waiting:
                self._changed.wait(min(fields.get("timeout", 0), self.patience))
            return list(self.waiting)


@contextmanager
def bot_api() -> Iterator[BotApi]:
    found = BotApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(found: BotApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            token, _, method = self.path.removeprefix("/bot").partition("/")
            is_json = "json" in self.headers["Content-Type"]
            called = Called(method, json.loads(body) if is_json else _parts(body), body)
            status, answer = found.answer(called) if token == TOKEN else (401, {"ok": False})
            content = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client is gone
                pass

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _parts(body: bytes) -> dict[str, Any]:
    """The plain fields of a multipart body."""
    found: dict[str, Any] = {}
    for part in body.split(b"\r\n--"):
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        if name and b"filename" not in head:
            found[name] = int(value) if name == "chat_id" else value.decode()
    return found

"""Stand-ins for cores: servers on loopback that answer what a test has put down for them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Callable, Union

HttpAnswer = Union[Any, Callable[[BaseHTTPRequestHandler], Any]]


class MemoryStore:
    """A source's state, which a later source of the same test may take over."""

    def __init__(self) -> None:
        self.text = "{}"
        self.saved = 0
        self.recorded_at = 0.0

    def read_at(self) -> float:
        return self.recorded_at

    def load(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    def update(self, changed: Iterable[tuple[str, Any]], gone: Iterable[str]) -> None:
        state, dropped = {**self.load(), **dict(changed)}, set(gone)
        self.save({name: value for name, value in state.items() if name not in dropped})

    def save(self, state: dict[str, Any]) -> None:
        self.text = json.dumps(state)
        self.saved += 1


class HttpCore:
    """A core's HTTP interface; `answer` may be changed while it runs."""

    def __init__(self, answer: HttpAnswer = None, secret: str = "") -> None:
        self.answer = answer
        self.secret = secret
        self.status = 200
        self.paths: list[str] = []

    @contextmanager
    def on_port(self) -> Iterator[int]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        with _serving(server):
            yield server.server_port

    @contextmanager
    def on_socket(self, path: Path) -> Iterator[None]:
        with _serving(_UnixServer(str(path), self._handler())):
            yield

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        core = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the name that http.server calls
                core.paths.append(self.path)
                bearer = self.headers.get("Authorization", "")
                refused = bool(core.secret) and bearer != f"Bearer {core.secret}"
                answer = core.answer(self) if callable(core.answer) else core.answer
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(401 if refused else core.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "client"

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class _UnixServer(ThreadingMixIn):
    """An HTTP server on a unix socket."""

    daemon_threads = True

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._handler = handler

    def serve_forever(self, _: float) -> None:
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._handler(connection, ("", 0), self)  # type: ignore[arg-type]  # only its name is used

    def shutdown(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)

    def server_close(self) -> None:
        self._socket.close()


@contextmanager
def _serving(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw_server(answers: list[bytes], ends: bool = True) -> Iterator[int]:
    """A port whose n-th connection gets the n-th answer once its request has begun."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def answer_each() -> None:
        for answer in answers:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    connection.recv(65_536)
                    connection.sendall(answer)
                    _end(connection) if ends else done.wait(10)

    thread = threading.Thread(target=answer_each, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        done.set()
        listener.close()
        thread.join(10)


def _end(connection: socket.socket) -> None:
    """Ends the answer, and reads on, or else what was not read yet would be lost."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65_536):
        pass

"""A receiver: an HTTP server on this machine that responds as a test wants, and remembers the requests."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from operations.models import Receiver
from operations.notifications.kinds import kinds

SECRET = "s3cr3t-of-the-webhook"
BOT_TOKEN = "123456789:AAE-s3cr3t-of-the-telegram-bot"


class Came(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Loopback:
    """``answers``: statuses for the next requests, then 200. ``raw``: bytes sent instead of a valid response.

    ``retry_after`` and ``refusal``: the header and the body of a response that is not 2xx.
    """

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.answers: list[int] = []
        self.raw: bytes | None = None
        self.location = ""
        self.retry_after = ""
        self.refusal = b""
        # Set: answers at once.
        self.go = threading.Event()
        self.go.set()
        self.url = ""

    @property
    def texts(self) -> list[str]:
        return [came.json["text"] for came in self.came]

    def answer(self, came: Came) -> int:
        self.came.append(came)
        self.go.wait(60)
        return self.answers.pop(0) if self.answers else 200


@contextmanager
def loopback() -> Iterator[Loopback]:
    found = Loopback()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        found.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(found: Loopback) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.answer(Came(self.path, dict(self.headers), body))
            try:
                if found.raw is not None:
                    self.wfile.write(found.raw)
                    return
                self.send_response(status)
                if found.location:
                    self.send_header("Location", found.location)
                if found.retry_after and status >= 300:
                    self.send_header("Retry-After", found.retry_after)
                body = found.refusal if status >= 300 else b""
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # the client is gone
                pass

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def a_receiver(url: str = "http://127.0.0.1:9", **fields: Any) -> Receiver:
    """A webhook that is notified of everything by default."""
    values = {
        "name": "ops", "kind": Receiver.Kind.WEBHOOK, "target": f"{url}/hook?key=s3cr3t-in-the-url", "secret": SECRET,
        "events": list(kinds()),
    }  # fmt: skip
    return Receiver.objects.create(**(values | fields))


def a_bot(**fields: Any) -> Receiver:
    return a_receiver(
        **({"kind": Receiver.Kind.TELEGRAM, "target": "-1001234", "secret": BOT_TOKEN} | fields)
    )

"""WSGI: with XPERT_BASE_PATH nothing answers outside of that path."""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]

logger = logging.getLogger("xpert.request")
_BODY = json.dumps({"detail": "Not found."}).encode()
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
]


class BelowBasePath:
    """Takes the base path off, which Django puts before every address again (FORCE_SCRIPT_NAME).

    A request outside of it gets a bare 404, which tells nothing about the panel.
    """

    def __init__(self, application: Application, base_path: str) -> None:
        self.application, self.base_path = application, base_path
        self._has_warned = False

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        rest = path.removeprefix(self.base_path)
        if rest == path or rest[:1] not in {"", "/"}:
            self._warn_once()
            start("404 Not Found", list(_HEADERS))
            return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else _BODY]
        return self.application(environ | {"PATH_INFO": rest}, start)

    def _warn_once(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "A request came from outside of XPERT_BASE_PATH. A proxy must pass the path whole (docs/deployment.md)."
            )

"""A panel that stands in for a running one, on the loopback interface under a public name."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from integrations.moving import reading
from integrations.moving.accounts import People
from tests.subscriptions.hostile import InternetInThread, answer

HOST = "panel.example.com"
URL = f"https://{HOST}"


class OldPanel:
    """``answers``: what it says to a GET, by path. ``asked``: method and target of each request."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self._internet = InternetInThread()
        self._internet.serve(HOST, self._answer)

    @property
    def asked(self) -> list[str]:
        requests = self._internet.internet.requests
        return [b" ".join(request.split(b" ")[:2]).decode() for request in requests]

    @property
    def requests(self) -> list[bytes]:
        return self._internet.internet.requests

    @property
    def network(self) -> Any:
        return self._internet.network

    def close(self) -> None:
        self._internet.close()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(request.split(b" ")[1].decode())
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        body = json.dumps(self._json(target.path, query)).encode()
        await answer(body)(request, writer)

    def _json(self, path: str, query: dict[str, str]) -> Any:
        if path == "/api/admin/token":
            return {"access_token": "t0k3n", "token_type": "bearer"}
        if path == "/login":
            return {"success": True, "msg": "", "obj": None}
        found = self.answers[path]
        if path != "/api/users":
            return found
        start = int(query["offset"])
        return {"users": found[start : start + int(query["limit"])], "total": len(found)}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[OldPanel]:
    found = OldPanel()
    real: Callable[..., People] = reading.over_api
    monkeypatch.setattr(
        reading, "over_api", lambda kind, address: real(kind, address, found.network)
    )
    yield found
    found.close()

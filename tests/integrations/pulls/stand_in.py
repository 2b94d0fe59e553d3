"""A foreign panel that is not there: it answers as Marzban, 3x-ui, Remnawave or Hiddify do, or badly."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from operations.outbound.dial import Network
from tests.subscriptions.hostile import Behaviour, InternetInThread, answer

HOST = "panel.example.com"


class StandIn:
    """``marzban``: lifetime totals and years of birth by user name; ``three_x_ui``: up and down by e-mail.

    ``instead``: what it answers to everything, if set. ``asked``: method and target of each request.
    """

    def __init__(self) -> None:
        self.marzban: dict[str, tuple[int, str]] = {}
        self.three_x_ui: dict[str, tuple[int, int]] = {}
        self.hiddify: dict[str, float] = {}
        self.instead: Behaviour | None = None
        self._internet = InternetInThread()
        self._internet.serve(HOST, self._answer)

    @property
    def network(self) -> Network:
        return self._internet.network

    @property
    def requests(self) -> list[bytes]:
        return self._internet.internet.requests

    @property
    def asked(self) -> list[str]:
        return [b" ".join(request.split(b" ")[:2]).decode() for request in self.requests]

    def close(self) -> None:
        self._internet.close()

    def has(self, name: str, used: int, made: str = "2026-01-15T09:30:32") -> None:
        self.marzban[name] = used, made

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        behaviour = self.instead or answer(self._body(request))
        await behaviour(request, writer)

    def _body(self, request: bytes) -> bytes:
        target = urlsplit(request.split(b" ")[1].decode())
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        return json.dumps(self._json(target.path, query)).encode()

    def _json(self, path: str, query: dict[str, str]) -> Any:
        if path == "/api/admin/token":
            return {"access_token": "t0k3n", "token_type": "bearer"}
        if path == "/api/users":
            start = int(query["offset"])
            users = [self._user(name) for name in self.marzban]
            return {"users": users[start : start + int(query["limit"])], "total": len(users)}
        if path.startswith("/sub/") and path.endswith("/info"):
            return self._user(path.split("/")[2])
        if path.endswith("/panel/api/inbounds/list"):
            clients = [
                {"email": email, "up": up, "down": down}
                for email, (up, down) in self.three_x_ui.items()
            ]
            inbound = {"port": 8443, "protocol": "VLESS", "clientStats": clients}
            return {"success": True, "obj": [inbound]}
        if path.endswith("/api/v2/admin/user/"):
            return [
                {"uuid": f"id-{name}", "name": name, "current_usage_GB": used}
                for name, used in self.hiddify.items()
            ]
        return {"detail": "Not Found"}

    def _user(self, name: str) -> dict[str, Any]:
        used, made = self.marzban[name]
        return {"username": name, "lifetime_used_traffic": used, "created_at": made}

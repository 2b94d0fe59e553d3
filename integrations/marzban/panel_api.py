"""The calls to a panel's own API that need an admin: signing in, its nodes, its users. Marzban and PasarGuard answer alike."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits, Request

from . import panel_client

# A page of users holds each one's links; a panel of thousands takes a second for it.
_LIMITS = Limits(connect=5, gap=20, total=30, body=16 * 2**20)
PAGE = 200
_MAX_PAGES = 5000


class ApiError(Exception):
    """The panel did not do what it was asked. ``code``: why, for programs. ``detail``: what the panel says itself."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class PanelNode(msgspec.Struct):
    """A node as the panel lists it; ``status``: connected, connecting, error or disabled."""

    id: int
    name: str
    address: str
    port: int
    api_port: int | None = None
    status: str = ""
    message: str | None = None
    usage_coefficient: float = 1.0


class PanelUser(msgspec.Struct):
    """A user as the panel lists it. Only PasarGuard gives ``id``."""

    username: str
    status: str
    id: int | None = None


class _Token(msgspec.Struct):
    access_token: str


class _Admin(msgspec.Struct):
    username: str
    is_sudo: bool | None = None


class _Settings(msgspec.Struct):
    certificate: str = ""


class _Nodes(msgspec.Struct):
    nodes: list[PanelNode]


class _Core(msgspec.Struct):
    id: int


class _Cores(msgspec.Struct):
    cores: list[_Core]


class _Users(msgspec.Struct):
    users: list[PanelUser]
    total: int


class _NodeUsage(msgspec.Struct):
    node_id: int | None
    used_traffic: float


class _Usage(msgspec.Struct):
    usages: list[_NodeUsage]


class _Detail(msgspec.Struct):
    detail: Any = None


class PanelApi:
    """An admin who has signed in to a panel. Every method raises ApiError."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    @classmethod
    def sign_in(cls, url: str, username: str, password: str) -> "PanelApi":
        """Codes besides those of every call: ``password``, ``not_sudo``."""
        form = urlencode({"username": username, "password": password}).encode()
        asked = Request("POST", {"Content-Type": "application/x-www-form-urlencoded"}, form)
        try:
            answer = _send(f"{url}/api/admin/token", asked)
        except ApiError as error:
            raise ApiError("password") if error.code == "http_401" else error from None
        found = cls(url, _decoded(answer, _Token).access_token)
        if not found.is_sudo():
            raise ApiError("not_sudo")
        return found

    def is_sudo(self) -> bool:
        """Marzban's own word. PasarGuard has roles instead, and says itself what an admin may not do."""
        admin = self._get("/api/admin", _Admin)
        return admin.is_sudo is not False

    def certificate(self) -> str:
        """Marzban's client certificate in PEM; empty: PasarGuard, whose nodes know it by a key."""
        found: _Settings = self._get("/api/node/settings", _Settings)
        return found.certificate

    # --- Nodes ---

    def nodes(self) -> list[PanelNode]:
        """Marzban answers with a list, PasarGuard with a list in an object."""
        answer = self._send("GET", "/api/nodes")
        found = _decoded(answer, _Nodes | list[PanelNode])
        return found.nodes if isinstance(found, _Nodes) else found

    def add_node(self, fields: Mapping[str, Any]) -> PanelNode:
        found: PanelNode = _decoded(self._send("POST", "/api/node", fields), PanelNode)
        return found

    def change_node(self, node: int, fields: Mapping[str, Any]) -> None:
        self._send("PUT", f"/api/node/{node}", fields)

    def reconnect(self, node: int) -> None:
        self._send("POST", f"/api/node/{node}/reconnect", {})

    def remove_node(self, node: int) -> None:
        self._send("DELETE", f"/api/node/{node}")

    def first_core(self) -> int | None:
        """The core configuration of PasarGuard that was made first."""
        return min((core.id for core in self._get("/api/cores", _Cores).cores), default=None)

    # --- Users ---

    def users(self) -> Iterator[PanelUser]:
        """All users that this admin sees, page by page. One who is deleted meanwhile moves the rest by a row:
        somebody may be missing, and nobody comes twice.
        """
        known: set[str] = set()
        for page in range(_MAX_PAGES):
            query = {"offset": page * PAGE, "limit": PAGE, "sort": "created_at"}
            found = self._get(f"/api/users?{urlencode(query)}", _Users)
            for user in found.users:
                if user.username not in known:
                    known.add(user.username)
                    yield user
            if len(found.users) < PAGE:
                return

    def booked_for(self, node: int | None, start: datetime, end: datetime) -> int:
        """Bytes of all users over one node in these hours, as the panel booked them."""
        times = {
            name: f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
            for name, time in (("start", start), ("end", end))
        }
        found: _Usage = self._get(f"/api/users/usage?{urlencode(times)}", _Usage)
        return int(sum(row.used_traffic for row in found.usages if row.node_id == node))

    # --- Calls ---

    def _get(self, path: str, kind: type[Any]) -> Any:
        return _decoded(self._send("GET", path), kind)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        headers = panel_client.credentials(self._token)
        if body is None:
            return _send(f"{self.url}{path}", Request(method, headers))
        headers["Content-Type"] = "application/json"
        return _send(f"{self.url}{path}", Request(method, headers, msgspec.json.encode(body)))


def _send(url: str, request: Request) -> bytes:
    try:
        answer = panel_client.send(url, request, _LIMITS)
    except OutboundError as error:
        raise ApiError(error.code) from None
    if answer.status // 100 != 2:
        raise ApiError(f"http_{answer.status}", _detail(answer.body))
    return answer.body


def _detail(body: bytes) -> str:
    """What the panel says is wrong, on one line and bounded."""
    try:
        said = msgspec.json.decode(body, type=_Detail).detail
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode() if said else ""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError("bad_response") from None

"""Lets people in and keeps people out while the core runs: HandlerService of Xray and of v2ray 4.

Both cores answer to v2ray's name of the service; the names of the messages differ.
Sources: app/proxyman/command/command.proto and proxy/*/*.proto of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from xpert_agent.gateway.documents import Json
from xpert_agent.gateway.xray_documents import clients, ways
from xpert_agent.protobuf import bytes_field
from xpert_agent.sources import unary_grpc
from xpert_agent.sources.base import SourceError

_ALTER = "/v2ray.core.app.proxyman.command.HandlerService/AlterInbound"
V2RAY, XRAY = "v2ray.core.", "xray."
"""How the names of messages begin."""


class Change(NamedTuple):
    """What becomes of one user of one inbound. `client`: None keeps the user out."""

    inbound: str
    protocol: str
    user: str
    client: Json | None
    is_known: bool
    """Whether the inbound knows the user until now."""


def changes(before: Json, after: Json) -> list[Change]:
    """From one configuration to another one with the same inbounds."""
    wanted = {inbound["tag"]: clients(inbound) for _, inbound in ways(after)}
    return [
        change
        for _, inbound in ways(before)
        for change in _changes(inbound, clients(inbound), wanted[inbound["tag"]])
    ]


def _changes(
    inbound: Json, before: Mapping[str, Json], after: Mapping[str, Json]
) -> Iterator[Change]:
    for user in sorted(before.keys() | after.keys()):
        if before.get(user) != after.get(user):
            yield Change(inbound["tag"], inbound["protocol"], user, after.get(user), user in before)


class Users:
    """The users of a core whose interface is at this port."""

    def __init__(self, port: int, names: str) -> None:
        """`names`: `V2RAY` or `XRAY`."""
        self._port = port
        self._names = names

    def change(self, change: Change) -> None:
        """Raises `SourceError`; done twice it does the same."""
        if change.is_known or change.client is None:
            self._remove(change)
        if change.client is not None:
            self._add(change, change.client)

    def _remove(self, change: Change) -> None:
        try:
            self._alter(change, "RemoveUserOperation", bytes_field(1, change.user.encode()))
        except SourceError as error:
            if error.__cause__ is not None:
                raise
            # The core answers, and refuses: it does not know the user any more.

    def _add(self, change: Change, client: Json) -> None:
        name, account = _ACCOUNTS[change.protocol](client)
        user = bytes_field(2, change.user.encode()) + bytes_field(
            3, self._typed(f"proxy.{name}.Account", account)
        )
        self._alter(change, "AddUserOperation", bytes_field(1, user))

    def _alter(self, change: Change, operation: str, message: bytes) -> None:
        typed = self._typed(f"app.proxyman.command.{operation}", message)
        request = bytes_field(1, change.inbound.encode()) + bytes_field(2, typed)
        unary_grpc.call("127.0.0.1", self._port, _ALTER, request)

    def _typed(self, name: str, message: bytes) -> bytes:
        return bytes_field(1, f"{self._names}{name}".encode()) + bytes_field(2, message)


def _vless(client: Json) -> tuple[str, bytes]:
    flow = client.get("flow", "")
    account = bytes_field(1, client["id"].encode())
    account += bytes_field(2, flow.encode()) if flow else b""
    return "vless", account + bytes_field(3, b"none")


def _trojan(client: Json) -> tuple[str, bytes]:
    return "trojan", bytes_field(1, client["password"].encode())


def _shadowsocks(client: Json) -> tuple[str, bytes]:
    return "shadowsocks_2022", bytes_field(1, client["password"].encode())


_ACCOUNTS: Mapping[str, Callable[[Json], tuple[str, bytes]]] = {
    "vless": _vless,
    "trojan": _trojan,
    "shadowsocks": _shadowsocks,
}

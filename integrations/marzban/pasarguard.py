"""A node as PasarGuard calls it, without a transport: the same calls come over gRPC and over HTTPS, with an API key."""

import uuid
from collections.abc import Callable, Iterable

import msgspec

from . import node_keys, pasarguard_wire, wire
from .handover import Batch, PausedError
from .models import PanelLink
from .node import Node


class KeyRefusedError(Exception):
    """``code``: missing, malformed or wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotStartedError(Exception):
    """Nothing is answered before the panel has started the node."""


class Answer(msgspec.Struct, frozen=True):
    """``batch``: what leaves with it."""

    body: bytes = b""
    batch: Batch | None = None


class Service:
    """Methods take a message and raise WireError, NotStartedError, NotReadyError, DatabaseError and OSError."""

    def __init__(self, node: Node) -> None:
        self.node = node
        # By their names in gRPC. Whatever is asked about single people in real time has no answer here.
        self.methods: dict[str, Callable[[bytes], Answer]] = {
            "Start": self._start,
            "Stop": self._stop,
            "GetBaseInfo": self._info,
            "GetSystemStats": self._system,
            "GetBackendStats": self._backend,
            "GetStats": self._stats,
            "GetOutboundsLatency": self._nothing,
            "GetUserOnlineStats": self._nothing,
            "GetUserOnlineIpListStats": self._nothing,
            "SyncUser": lambda message: self._sync(pasarguard_wire.user(message)),
            "SyncUsers": lambda message: self._sync(pasarguard_wire.users(message)),
        }

    def require_key(self, key: str) -> None:
        """Raises KeyRefusedError and DatabaseError."""
        if not key:
            raise KeyRefusedError("missing")
        try:
            uuid.UUID(key)
        except ValueError:
            raise KeyRefusedError("malformed") from None
        links = PanelLink.objects.filter(pk=self.node.link.pk)  # it may have been renewed
        if not node_keys.is_right(links.values_list("node_key", flat=True).first() or "", key):
            raise KeyRefusedError("wrong")

    def call(self, name: str, message: bytes) -> Answer:
        self.node.heard()
        return self.methods[name](message)

    def settled(self, answer: Answer, *, is_sent: bool) -> None:
        """Whether the answer has left."""
        if answer.batch is None:
            return
        if is_sent:
            self.node.answered(answer.batch)
        else:
            self.node.refused(answer.batch)

    def _start(self, message: bytes) -> Answer:
        active = [one.user_id for one in pasarguard_wire.backend(message) if one.is_active]
        self.node.begin(_pair(user_id) for user_id in active)
        return Answer(pasarguard_wire.base_info(is_started=True))

    def _stop(self, _message: bytes) -> Answer:
        self.node.disconnect()
        return Answer()

    def _info(self, _message: bytes) -> Answer:
        return Answer(pasarguard_wire.base_info(is_started=self.node.is_started()))

    def _system(self, _message: bytes) -> Answer:
        return Answer(pasarguard_wire.system_stats(self.node.uptime()))

    def _backend(self, _message: bytes) -> Answer:
        self._require_start()
        return Answer(wire.sys_stats(self.node.uptime()))

    def _stats(self, message: bytes) -> Answer:
        self._require_start()
        query = pasarguard_wire.stats_query(message)
        if not query.reset:
            return Answer(self._waiting(query))
        try:
            batch = self._taken(query)
        except PausedError:
            return Answer()
        return Answer(batch.answer, batch) if batch else Answer()

    def _waiting(self, query: pasarguard_wire.StatsQuery) -> bytes:
        if query.is_of_users:
            return self.node.waiting_users()
        return self.node.waiting_servers() if query.is_of_outbounds else b""

    def _taken(self, query: pasarguard_wire.StatsQuery) -> Batch | None:
        if query.is_of_users:
            return self.node.take_users()
        return self.node.take_servers() if query.is_of_outbounds else None

    def _sync(self, users: Iterable[pasarguard_wire.User]) -> Answer:
        self._require_start()
        for one in users:
            self.node.alter(wire.Alteration(_pair(one.user_id), one.is_active))
        return Answer()

    def _nothing(self, _message: bytes) -> Answer:
        return Answer()

    def _require_start(self) -> None:
        if not self.node.is_started():
            raise NotStartedError


def _pair(user_id: int) -> wire.Pair:
    """One inbound stands for all: PasarGuard always tells all of a user's at once."""
    return wire.Pair("", wire.Person(user_id, str(user_id)))

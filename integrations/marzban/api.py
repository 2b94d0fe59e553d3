"""The gRPC side of a node: Xray's StatsService and HandlerService, as far as Marzban calls them."""

import logging
from collections.abc import Callable
from urllib.parse import unquote

import grpc

from operations.addresses import parse_address

from . import wire
from .certificates import Own
from .conf import Address
from .grpc_server import GrpcServer, answering, is_awaited, refuse
from .handover import Batch, PausedError
from .node import Node

logger = logging.getLogger(__name__)
_STATS = "/xray.app.stats.command.StatsService/"
_ALTER = "/xray.app.proxyman.command.HandlerService/AlterInbound"
# What Marzban asks for.
_USERS, _OUTBOUNDS = "user>>>", "outbound>>>"
_PATTERNS = frozenset({_USERS, _OUTBOUNDS})

Method = Callable[[bytes, grpc.ServicerContext], bytes]


class ApiServer(GrpcServer):
    """Calls are some hundred bytes: one user's account at most."""

    def __init__(self, address: Address, own: Own, node: Node) -> None:
        self._node = node
        self._methods: dict[str, Method] = {
            f"{_STATS}QueryStats": self._query_stats,
            f"{_STATS}GetSysStats": self._sys_stats,
            _ALTER: self._alter,
        }
        super().__init__(address, own)

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = self._methods.get(call.method)
        return grpc.unary_unary_rpc_method_handler(self._guarded(method)) if method else None

    def _guarded(self, method: Method) -> Method:
        """gRPC brings no certificate: only the address from which the session was started is answered."""

        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            with answering(context):
                if not self._node.admits(_peer(context)):
                    code = grpc.StatusCode.PERMISSION_DENIED
                    refuse(context, code, "Not the peer of this session.")
                return method(message, context)

        return answer

    def _query_stats(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        query = wire.stats_query(message)
        if query.pattern not in _PATTERNS:
            return b""  # asking for less takes nothing, because everything would leave with it
        is_of_users = query.pattern == _USERS
        if not query.reset:
            return self._node.waiting_users() if is_of_users else self._node.waiting_servers()
        batch = self._taken(is_of_users=is_of_users)
        if batch is None:
            return b""
        if is_awaited(context, lambda: self._node.answered(batch)):
            return batch.answer
        self._node.refused(batch)
        return b""

    def _taken(self, *, is_of_users: bool) -> Batch | None:
        try:
            return self._node.take_users() if is_of_users else self._node.take_servers()
        except PausedError:
            return None  # a node that answers nothing is in nobody's way

    def _sys_stats(self, _message: bytes, _context: grpc.ServicerContext) -> bytes:
        return wire.sys_stats(self._node.uptime())

    def _alter(self, message: bytes, _context: grpc.ServicerContext) -> bytes:
        """Always answered well: whatever else Marzban says here would be a traceback in its log."""
        try:
            if change := wire.alteration(message):
                self._node.alter(change)
        except wire.WireError as error:
            logger.warning("A change of a user could not be read: %s", error)
        return b""


def _peer(context: grpc.ServicerContext) -> str:
    """The caller's address: ``ipv4:127.0.0.1:52076``, ``ipv6:%5B::1%5D:52076``."""
    kind, _, place = unquote(context.peer()).partition(":")
    return str(parse_address(place) or "") if kind in {"ipv4", "ipv6"} else ""

"""The node of a PasarGuard over gRPC: ``service.NodeService`` on raw bytes, with the API key in the metadata."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from .certificates import Own
from .conf import Address
from .grpc_server import GrpcServer, answering, is_awaited, refuse
from .node_http import MAX_BODY
from .pasarguard import KeyRefusedError, NotStartedError, Service
from .pasarguard_wire import log

_PREFIX = "/service.NodeService/"
# Seconds between two looks at the log.
_INTERVAL = 0.5
_STREAMED = {"SyncUser": "SyncUser", "SyncUsersChunked": "SyncUsers"}
_REFUSALS = {
    "missing": grpc.StatusCode.UNAUTHENTICATED,
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "wrong": grpc.StatusCode.PERMISSION_DENIED,
}


class PasarGuardApi(GrpcServer):
    """A start brings the whole configuration with all users."""

    threads = 8
    most = MAX_BODY

    def __init__(self, address: Address, own: Own, service: Service) -> None:
        self._service = service
        super().__init__(address, own)

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = call.method.removeprefix(_PREFIX)
        if name == "GetLogs":
            return grpc.unary_stream_rpc_method_handler(self._logs)
        if name in _STREAMED:
            return grpc.stream_unary_rpc_method_handler(self._streamed(_STREAMED[name]))
        if name in self._service.methods:
            return grpc.unary_unary_rpc_method_handler(self._single(name))
        return None

    def _single(self, name: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            with self._guarded(context):
                return self._answered(name, message, context)

        return answer

    def _streamed(self, name: str) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
        def answer(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            with self._guarded(context):
                for message in messages:
                    self._service.call(name, message)
                return b""

        return answer

    def _answered(self, name: str, message: bytes, context: grpc.ServicerContext) -> bytes:
        found = self._service.call(name, message)
        if is_awaited(context, lambda: self._service.settled(found, is_sent=True)):
            return found.body
        self._service.settled(found, is_sent=False)
        return b""

    def _logs(self, _message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._guarded(context):
            pass
        after = 0
        while context.is_active() and self._service.node.is_started():
            for number, line in self._service.node.lines(after):
                after = number
                yield log(line)
            self._service.node.pause(_INTERVAL)

    @contextmanager
    def _guarded(self, context: grpc.ServicerContext) -> Iterator[None]:
        with answering(context):
            try:
                self._service.require_key(_key(context))
                yield
            except KeyRefusedError as refusal:
                refuse(context, _REFUSALS[refusal.code], f"The API key is {refusal.code}.")
            except NotStartedError:
                refuse(context, grpc.StatusCode.UNAVAILABLE, "core is not started yet")


def _key(context: grpc.ServicerContext) -> str:
    metadata: Any = context.invocation_metadata()
    return next((str(value) for name, value in metadata if name == "x-api-key"), "")

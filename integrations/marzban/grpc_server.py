"""What the gRPC sides of nodes of both kinds share: listening, and the status of a call that fails. Raw bytes, no generated code."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NoReturn

import grpc
from django.db import DatabaseError, InterfaceError, connection

from operations.hosts import join_host_port

from .certificates import Own
from .conf import Address
from .node import NotReadyError
from .wire import WireError

logger = logging.getLogger(__name__)
# Seconds that calls under way get when the node stops.
_GRACE = 2.0


class GrpcServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Serves one node until it is closed. Raises OSError when the address is taken."""

    threads = 4
    most = 2**20
    """Bytes of a message."""

    def __init__(self, address: Address, own: Own) -> None:
        self._pool = ThreadPoolExecutor(self.threads, type(self).__name__)
        self._server = grpc.server(
            self._pool,
            handlers=[self],
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", self.most)],
        )
        credentials = grpc.ssl_server_credentials(
            [(own.key.read_bytes(), own.certificate.read_bytes())]
        )
        place = join_host_port(address.host, address.port)
        try:
            self.port = self._server.add_secure_port(place, credentials)
        except RuntimeError as error:
            raise OSError(f"{place} cannot be listened on.") from error
        self._server.start()

    def close(self) -> None:
        self._server.stop(_GRACE).wait()
        self._pool.shutdown()


@contextmanager
def answering(context: grpc.ServicerContext) -> Iterator[None]:
    """Gives a call that fails its status. Closes the connection of a thread that may never be used again."""
    try:
        yield
    except WireError as error:
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except NotReadyError:
        refuse(context, grpc.StatusCode.UNAVAILABLE, "Busy.")
    except (DatabaseError, InterfaceError, OSError) as error:
        logger.warning("Nothing is handed over: %s", error)
        refuse(context, grpc.StatusCode.UNAVAILABLE, "The database is not available.")
    finally:
        connection.close()


def is_awaited(context: grpc.ServicerContext, done: Callable[[], None]) -> bool:
    """Whether the panel still waits for the answer; ``done`` is called when it has left."""
    return bool(context.is_active() and context.add_callback(done))


def refuse(context: grpc.ServicerContext, code: grpc.StatusCode, sentence: str) -> NoReturn:
    context.abort(code, sentence)
    raise AssertionError("abort raises")

"""Receives datagrams in a daemon thread: UDP, or a Unix socket's."""

from __future__ import annotations

import contextlib
import re
import select
import socket
from pathlib import Path
from threading import Event, Thread
from typing import Any, Callable, NamedTuple, Union

from xpert_agent.sources.base import SourceError

MAX_BATCH = 256
MAX_SIZE = 65_535
POLL = 0.2
RECEIVE_BUFFER = 1024 * 1024
_UDP = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>\d{1,5})")

Address = Union[str, "tuple[str, int]"]


class Datagram(NamedTuple):
    data: bytes
    sender: Any
    """What the socket calls the sender: host and port first for UDP, None without a name."""


Handler = Callable[["list[Datagram]"], "list[Datagram]"]
"""Takes what has arrived and says what to answer; `sender` is then the receiver."""


def parse_address(text: str) -> Address:
    """`127.0.0.1:1813`, `[::1]:1813`, or the path of a Unix socket; raises `SourceError`."""
    if text.startswith("/"):
        return text
    found = _UDP.fullmatch(text)
    if not found:
        raise SourceError(f"“{text}” is not an address: write 127.0.0.1:6100 or /path/to/socket.")
    return found["v6"] or found["host"], int(found["port"])


def open_socket(address: Address, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    """A socket of the family that the address has."""
    if isinstance(address, str):
        return socket.socket(socket.AF_UNIX, kind)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return socket.socket(family, kind)


class DatagramServer:
    """Listens from `start` to `stop`. An error of the handler is kept in `failure`."""

    def __init__(self, address: Address, handle: Handler, gather: float = 0.0) -> None:
        """`gather`: seconds in which what arrives is taken together, for one write to disk."""
        self.failure: str = ""
        self._gather = gather
        self._address = address
        self._handle = handle
        self._socket: socket.socket | None = None
        self._thread: Thread | None = None
        self._stopping = Event()

    def start(self) -> None:
        """Binds, unless that is done; raises `SourceError`."""
        if self._thread and self._thread.is_alive():
            return
        self._close_socket()
        listening = open_socket(self._address)
        try:
            self._bind(listening)
        except (OSError, OverflowError) as error:
            listening.close()
            why = getattr(error, "strerror", None) or error
            raise SourceError(f"Cannot listen on {self.where}: {why}.") from error
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket = listening
        self._thread = Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and closes the socket."""
        self._stopping.set()
        if self._thread:
            self._thread.join()
        self._close_socket()

    @property
    def where(self) -> str:
        """The address, for people."""
        return (
            self._address if isinstance(self._address, str) else ":".join(map(str, self._address))
        )

    @property
    def port(self) -> int:
        """The UDP port that is listened on."""
        return int(self._socket.getsockname()[1]) if self._socket else 0

    def _bind(self, listening: socket.socket) -> None:
        if isinstance(self._address, str) and Path(self._address).is_socket():
            _remove_dead(self._address)
        listening.bind(self._address)

    def _close_socket(self) -> None:
        if self._socket is None:
            return
        self._socket.close()
        self._socket = None
        if isinstance(self._address, str):
            with contextlib.suppress(OSError):
                Path(self._address).unlink()

    def _run(self, listening: socket.socket) -> None:
        while not self._stopping.is_set():
            if select.select([listening], [], [], POLL)[0]:
                self._stopping.wait(self._gather)
                self._answer(listening, _waiting(listening))

    def _answer(self, listening: socket.socket, batch: list[Datagram]) -> None:
        try:
            answers = self._handle(batch)
        except Exception as error:  # noqa: BLE001 - a full disk must not end the listening
            self.failure = f"What arrives at {self.where} cannot be kept: {error}."
            return
        self.failure = ""
        for answer in answers:
            with contextlib.suppress(OSError):
                listening.sendto(answer.data, answer.sender)


def _remove_dead(path: str) -> None:
    """Removes a socket on which nobody listens any more."""
    with open_socket(path) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def _waiting(listening: socket.socket) -> list[Datagram]:
    batch: list[Datagram] = []
    with contextlib.suppress(OSError):
        while len(batch) < MAX_BATCH:
            batch.append(Datagram(*listening.recvfrom(MAX_SIZE)))
    return batch

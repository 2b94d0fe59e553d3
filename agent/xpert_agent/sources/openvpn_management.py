"""Talks to OpenVPN's management interface, which serves one client at a time: briefly."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from xpert_agent.sources.base import Counter, SourceError
from xpert_agent.sources.datagrams import Address, open_socket

TIMEOUT = 3.0
BYTECOUNT_TIMEOUT = 2.5
"""Seconds. OpenVPN reports it once a second; old versions do so only while something flows."""
_PASSWORD = "ENTER PASSWORD:"  # noqa: S105 - what OpenVPN asks
_LAST = ("END", "SUCCESS:", "ERROR:")
_BYTECOUNT = re.compile(r">BYTECOUNT:(\d+),(\d+)")


class Management:
    """An open conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = ""

    def greet(self, secret: str) -> None:
        """Gives the password if one is wanted, and waits for the greeting."""
        while ">INFO:" not in self._rest:
            if self._rest.endswith(_PASSWORD):
                if not secret:
                    raise SourceError("OpenVPN's management wants a password.")
                self._say(secret)
                self._rest = ""
            try:
                self._receive()
            except ConnectionError as error:
                raise SourceError("OpenVPN's management refuses the password.") from error
        self._line()

    def ask(self, command: str) -> str:
        """The answer: of one that is only a word of success the text after it, else all lines."""
        self._say(command)
        lines: list[str] = []
        while not (lines and lines[-1].startswith(_LAST)):
            line = self._line()
            if not line.startswith(">"):  # that would be news, and no answer
                lines.append(line)
        if lines[-1].startswith("ERROR:"):
            raise SourceError(f"OpenVPN's management refuses “{command}”.")
        return lines[-1].partition(":")[2].strip() if len(lines) == 1 else "\n".join(lines)

    def bytes_of_client(self) -> Counter | None:
        """All bytes of this client process, over reconnects; None if OpenVPN reports nothing now."""
        self.ask("bytecount 1")
        self._connection.settimeout(BYTECOUNT_TIMEOUT)
        try:
            while True:
                told = _BYTECOUNT.match(self._line())
                if told:
                    return Counter(up=int(told[2]), down=int(told[1]))
        except socket.timeout:
            return None
        finally:
            self._connection.settimeout(TIMEOUT)
            self.ask("bytecount 0")

    def leave(self) -> None:
        """Lets the next one in."""
        self._say("quit")

    def _say(self, line: str) -> None:
        self._connection.sendall(line.encode() + b"\n")

    def _line(self) -> str:
        while "\n" not in self._rest:
            self._receive()
        line, _, self._rest = self._rest.partition("\n")
        return line.rstrip("\r")

    def _receive(self) -> None:
        more = self._connection.recv(65_536)
        if not more:
            raise ConnectionError("it has hung up")
        self._rest += more.decode("utf-8", "replace")


@contextmanager
def management(address: Address, secret: str) -> Iterator[Management]:
    """A conversation; raises `SourceError` for whatever goes wrong in it."""
    with open_socket(address, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(address)
            talking = Management(connection)
            talking.greet(secret)
            yield talking
            talking.leave()
        except socket.timeout as error:
            raise SourceError(
                "OpenVPN's management does not answer: another program may be connected to it."
            ) from error
        except OSError as error:
            raise SourceError(f"OpenVPN's management cannot be reached: {error}.") from error

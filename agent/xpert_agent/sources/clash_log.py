"""The connections that a Clash core opens, as its log tells them.

A connection that is over before anybody looks at the list is in the totals and nowhere else. The
log names its source and its server, not its bytes. It goes to whoever asks for it, whatever level
the core itself writes down.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections import Counter as Counting
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Callable

from xpert_agent.sources.base import Key, SourceError
from xpert_agent.sources.controller import Controller

RETRY = 5.0
"""Seconds until a log that has ended is asked for again."""
_PIECE = 256 * 1024
_LINE = re.compile(rb'"payload":("\[(?:TCP|UDP)\] (?:[^"\\]|\\.)*")')
_OPENED = re.compile(r"\[(?:TCP|UDP)\] (?P<source>[^ (]+).* using (?P<chain>.+)")
_PASSED_ON = re.compile(r"[^\[]*\[(?P<server>.+)\]")


class ConnectionLog:
    """Takes what has arrived, and never waits: whoever looks at the list looks here before."""

    def __init__(self, controller: Controller, person: Callable[[Mapping[str, str]], str]) -> None:
        """`person`: of a connection's metadata, as the list has it; here it is only `sourceIP`."""
        self._controller = controller
        self._person = person
        self._connection: http.client.HTTPConnection | None = None
        self._asked_at = -RETRY
        self._rest = b""

    def taken(self) -> Mapping[Key, int]:
        """How many connections were opened since the last time."""
        if self._connection is None:
            self._ask(monotonic())
        return Counting(self._keys(self._arrived()))

    def close(self) -> None:
        """Until the next `taken`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, now: float) -> None:
        if now - self._asked_at < RETRY:
            return
        self._asked_at = now
        with suppress(SourceError):  # whether the core can be read at all, the list tells
            self._connection = self._controller.asked("/logs?level=info")
            self._connection.sock.setblocking(False)

    def _arrived(self) -> bytes:
        """Whole lines. They lie inside HTTP's chunks, whose marks belong to no line."""
        if self._connection is None:
            return b""
        try:
            piece = self._connection.sock.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        except OSError:
            piece = b""
        if not piece:
            self.close()
        lines, _, self._rest = (self._rest + piece).rpartition(b"\n")
        return lines

    def _keys(self, lines: bytes) -> Iterator[Key]:
        for line in _LINE.finditer(lines):
            key = opened_by(json.loads(line[1]), self._person)
            if key:
                yield key


def opened_by(text: str, person: Callable[[Mapping[str, str]], str]) -> Key | None:
    """Whose connection through which server a line tells of, if it is of one."""
    found = _OPENED.fullmatch(text)
    if found is None:
        return None
    source = found["source"].rpartition(":")[0].strip("[]")
    with suppress(ValueError):
        return Key(person({"sourceIP": source}), _server(found["chain"]))
    return None


def _server(chain: str) -> str:
    """`Group[server]`, or the server alone."""
    passed_on = _PASSED_ON.fullmatch(chain)
    return passed_on["server"] if passed_on else chain

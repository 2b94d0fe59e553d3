"""Shadowsocks, as ss-server and ssserver report it to their manager.

`ss-server --manager-address 127.0.0.1:6100` sends `stat: {"8388": 900515}` by itself every 5
to 10 seconds, so it is enough to listen there. A running ss-manager is asked with `ping` and
answers the same for all its ports. Its `list` would show passwords and is never asked.

The value is the sum of up and down, and is reported as download. The key is the port, so a
person is the port they use.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from xpert_agent.sources.base import (
    Counter,
    Endpoint,
    Key,
    Option,
    Reading,
    SourceError,
    Store,
    join_host_port,
)
from xpert_agent.sources.datagrams import (
    MAX_SIZE,
    Address,
    Datagram,
    DatagramServer,
    open_socket,
    parse_address,
)
from xpert_agent.sources.tally import Part, Tally

FIRST_LOOK = 30.0
"""Seconds in which every server that runs has reported: what is new after that began at 0."""
SILENCE = 60.0
_PING_TIMEOUT = 3.0
_PING_REST = 0.3
"""ss-manager splits a long answer into several datagrams; this long after the last one it ends."""


class Shadowsocks:
    kind: ClassVar[str] = "shadowsocks"
    options: ClassVar[tuple[Option, ...]] = (
        Option("host", "the host under which people reach this server; the port is each person's"),
        Option("listen", "the --manager-address of ss-server or ssserver", "127.0.0.1:6100"),
        Option(
            "manager", "the address of a running ss-manager, to ask it instead of listening", ""
        ),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._host = options["host"]
        self._manager = parse_address(options["manager"]) if options["manager"] else None
        listen = parse_address(options["listen"])
        if not _is_local(listen):
            raise SourceError("Shadowsocks' datagrams have no password: listen on 127.0.0.1 only.")
        self._server = DatagramServer(listen, self._take)
        self._tally = Tally(store, history=bool(self._manager))
        self._heard = self._tally.clock()

    def read(self) -> Reading:
        if self._manager:
            self._tally.observe_all(self._parts(ping(self._manager)))
            return self._reading(())
        self._server.start()
        return self._reading(self._problems())

    def close(self) -> None:
        self._server.stop()
        self._tally.save()

    def _take(self, batch: list[Datagram]) -> list[Datagram]:
        for datagram in batch:
            for port, part in self._parts([datagram.data]).items():
                self._heard = self._tally.clock()
                new = self._heard > self._tally.began + FIRST_LOOK
                self._tally.observe(port, part, from_zero=new)
        return []

    def _parts(self, datagrams: Iterable[bytes]) -> dict[str, Part]:
        return {
            port: Part(Key(port, join_host_port(self._host, port)), Counter(0, amount))
            for data in datagrams
            for port, amount in parse_stat(data).items()
        }

    def _problems(self) -> list[str]:
        silent = self._tally.clock() - self._heard
        problems = [self._server.failure] if self._server.failure else []
        if silent > SILENCE:
            problems.append(
                f"No Shadowsocks server has reported to {self._server.where} for {silent:.0f} s; "
                "it needs that as its --manager-address."
            )
        return problems

    def _reading(self, problems: Iterable[str]) -> Reading:
        reading = self._tally.reading(problems)
        endpoints = {
            key.server: Endpoint(self._host, int(key.person), self.kind) for key in reading.counters
        }
        return replace(reading, endpoints=endpoints)


def parse_stat(data: bytes) -> dict[str, int]:
    """Port -> bytes, of `stat: {"8388":900515}`; {} for anything else."""
    head, _, body = data.rstrip(b"\0 \r\n").partition(b":")
    try:
        told = json.loads(body) if head.strip() == b"stat" else {}
        return {str(int(port)): int(amount) for port, amount in told.items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def ping(manager: Address) -> list[bytes]:
    """All datagrams of ss-manager's answer; raises `SourceError` when there is none."""
    with open_socket(manager) as asking, ExitStack() as ending:
        try:
            if isinstance(manager, str):
                _name_for_answers(asking, ending)
            asking.settimeout(_PING_TIMEOUT)
            asking.connect(manager)
            asking.send(b"ping")
            answers = [asking.recv(MAX_SIZE)]
        except OSError as error:
            raise SourceError(f"ss-manager does not answer: {error}.") from error
        asking.settimeout(_PING_REST)
        try:
            while True:
                answers.append(asking.recv(MAX_SIZE))
        except socket.timeout:
            return answers


def _name_for_answers(asking: socket.socket, ending: ExitStack) -> None:
    """A path of its own; where none can be made, a name that Linux gives to an empty one."""
    try:
        folder = ending.enter_context(tempfile.TemporaryDirectory())
    except OSError:
        asking.bind("")
    else:
        asking.bind(str(Path(folder) / "ping"))


def _is_local(address: Address) -> bool:
    if isinstance(address, str):
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"

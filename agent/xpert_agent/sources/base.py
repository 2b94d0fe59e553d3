"""What every source of counters promises to the agent.

A source tells totals, never differences: each counter only grows within one run. The
journal turns totals into growth, so a source never has to remember what was sent.
A source whose core tells only differences, or forgets closed connections, adds them up
itself and keeps the sums in its `Store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol
from urllib.parse import urlsplit

_NO_ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({})


UNEXPLAINED = "(unexplained)"
"""The server of a counter that shows what a core has carried and nobody can be named for."""


class Key(NamedTuple):
    """Whose traffic, through which server, both as the source names them."""

    person: str
    """The source's name of the person; "" is the installation's own person."""
    server: str
    """The source's own name of the server: an outbound's tag, an endpoint, an inbound."""


class Counter(NamedTuple):
    """Bytes since the run began, as the person sees them: `up` leaves the person."""

    up: int
    down: int


class Endpoint(NamedTuple):
    """A server as the panel knows it."""

    host: str
    port: int
    protocol: str


@dataclass(frozen=True)
class Reading:
    """All counters of a source at one moment.

    A key that is absent has no news; its counter is not taken for 0.
    """

    run: str
    """Opaque. It changes when, and only when, the source's counters began at 0 again."""
    began: float | None
    """Unix seconds at which this run began, if the source knows it."""
    counters: Mapping[Key, Counter]
    read_at: float
    """Unix seconds."""
    problems: tuple[str, ...] = ()
    """The parts that could not be read although the rest could: one sentence each, without secrets."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: _NO_ENDPOINTS)
    """Server name -> where it is, for sources that know it themselves."""


class SourceError(Exception):
    """The source cannot be read or set up. One clear sentence for people, without secrets."""


def place_of(url: str) -> str:
    """Host and port, for messages: never the user, the password or the path."""
    return urlsplit(url).netloc.rpartition("@")[2]


def join_host_port(host: str, port: int | str) -> str:
    """`host:port`, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Option(NamedTuple):
    """An option of a source's section in agent.ini."""

    name: str
    meaning: str
    default: str | None = None
    """None: the option must be given. "" stands for "not set"."""


class Store(Protocol):
    """A source's own durable state inside the agent's journal. Any thread may call it."""

    def load(self) -> dict[str, Any]:
        """The last saved state; {} at first."""

    def save(self, state: dict[str, Any]) -> None:
        """Keeps `state` (JSON types only) in place of the previous one; on disk when it returns."""

    def read_at(self) -> float:
        """When the reading was taken that the journal has recorded last, in Unix seconds; 0 before the first."""

    def update(self, changed: Iterable[tuple[str, Any]], gone: Iterable[str]) -> None:
        """Keeps these entries and drops those, for a source that has too many to save them all."""


class Source(Protocol):
    """One running core, server or listener whose counters are read.

    It is made as `SourceClass(options, store)`: options are complete (defaults filled in) and
    known. The constructor raises `SourceError` for a bad value. It opens nothing that may be
    absent for now: a core that does not run yet is a `SourceError` of `read`.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[Option, ...]]

    def __init__(self, options: Mapping[str, str], store: Store) -> None: ...

    def read(self) -> Reading:
        """The counters now. Raises `SourceError`; the next call tries again by itself.

        It returns within about 10 seconds. A source that listens or follows a stream does so in
        a daemon thread of its own and tells here what it has added up.
        """

    def close(self) -> None:
        """Ends threads and connections. `read` is not called again."""


@dataclass(frozen=True)
class Found:
    """A core that runs on this machine and that a source can read."""

    kind: str
    options: Mapping[str, str]
    where: str
    """For people: "mihomo at 127.0.0.1:9090". The journal knows the source by it."""
    core: str = ""
    """The core itself, whichever way it is read: two sources of one core would count twice."""

"""The counters that Xray and v2ray tell, by `metrics` (HTTP) or by `StatsService` (gRPC).

Both cores answer to v2ray's name of the service. A counter is created at the first connection
of its user or tag, so an absent one is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Callable, NamedTuple
from urllib.parse import urlsplit

from xpert_agent.protobuf import bytes_field, fields
from xpert_agent.sources import local_http, unary_grpc
from xpert_agent.sources.base import Counter, SourceError, join_host_port

_SERVICE = "/v2ray.core.app.stats.command.StatsService/"
_SEPARATOR = ">>>"
_DIRECTIONS = ("uplink", "downlink")
_UPTIME = "Uptime"
# Numbers of the fields of SysStatsResponse and Stat, in command.proto of both cores.
_SYSTEM_NUMBERS = {2: "NumGC", 4: "TotalAlloc", 6: "Mallocs", 10: _UPTIME}
_STAT, _NAME, _VALUE = 1, 1, 2


class Name(NamedTuple):
    """The counted object: `kind` is user, inbound or outbound."""

    kind: str
    tag: str


@dataclass(frozen=True)
class Snapshot:
    """What a core tells at one moment."""

    counters: dict[Name, Counter]
    odd_names: frozenset[str]
    """Names that hold ">>>", which cuts the core's own names into the wrong pieces."""
    growing: Mapping[str, int]
    """Numbers that only grow while the core's process lives."""

    @property
    def uptime(self) -> int | None:
        """Seconds since the core's process started, if it tells."""
        return self.growing.get(_UPTIME)


def reader(url: str) -> Callable[[], Snapshot]:
    """How the core behind `url` is read; raises `SourceError` for an address of another form."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        page = url if parts.path.strip("/") else f"{url.rstrip('/')}/debug/vars"
        return lambda: _from_metrics(local_http.get_json(page))
    host, port = _host_and_port(url)
    return lambda: _from_service(host, port)


def users(port: int, pattern: str = "") -> dict[str, Counter]:
    """The counters of users of a core on this machine; `pattern`: a part of their names. Raises `SourceError`."""
    message = unary_grpc.call(
        "127.0.0.1", port, f"{_SERVICE}QueryStats", bytes_field(1, f"user>>>{pattern}".encode())
    )
    try:
        counters = _Rows(_stat_rows(message)).counters()
    except ValueError as error:
        raise SourceError("The core answers something that is not a counter.") from error
    return {name.tag: counter for name, counter in counters.items()}


def answers(port: int) -> bool:
    """Whether the core on this machine tells counters."""
    try:
        return bool(unary_grpc.call("127.0.0.1", port, f"{_SERVICE}GetSysStats", b""))
    except SourceError:
        return False


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme != "grpc" or not host or not port:
        raise SourceError(
            "The url of Xray or v2ray is http://127.0.0.1:11111/debug/vars (metrics) or "
            "grpc://127.0.0.1:10085 (API)."
        )
    return host, port


def _from_metrics(document: Any) -> Snapshot:
    stats = document.get("stats") if isinstance(document, dict) else None
    if not isinstance(stats, dict):
        raise SourceError(
            'This page has no counters: the core needs "stats": {} in its configuration.'
        )
    try:
        memory = document["memstats"]
        growing = {name: int(memory[name]) for name in ("NumGC", "TotalAlloc", "Mallocs")}
        rows = _Rows(_metrics_rows(stats))
        return Snapshot(rows.counters(), frozenset(rows.odd), growing)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError("This page has counters of a form that Xray does not use.") from error


def _metrics_rows(stats: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The rows as StatsService names them, so that one piece of code reads both."""
    for kind, tags in stats.items():
        for tag, counter in _taken(tags or {}):
            for direction, value in (counter or {}).items():
                # A name cut by ">>>" leaves a piece that is not a direction.
                yield _SEPARATOR.join((kind, tag, "traffic", direction)), int(value or 0)


def _from_service(host: str, port: int) -> Snapshot:
    """Counters between two looks at the process: one that restarts in between mixes two runs."""

    def ask(method: str) -> bytes:
        return unary_grpc.call(host, port, _SERVICE + method, b"")

    try:
        before = _system_numbers(ask("GetSysStats"))
        rows = _Rows(_stat_rows(ask("QueryStats")))
        after = _system_numbers(ask("GetSysStats"))
    except ValueError as error:
        place = join_host_port(host, port)
        raise SourceError(f"{place} answers something that is not a counter.") from error
    if fell(before, after):
        raise SourceError(f"{join_host_port(host, port)} restarted while it was read.")
    return Snapshot(rows.counters(), frozenset(rows.odd), after)


def _system_numbers(message: bytes) -> dict[str, int]:
    numbers = dict.fromkeys(_SYSTEM_NUMBERS.values(), 0)
    for number, value in fields(message):
        if number in _SYSTEM_NUMBERS and isinstance(value, int):
            numbers[_SYSTEM_NUMBERS[number]] = value
    return numbers


def _stat_rows(message: bytes) -> Iterator[tuple[str, int]]:
    for number, value in fields(message):
        if number == _STAT and isinstance(value, bytes):
            stat = dict(fields(value))
            name, count = stat.get(_NAME, b""), stat.get(_VALUE, 0)
            if isinstance(name, bytes) and isinstance(count, int):
                yield name.decode("utf-8", "replace"), count


class _Rows:
    """Rows put together: a core may have tens of thousands of users."""

    def __init__(self, rows: Iterable[tuple[str, int]]) -> None:
        """Raises ValueError and TypeError of the rows."""
        self.odd: set[str] = set()
        self._values: dict[Name, Any] = {}
        for name, value in rows:
            kind, *middle, direction = name.split(_SEPARATOR)
            if middle[1:] == ["traffic"] and direction in _DIRECTIONS:
                both = self._values.setdefault(Name(intern(kind), middle[0]), [0, 0])
                both[_DIRECTIONS.index(direction)] += value
            elif direction != "online":
                self.odd.add(middle[0] if middle else kind)

    def counters(self) -> dict[Name, Counter]:
        """To be asked once."""
        for name, value in self._values.items():
            self._values[name] = Counter(*value)  # in its place, or there would be two of each
        return self._values


def _taken(items: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The items, each let go of when the next one is taken."""
    while items:
        yield items.popitem()


def fell(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Whether any number that both have became smaller."""
    return any(after[name] < old for name, old in before.items() if name in after)

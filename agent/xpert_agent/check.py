"""Shows what would be booked. Sends no reading and does not change the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xpert_agent.agent import discovered, people_of
from xpert_agent.config import Settings, SourceSettings
from xpert_agent.finding import find_local_cores
from xpert_agent.mapping import Mapper, Servers, Target
from xpert_agent.panel import Panel, PanelError
from xpert_agent.sources import open_source
from xpert_agent.sources.base import Counter, Key, Reading, SourceError
from xpert_agent.status import human


class _Forgetful:
    """A `Store` for one reading."""

    def load(self) -> dict[str, Any]:
        return {}

    def save(self, state: dict[str, Any]) -> None:
        pass

    def read_at(self) -> float:
        return 0.0

    def update(self, changed: Iterable[tuple[str, Any]], gone: Iterable[str]) -> None:
        pass


def check(settings: Settings) -> int:
    """Prints it; 1 if a source cannot be read or a name is not known."""
    lines = list(_lines(settings))
    print("\n".join(lines))  # noqa: T201
    return int(any(line.startswith("!") for line in lines))


def _lines(settings: Settings) -> Iterator[str]:
    servers: Servers = {}
    if settings.panel.token:
        try:
            servers = Panel(settings.panel).servers()
            yield f"  {settings.panel.host} lists {len(servers)} servers"
        except PanelError as error:
            yield f"! {error}"
    sources = list(settings.sources)
    for finding in find_local_cores() if settings.discover else ():
        yield f"{' ' if finding.source else '!'} {finding.found} {finding.cannot_know}"
        if finding.source:
            sources.append(discovered(finding.source))
    if not sources:
        yield "! No VPN core that can be read runs here."
    for source in sources:
        yield from _source(source, Mapper(people_of(settings), servers, source.map))


def _source(settings: SourceSettings, mapper: Mapper) -> Iterator[str]:
    try:
        reading = _read(settings)
    except SourceError as error:
        yield f"! {settings.name} ({settings.kind}): {error}"
        return
    yield f"  {settings.name} ({settings.kind}): {len(reading.counters)} counters"
    yield from (f"! {problem}" for problem in reading.problems)
    yield from _counters(reading.counters, reading, mapper)


def _read(settings: SourceSettings) -> Reading:
    source = open_source(settings.kind, settings.options, _Forgetful())
    try:
        return source.read()
    finally:
        source.close()


def _counters(counters: Mapping[Key, Counter], reading: Reading, mapper: Mapper) -> Iterator[str]:
    for key, counter in sorted(counters.items()):
        target = mapper.target(key, reading.endpoints)
        name = f"{key.person or '(own)'} {key.server}"
        if isinstance(target, Target):
            host, port, protocol = target.endpoint
            person = "this subscription" if target.by_token else target.person
            yield f"    {name}: {human(counter)} -> {person}, {host}:{port} {protocol}"
        else:
            mark = "!" if "not known" in target.value else " "
            yield f"{mark}   {name}: {human(counter)} -> not sent: {target.value}"

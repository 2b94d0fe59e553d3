"""Xray and v2ray, by the metrics or the API in their configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xpert_agent.finding import core_config
from xpert_agent.finding.findings import Finding, first_of_each, in_parallel
from xpert_agent.finding.machine import Machine, local_address
from xpert_agent.sources import xray_stats
from xpert_agent.sources.base import Found, SourceError

_PROGRAM = re.compile(r"w?(?:xray|v2ray|v2fly)(?:[-_.].*)?")
"""Not v2rayN and v2rayA, which start such a core."""
_FILES = (
    "usr/local/etc/xray/config.json",
    "usr/local/etc/v2ray/config.json",
    "etc/xray/config.json",
    "etc/v2ray/config.json",
)
_DEFAULTS = ("grpc://127.0.0.1:10085", "http://127.0.0.1:11111")


class _Way(NamedTuple):
    url: str
    config: str
    """The configuration's path; "" if it is not known."""


def find(machine: Machine, taken: set[str]) -> list[Finding]:
    """Skips what is in `taken`."""
    ways = first_of_each(_ways(machine), lambda way: way.url)
    asked = [way for way in ways if _address(way.url) not in taken]
    answering = [way for way in in_parallel(_answering, asked) if way]
    return [_finding(way) for way in answering] or list(_silent_cores(machine, taken))


def _ways(machine: Machine) -> Iterator[_Way]:
    """The API before the metrics, because it tells since when the core has been running."""
    for path, document in core_config.documents(_paths(machine)):
        for scheme, part in (("grpc", "api"), ("http", "metrics")):
            address = _listens(document, document.get(part) or {})
            if address:
                yield _Way(f"{scheme}://{address}", str(path))
    if machine.probes_ports:
        yield from (_Way(url, "") for url in _DEFAULTS)


def _paths(machine: Machine) -> Iterator[Path]:
    yield from core_config.of_processes(machine, _PROGRAM, ("confdir",))
    yield from (machine.root / name for name in _FILES)


def _listens(document: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """Where it listens itself, or the inbound of its tag does for it."""
    if part.get("listen"):
        return local_address(str(part["listen"]))
    inbounds = [*(document.get("inbounds") or ()), document.get("inbound") or {}]
    for inbound in inbounds:
        if part.get("tag") and inbound.get("tag") == part["tag"]:
            return local_address(f"{inbound.get('listen', '')}:{inbound.get('port', '')}")
    return ""


def _answering(way: _Way) -> _Way | None:
    try:
        xray_stats.reader(way.url)()
    except SourceError:
        return None
    return way


def _finding(way: _Way) -> Finding:
    where = f"Xray or v2ray at {_address(way.url)}"
    options = {"url": way.url, **({"config": way.config} if way.config else {})}
    return Finding(
        f"{where} runs.",
        "It counts users to the byte; outbounds include what their protocols add. A long download "
        "may show only when it ends.",
        Found("xray", options, where, f"xray of {way.config or way.url}"),
    )


def _address(url: str) -> str:
    return url.rpartition("/")[2]


def _silent_cores(machine: Machine, taken: set[str]) -> Iterator[Finding]:
    names = sorted({one.name for one in machine.processes if _PROGRAM.fullmatch(one.name)})
    for name in names if not taken else ():
        yield Finding(
            f"{name} runs, and tells no counters.",
            "It needs stats, a policy that counts, and metrics or an API in its configuration: see "
            "“Xray and v2ray” in docs/agent-sources-cores.md.",
        )

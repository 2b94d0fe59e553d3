"""sing-box 1.14 and newer, by the api service in its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xpert_agent.finding import core_config
from xpert_agent.finding.findings import PROBE_SECONDS, Finding, first_of_each, in_parallel
from xpert_agent.finding.machine import Machine, local_address
from xpert_agent.sources.base import Found, SourceError
from xpert_agent.sources.grpc_web import Target, call
from xpert_agent.sources.singbox import SERVICE

_PROGRAM = re.compile(r"sing-?box(?:[-_.].*)?")
"""Releases are called sing-box-linux-amd64 and the like."""
_FILES = ("etc/sing-box/config.json", "usr/local/etc/sing-box/config.json")
_APP_FILES = ("sing-box/config.json",)
_DEFAULT = "127.0.0.1:9095"


class _Api(NamedTuple):
    address: str
    secret: str = ""
    clash_address: str = ""
    """The address of the same core's clash_api, which reports the same traffic a second time."""


def find(machine: Machine, taken: set[str]) -> list[Finding]:
    """Adds to `taken` the addresses at which the cores that it finds answer as Clash cores too."""
    apis = first_of_each(_apis(machine), lambda api: api.address)
    answering = [api for api in in_parallel(_answering, apis) if api]
    taken.update(api.clash_address for api in answering)
    findings = [_finding(api) for api in answering]
    return findings or ([] if taken else list(_silent_cores(machine)))


def _apis(machine: Machine) -> Iterator[_Api]:
    for _, document in core_config.documents(_paths(machine)):
        clash_address, _ = _clash_api(document)
        for service in document.get("services") or ():
            if service.get("type") == "api" and service.get("listen_port"):
                address = local_address(f"{service.get('listen', '')}:{service['listen_port']}")
                yield _Api(address, str(service.get("secret") or ""), clash_address)
    if machine.probes_ports:
        yield _Api(_DEFAULT)


def clash_controllers(machine: Machine) -> Iterator[tuple[str, str]]:
    """(address, secret) of the clash_api of each sing-box: before 1.14 there is nothing better."""
    for _, document in core_config.documents(_paths(machine)):
        address, secret = _clash_api(document)
        if address:
            yield address, secret


def _clash_api(document: Mapping[str, Any]) -> tuple[str, str]:
    settings = (document.get("experimental") or {}).get("clash_api") or {}
    address = local_address(str(settings.get("external_controller") or "elsewhere"))
    return address, str(settings.get("secret") or "")


def _paths(machine: Machine) -> Iterator[Path]:
    yield from core_config.of_processes(machine, _PROGRAM, ("C", "config-directory"))
    yield from (machine.root / name for name in _FILES)
    yield from (folder / name for folder in machine.app_folders() for name in _APP_FILES)


def _answering(api: _Api) -> _Api | None:
    try:
        call(
            Target(f"http://{api.address}", api.secret),
            f"{SERVICE}/GetStartedAt",
            b"",
            PROBE_SECONDS,
        )
    except SourceError:
        return None
    return api


def _finding(api: _Api) -> Finding:
    options = {"url": f"http://{api.address}", **({"secret": api.secret} if api.secret else {})}
    where = f"sing-box at {api.address}"
    return Finding(
        f"{where} runs.",
        "Nothing that it tells is missing, to the byte.",
        Found("singbox", options, where, f"sing-box at {api.address}"),
    )


def _silent_cores(machine: Machine) -> Iterator[Finding]:
    if any(_PROGRAM.fullmatch(process.name) for process in machine.processes):
        yield Finding(
            "sing-box runs, and no api service of it answers.",
            "sing-box 1.14 or newer needs an api service in its configuration, which this user can read: "
            "see “sing-box” in docs/agent.md.",
        )

"""v2rayN, by its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xpert_agent.finding.findings import Finding
from xpert_agent.finding.machine import Machine
from xpert_agent.sources import v2rayn_files
from xpert_agent.sources.base import Found

_PLACES = (
    "v2rayN*/guiConfigs",
    "v2rayN*/v2rayN*/guiConfigs",
    "{}/v2rayN*/guiConfigs",
    "{}/v2rayN*/v2rayN*/guiConfigs",
)
_HOME_FOLDERS = ("Downloads", "Desktop", "Documents", "Applications")
_SYSTEM_PLACES = (
    "Program Files/v2rayN*/guiConfigs",
    "v2rayN*/guiConfigs",
    "opt/v2rayN*/guiConfigs",
)


def find(machine: Machine, taken: set[str]) -> list[Finding]:
    """Adds to `taken` the addresses at which the cores that v2rayN starts tell their counters."""
    findings = []
    for folder in dict.fromkeys(_folders(machine)):
        if v2rayn_files.is_folder(folder):
            taken.update(v2rayn_files.core_addresses(folder))
            findings.append(_finding(folder))
    return findings


def _folders(machine: Machine) -> Iterator[Path]:
    for process in machine.processes:
        if process.name == "v2rayn":
            yield process.path(process.arguments[0]).parent
    yield from (folder / "v2rayN" for folder in machine.app_folders())
    for found in _portable_folders(machine):
        yield found.parent


def _portable_folders(machine: Machine) -> Iterator[Path]:
    for pattern in _PLACES:
        for name in _HOME_FOLDERS if "{}" in pattern else ("",):
            yield from sorted(machine.home.glob(pattern.format(name)))
    yield from machine.matching(*_SYSTEM_PLACES)


def _finding(folder: Path) -> Finding:
    where = f"v2rayN in {folder}"
    return Finding(
        f"{where} is here.",
        "With its Xray core it is counted while it runs; with its sing-box and mihomo cores when "
        "v2rayN is closed, and only about exactly.",
        Found("v2rayn", {"folder": str(folder)}, where, where),
    )

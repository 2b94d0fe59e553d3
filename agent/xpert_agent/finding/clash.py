"""Clash cores: mihomo by itself, and in Clash Verge, Clash Party, Sparkle, FlClash and others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

from xpert_agent.finding import singbox
from xpert_agent.finding.findings import PROBE_SECONDS, Finding, in_parallel
from xpert_agent.finding.machine import Machine, Process, local_address, read_text
from xpert_agent.sources.base import Found, SourceError
from xpert_agent.sources.controller import Controller, RefusedSecretError

_PORTS = (9090, 9097, 9091, 9999, 6756, 16756, 20113, 20123)
"""mihomo, Clash Verge Rev, copies of them, ShellCrash, Hiddify, GUI.for.Clash and .SingBox."""
_FILES = (
    "mihomo/config.yaml",
    "clash/config.yaml",
    "clash.meta/config.yaml",
    "io.github.clash-verge-rev.clash-verge-rev/clash-verge.yaml",
    "io.github.clash-verge-rev.clash-verge-rev/config.yaml",
    "mihomo-party/work/config.yaml",
    "sparkle/work/config.yaml",
    "clash-nyanpasu/clash-config.yaml",
    "clash-nyanpasu/config/clash-config.yaml",
    "com.follow.clash/config.yaml",
)
_SYSTEM_FILES = ("etc/mihomo/config.yaml", "etc/clash/config.yaml")
_SOCKETS = (
    "tmp/verge/verge-mihomo.sock",
    "tmp/*mihomo*.sock",
    "run/clash-verge-service/users/*/verge-mihomo.sock",
    "var/run/clash-verge-service/users/*/verge-mihomo.sock",
)
_PIPE = re.compile(r"mihomo|clash", re.IGNORECASE)
_NOT_A_CONTROLLER = re.compile(r"service", re.IGNORECASE)
_CORE = re.compile(r"mihomo|clash", re.IGNORECASE)
_SETTING = re.compile(
    r"""^(external-controller(?:-unix|-pipe)?|secret)\s*:\s*(?:"([^"]*)"|'([^']*)'|([^\s#]*))""",
    re.MULTILINE,
)
_PORT_SETTINGS = ("port", "socks-port", "redir-port", "tproxy-port", "mixed-port")
_SPLIT = (
    "Its total is exact. What went through connections that came and went between two looks is "
    "shared out among the servers that were seen."
)


class Candidate(NamedTuple):
    """A place where a controller may answer."""

    address: str
    secret: str = ""


class _Answer(NamedTuple):
    candidate: Candidate
    name: str
    """The core's name; "" if it requires another secret."""
    core: str


def find(machine: Machine, taken: set[str]) -> list[Finding]:
    """Skips what is in `taken`."""
    candidates = [one for one in _candidates(machine) if one.address not in taken]
    answers = [one for one in in_parallel(_ask, candidates) if one]
    findings = [_finding(one) for one in answers]
    return findings or ([] if taken else list(_silent_cores(machine)))


def _candidates(machine: Machine) -> list[Candidate]:
    """Each address once, with its secret if one is known."""
    secrets: dict[str, str] = {}
    for address, secret in _all_candidates(machine):
        secrets[address] = secrets.get(address) or secret
    return [Candidate(*item) for item in secrets.items()]


def _all_candidates(machine: Machine) -> Iterator[Candidate]:
    for process in machine.processes:
        if _is_core(process):
            yield from _of_process(process)
    yield from starmap(Candidate, singbox.clash_controllers(machine))
    for folder in machine.app_folders():
        yield from _of_files(folder / name for name in _FILES)
    yield from _of_files(machine.root / name for name in _SYSTEM_FILES)
    for path in machine.matching(*_SOCKETS):
        yield Candidate(f"unix:{path}")
    for name in machine.pipes:
        if _PIPE.search(name) and not _NOT_A_CONTROLLER.search(name):
            yield Candidate(f"pipe:{name}")
    if machine.probes_ports:
        yield from (Candidate(f"127.0.0.1:{port}") for port in _PORTS)


def _is_core(process: Process) -> bool:
    return bool(_CORE.search(process.name))


def _of_process(process: Process) -> Iterator[Candidate]:
    settings = {
        "external-controller": process.option("ext-ctl"),
        "external-controller-unix": process.option("ext-ctl-unix"),
        "external-controller-pipe": process.option("ext-ctl-pipe"),
        "secret": process.option("secret"),
    }
    folder = process.path(process.option("d"))
    path = process.path(process.option("f") or str(folder / "config.yaml"))
    given = {name: value for name, value in settings.items() if value}
    yield from _of_settings({**_settings(path), **given}, folder)


def _of_files(paths: Iterable[Path]) -> Iterator[Candidate]:
    for path in paths:
        yield from _of_settings(_settings(path), path.parent)


def _of_settings(settings: Mapping[str, str], folder: Path) -> Iterator[Candidate]:
    if settings.get("external-controller-unix"):
        yield Candidate(f"unix:{folder / settings['external-controller-unix']}")
    if settings.get("external-controller-pipe"):
        yield Candidate(f"pipe:{settings['external-controller-pipe']}")
    address = local_address(settings.get("external-controller") or "elsewhere")
    if address:
        yield Candidate(address, settings.get("secret", ""))


def _settings(path: Path) -> dict[str, str]:
    try:
        status = path.stat()
    except OSError:
        return {}
    return _settings_of_version(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _settings_of_version(path: Path, _changed: int, _size: int) -> dict[str, str]:
    """Top-level settings of a YAML file. Such files may have megabytes of rules."""
    return {
        match[1]: match[2] or match[3] or match[4] or ""
        for match in _SETTING.finditer(read_text(path))
    }


def _ask(candidate: Candidate) -> _Answer | None:
    try:
        with closing(Controller(*candidate, timeout=PROBE_SECONDS)) as controller:
            version = controller.get_json("/version")
            name = _name(version)
            return _Answer(candidate, name, _core(candidate, controller)) if name else None
    except RefusedSecretError:
        return _Answer(candidate, "", candidate.address)
    except SourceError:
        return None


def _name(version: Any) -> str:
    if not isinstance(version, dict) or not isinstance(version.get("version"), str):
        return ""
    if version["version"].startswith("sing-box"):
        return "sing-box"
    return "mihomo" if version.get("meta") else "Clash"


def _core(candidate: Candidate, controller: Controller) -> str:
    """The same for every way to one core: no two cores can have the same open ports."""
    with suppress(SourceError):
        settings = controller.get_json("/configs")
        ports = [str(settings.get(name) or 0) for name in _PORT_SETTINGS]
        if any(port != "0" for port in ports):
            return f"clash with ports {','.join(ports)}"
    return f"clash at {candidate.address}"


def _finding(answer: _Answer) -> Finding:
    place = answer.candidate.address.removeprefix("unix:").removeprefix("pipe:")
    if not answer.name:
        return Finding(
            f"Something at {place} wants a secret, perhaps a Clash core.",
            "Its secret is in no file that this program knows: “Clash cores” in "
            "docs/agent-sources-cores.md says how to name it.",
        )
    address, secret = answer.candidate
    options = {"controller": address, **({"secret": secret} if secret else {})}
    where = f"{answer.name} at {place}"
    return Finding(f"{where} runs.", _SPLIT, Found("clash", options, where, answer.core))


def _silent_cores(machine: Machine) -> Iterator[Finding]:
    for name in sorted({process.name for process in machine.processes if _is_core(process)}):
        yield Finding(
            f"{name} runs, and no controller of it answers.",
            "Switch on “external controller” in its settings, so that it can be read.",
        )

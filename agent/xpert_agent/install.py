"""Makes the agent start with this machine, or undoes that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from xpert_agent.program import InstallError, archive, command
from xpert_agent.service_files import (
    Service,
    launchd_plist,
    systemd_gateway_unit,
    systemd_system_unit,
    systemd_user_unit,
    windows_task,
)

PROGRAM = "xpert-agent.pyz"
GATEWAY = "gateway"
"""The kind of the one source of a gateway."""


def service_of(name: str, arguments: Sequence[str], state: Path, kinds: frozenset[str]) -> Service:
    """The service that calls this program from where `install` puts it."""
    program = program_folder() / PROGRAM if archive() else None
    return Service(name, [*command(program), *arguments], state, kinds)


def install(service: Service) -> None:
    """Puts the program in place, writes the service and starts it. Raises `InstallError`."""
    try:
        _put_program()
        service.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = _write(service)
    except OSError as error:
        raise InstallError(
            f"{error.filename or 'A file'} cannot be written: {error.strerror}."
        ) from error
    _call(*_start_commands(service, path))
    _say(f"{service.name} runs now and starts with this machine ({path}).")
    if _is_systemd() and not _is_root():
        _say("To have it run while nobody is signed in: loginctl enable-linger")


def remove(service: Service) -> None:
    """Stops the service and deletes its file; the state stays. Raises `InstallError`."""
    path = service_path(service.name)
    _call(*_stop_commands(service.name, path))
    path.unlink(missing_ok=True)
    _say(f"{service.name} is removed; its state stays in {service.state}.")


def service_text(service: Service) -> str:
    """The file that `install` writes here. Raises `InstallError`."""
    if GATEWAY in service.kinds:
        if not (_is_systemd() and _is_root()):
            raise InstallError("A gateway is a service of Linux with systemd, set up by root.")
        return systemd_gateway_unit(service)
    if sys.platform == "win32":
        return windows_task(service, subprocess.list2cmdline(service.command[1:]))
    if sys.platform == "darwin":
        return launchd_plist(service).decode()
    return systemd_system_unit(service) if _is_root() else systemd_user_unit(service)


def service_path(name: str) -> Path:
    """Where it is written; on Windows a file that the task scheduler reads once."""
    if sys.platform == "win32":
        return Path(tempfile.gettempdir()) / f"{name}.xml"
    if sys.platform == "darwin":
        folder = (
            Path("/Library/LaunchDaemons")
            if _is_root()
            else Path.home() / "Library" / "LaunchAgents"
        )
        return folder / f"{name}.plist"
    if _is_root():
        return Path("/etc/systemd/system") / f"{name}.service"
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "systemd" / "user" / f"{name}.service"


def program_folder() -> Path:
    """Where `install` puts the zipapp, so that a cleared download folder does not end the agent."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "xpert-agent"
    if _is_root():
        return Path("/usr/local/lib/xpert-agent")
    return Path.home() / ".local" / "lib" / "xpert-agent"


def _put_program() -> None:
    source, target = archive(), program_folder() / PROGRAM
    if source is None or source == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    shutil.copyfile(source, fresh)
    fresh.replace(target)


def _write(service: Service) -> Path:
    path = service_path(service.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        service_text(service), encoding="utf-16" if sys.platform == "win32" else "utf-8"
    )
    return path


def _start_commands(service: Service, path: Path) -> list[list[str]]:
    name = service.name
    if sys.platform == "win32":
        create = ["schtasks", "/Create", "/F", "/TN", name, "/XML", str(path)]
        return [create, ["schtasks", "/Run", "/TN", name]]
    if sys.platform == "darwin":
        return [["launchctl", "bootstrap", _launchd_domain(), str(path)]]
    return [
        [*_systemctl(), "daemon-reload"],
        [*_systemctl(), "enable", name],
        [*_systemctl(), "restart", name],
    ]


def _stop_commands(name: str, path: Path) -> list[list[str]]:
    if sys.platform == "win32":
        return [["schtasks", "/End", "/TN", name], ["schtasks", "/Delete", "/F", "/TN", name]]
    if sys.platform == "darwin":
        return [["launchctl", "bootout", _launchd_domain(), str(path)]]
    return [[*_systemctl(), "disable", "--now", name]]


def _systemctl() -> list[str]:
    return ["systemctl"] if _is_root() else ["systemctl", "--user"]


def _launchd_domain() -> str:
    return "system" if _is_root() else f"gui/{_user_id()}"


def _user_id() -> int:
    return -1 if sys.platform == "win32" else os.getuid()


def _is_root() -> bool:
    return _user_id() == 0


def _is_systemd() -> bool:
    return sys.platform not in ("win32", "darwin")


def _call(*commands: Sequence[str]) -> None:
    for words in commands:
        program = shutil.which(words[0])
        if program is None:
            raise InstallError(
                f"{words[0]} is not on this machine; see what would be set up: xpert-agent install --print"
            )
        done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise InstallError(f"“{' '.join(words)}” fails: {said[0] if said else done.returncode}")


def _say(sentence: str) -> None:
    print(sentence)  # noqa: T201

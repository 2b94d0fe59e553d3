"""This machine as the finders see it: processes, files, sockets and pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

from xpert_agent.sources.base import join_host_port

MAX_FILE = 8 * 1024 * 1024
_MOST_MATCHES = 50
_PIPES = "\\\\.\\pipe\\"


@dataclass(frozen=True)
class Process:
    """A running program: its command line, and the folder that relative paths start from."""

    arguments: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """The program's file name in lower case, without .exe."""
        path = self.arguments[0].replace("\\", "/")
        return path.rpartition("/")[2].lower().removesuffix(".exe")

    def option(self, *names: str) -> str:
        """The value of the first option that was given, or ""."""
        return next(iter(self.values(*names)), "")

    def values(self, *names: str) -> list[str]:
        """The values of all that were given, as `-c F`, `--config F` or `-c=F`."""
        found = []
        for at, argument in enumerate(self.arguments[1:], 1):
            flag, has_value, value = argument.partition("=")
            if flag.startswith("-") and flag.lstrip("-") in names:
                found.append(value if has_value else "".join(self.arguments[at + 1 : at + 2]))
        return [value for value in found if value]

    def path(self, name: str) -> Path:
        """A path as this program means it."""
        return self.folder / name


@dataclass(frozen=True)
class Machine:
    """What may be looked at. Tests make their own."""

    home: Path
    root: Path
    environment: Mapping[str, str]
    processes: tuple[Process, ...] = ()
    pipes: tuple[str, ...] = ()
    """Full names of named pipes."""
    probes_ports: bool = True
    """Whether the ports that cores use by default may be tried."""

    def app_folders(self) -> Iterator[Path]:
        """Where apps keep their files on Linux, macOS and Windows."""
        yield from (self.home / name for name in (".config", ".local/share"))
        yield self.home / "Library/Application Support"
        for name in ("APPDATA", "LOCALAPPDATA"):
            if self.environment.get(name):
                yield Path(self.environment[name])

    def matching(self, *patterns: str) -> Iterator[Path]:
        """What exists under the root; few of each pattern."""
        for pattern in patterns:
            with suppress(OSError):
                yield from islice(self.root.glob(pattern), _MOST_MATCHES)


def this_machine() -> Machine:
    """The machine as it is now."""
    root = Path(Path.home().anchor or "/")
    return Machine(Path.home(), root, os.environ, tuple(_processes()), tuple(_pipes()))


def read_text(path: Path) -> str:
    """The file's text; "" if it cannot be read or is not a configuration by its size."""
    try:
        if path.is_file() and path.stat().st_size <= MAX_FILE:
            return path.read_text("utf-8-sig", "replace")
    except OSError:
        pass
    return ""


def local_address(address: str, default_port: int = 0) -> str:
    """host:port on the loopback interface for a listen address; "" if it listens elsewhere."""
    host, _, port = address.strip().rpartition(":")
    if not port.isdigit():
        host, port = address.strip(), str(default_port)
    host = host.strip("[]")
    if host in ("", "*", "localhost", "0.0.0.0", "::"):  # noqa: S104  # is compared, not bound
        host = "127.0.0.1"
    try:
        parsed = ip_address(host)
    except ValueError:
        return ""
    if not parsed.is_loopback or not 0 < int(port) < 65536:
        return ""
    return join_host_port(host, port)


def _processes() -> Iterator[Process]:
    if sys.platform == "linux":
        yield from _processes_of_linux(Path("/proc"))
    elif sys.platform == "darwin":
        yield from _processes_of_ps()


def _processes_of_linux(folder: Path) -> Iterator[Process]:
    for path in folder.glob("[0-9]*"):
        with suppress(OSError):
            arguments = (path / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if arguments[0]:
                yield Process(tuple(arguments[:-1]), _folder(path / "cwd"))


def _folder(link: Path) -> Path:
    try:
        return link.readlink()
    except OSError:
        return Path("/")  # another user's process


def _processes_of_ps() -> Iterator[Process]:
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["/bin/ps", "-axww", "-o", "command="], capture_output=True, timeout=3, check=True
        )
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            yield Process(tuple(_split(line)), Path("/"))


def _split(line: str) -> Iterator[str]:
    """Words of a command line as ps shows it, where paths may hold spaces.

    A word begins at " -" and " /", and after the name of an option or of the program.
    """
    program, *words = line.replace(" -", "\n-").replace(" /", "\n/").split("\n")
    folder, slash, name = program.rpartition("/")
    name, *more = name.split(" ")
    yield folder + slash + name
    yield from more
    for word in words:
        yield from word.split(" ", 1) if word.startswith("-") else (word,)


def _pipes() -> list[str]:
    with suppress(OSError):
        if os.name == "nt":
            return [_PIPES + name for name in os.listdir(_PIPES)]  # noqa: PTH208  # no folder
    return []

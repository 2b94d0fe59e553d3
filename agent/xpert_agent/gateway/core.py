"""The program that carries a gateway's traffic: what a gateway needs of it, and its process.

`singbox_core` and `xray_core` fill in what differs. A process may outlive its agent.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from xpert_agent.gateway.documents import Documents, Json
from xpert_agent.gateway.keys import Keys
from xpert_agent.secret_files import write_secret

CHECK_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
COMES_UP = 10.0
"""Seconds within which a core must answer after a start or a reload."""
MAX_COMPLAINT = 400


class Version(NamedTuple):
    number: str
    tags: tuple[str, ...] = ()
    """What it was built with: `with_quic`, `with_utls`, …"""


class Core(ABC):
    name: ClassVar[str]
    """For people, and the first part of its files' names."""
    section: ClassVar[str]
    """Where the panel's document has its configuration."""
    documents: ClassVar[Documents]
    """What its configuration says."""
    source: ClassVar[str]
    """The kind of source that reads it."""
    longest: ClassVar[float] = float("inf")
    """Seconds between two readings at most."""
    check_arguments: ClassVar[Sequence[str]]
    run_arguments: ClassVar[Sequence[str]]
    """Both: followed by the path of a configuration."""
    version_arguments: ClassVar[Sequence[str]]
    version_pattern: ClassVar[str]
    stop_signal: ClassVar[int] = signal.SIGTERM
    keys: Keys

    def __init__(self, program: str, folder: Path) -> None:
        """`folder`: private; configuration, log and process id lie there."""
        self._program = program
        self.folder = folder
        self._config = folder / f"{self.name}.json"
        self._previous = folder / f"{self.name}.previous.json"
        self._candidate = folder / f"{self.name}.candidate.json"
        self._log = folder / f"{self.name}.log"
        self._pid_file = folder / f"{self.name}.pid"
        self._port_file = folder / "api-port"
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = self._survivor()

    # What a configuration says

    def at_own_port(self, config: Json) -> Json:
        """The same with the core's own interface where it is on this machine."""
        return self.documents.at_port(config, self.api_port)

    def with_own_keys(self, document: Json) -> Json:
        """The same with the keys that only the gateway knows, made when they are missing. Raises OSError."""
        if host := document.get("own_certificate"):
            self.keys.make_certificate(host)
        config = document[self.section]
        key = self.keys.reality()[0] if self.documents.speaks_reality(config) else ""
        changed = self.documents.with_own_keys(config, self.folder.resolve(), key)
        return {**document, self.section: changed}

    def reality_key(self, config: Json) -> str:
        """The public one; "" where REALITY is not spoken. Raises OSError."""
        return self.keys.reality()[1] if self.documents.speaks_reality(config) else ""

    @abstractmethod
    def secrets(self, config: Json) -> Sequence[str]:
        """The texts that must not appear in the log."""

    @abstractmethod
    def source_options(self, config: Json) -> Mapping[str, str]:
        """The options with which its source reads it."""

    # The process

    @abstractmethod
    def follow(self, config: Json) -> None:
        """Applies what the panel says now, as far as that needs no reload. `config` is not checked yet."""

    @abstractmethod
    def keep_out(self, now: float) -> bool:
        """Ends connections of people who are out. Called every second; returns whether a reload is needed.

        `now`: monotonic seconds.
        """

    @abstractmethod
    def does(self, config: Json) -> bool:
        """Whether it already runs as `config` says, so that no reload is needed."""

    @abstractmethod
    def end_connections(self) -> None:
        """Before a reload or the end, so that the last reading has them whole."""

    @abstractmethod
    def reload(self) -> bool:
        """Applies what `write` has put in place; this ends every connection. Returns whether the core comes up."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether its interface answers and people can reach it."""

    @abstractmethod
    def people_online(self) -> int | None:
        """How many people use it; None when it does not say."""

    def api_port(self, wanted: int) -> int:
        """Where the core's own interface is: the wanted port, or another if that was taken at first."""
        try:
            return int(self._port_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            port = _free_port(wanted)
            self._port_file.write_text(str(port), encoding="ascii")
            return port

    def complaint(self, config: Json) -> str:
        """What the core has against a configuration; "" for nothing."""
        write_secret(self._candidate, json.dumps(config))
        try:
            done = self.ask(*self._in_folder(self.check_arguments), str(self._candidate))
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{self.name} cannot check it: {type(error).__name__}."
        finally:
            self._candidate.unlink(missing_ok=True)
        said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines()
        refusal = said[-1][-MAX_COMPLAINT:] if said else f"{self.name} refuses it without a reason."
        return "" if done.returncode == 0 else refusal

    def version(self) -> Version:
        """The version of the program with its build tags; empty if it does not print them."""
        try:
            said = self.ask(*self.version_arguments).stdout
        except (OSError, subprocess.TimeoutExpired):
            return Version("")
        number = re.search(self.version_pattern, said, re.MULTILINE)
        tags = re.search(r"^Tags: (\S+)", said, re.MULTILINE)
        return Version(
            number.group(1)[:64] if number else "", tuple(tags.group(1).split(",")) if tags else ()
        )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the program says; raises OSError and subprocess.TimeoutExpired."""
        return subprocess.run(  # noqa: S603
            [self._program, *arguments],
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )

    def write(self, config: Json) -> None:
        """Puts a configuration in place, and keeps the one before for `roll_back`. Raises OSError, and changes nothing then."""
        write_secret(self._candidate, json.dumps(config))
        if self._config.exists():
            self._config.replace(self._previous)
        self._candidate.replace(self._config)

    def configured(self) -> dict[str, Any]:
        """The configuration that is in place; {} for none."""
        try:
            found = json.loads(self._config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def roll_back(self) -> bool:
        """Whether there was a configuration before, which is now in place."""
        if not self._previous.exists():
            return False
        self._previous.replace(self._config)
        return True

    @property
    def is_configured(self) -> bool:
        return self._config.exists()

    def is_running(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._pid != 0 and self._is_ours(self._pid)

    def has_died(self) -> bool:
        """Whether one was started and has ended, and nobody has called `stop`."""
        return self._pid_file.exists() and not self.is_running()

    def start(self) -> None:
        """In a session of its own: it goes on when the agent dies. Raises OSError."""
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603
                [self._program, *self._in_folder(self.run_arguments), str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environment()},
            )
        self._pid = self._child.pid
        self._pid_file.write_text(str(self._pid), encoding="ascii")

    def environment(self) -> Mapping[str, str]:
        """What its process gets besides the agent's own."""
        return {}

    def comes_up(self) -> bool:
        """Whether it answers in time after a start."""
        deadline = time.monotonic() + COMES_UP
        while self.is_running() and time.monotonic() < deadline:
            if self.answers():
                return True
            time.sleep(0.1)
        return False

    def signal(self, number: int) -> None:
        os.kill(self._pid, number)

    def stop(self) -> None:
        if not self.is_running():
            return
        self.signal(self.stop_signal)
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.is_running():
            self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()
        self._pid_file.unlink(missing_ok=True)

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][-MAX_COMPLAINT:] if lines else ""

    def _in_folder(self, arguments: Sequence[str]) -> list[str]:
        return [argument.format(folder=self.folder) for argument in arguments]

    def _survivor(self) -> int:
        """The process that an agent before this one has started; 0: there is none."""
        pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        return next(filter(self._is_ours, pids), 0)

    def _is_ours(self, pid: int) -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        ours = [*self._in_folder(self.run_arguments), str(self._config), ""]
        return arguments[1:] == [os.fsencode(one) for one in ours]


def is_open(address: str, port: int) -> bool:
    """`address`: "::" is all of the machine's."""
    try:
        socket.create_connection(("127.0.0.1" if address == "::" else address, port), 1.0).close()
    except OSError:
        return False
    return True


def _free_port(wanted: int) -> int:
    """Any if the wanted one is taken: several gateways may share a machine."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted

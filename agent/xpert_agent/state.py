"""The folder with an installation's journal, and the process that uses it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import IO

from xpert_agent.panel import panel_of
from xpert_agent.secret_files import make_private_folder, read_secret, write_secret

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class StateError(Exception):
    """The folder cannot be used. One clear sentence for people."""


def default_folder() -> Path:
    """Where the states of `report` lie on this kind of computer."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "xpert-agent"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "xpert-agent"
    if os.geteuid() == 0:
        return Path("/var/lib/xpert-agent")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "xpert-agent"


class State:
    """One installation's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: IO[bytes] | None = None

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite3"

    @property
    def subscription(self) -> Path:
        """Holds the subscription's URL, for `report`."""
        return self.folder / "subscription"

    def make(self) -> None:
        """Raises `StateError`."""
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise StateError(f"{self.folder} cannot be made: {error.strerror}.") from error

    def lock(self) -> None:
        """Takes the folder until the process ends; raises `StateError` if another agent has it."""
        try:
            self._lock = (self.folder / "lock").open("ab")
        except OSError as error:
            raise StateError(f"{self.folder} cannot be written: {error.strerror}.") from error
        try:
            _lock(self._lock)
        except OSError as error:
            raise StateError(f"Another agent is running with {self.folder}.") from error

    def is_running(self) -> bool:
        """Whether an agent has the folder now."""
        try:
            with (self.folder / "lock").open("ab") as file:
                _lock(file)
        except OSError:
            return True
        return False


def state_of_subscription(url: str, base: Path) -> State:
    """The folder for this person at this panel; the URL is kept in it. Raises `PanelError`, `StateError`."""
    panel, token = panel_of(url)
    name = hashlib.sha256(f"{panel} {token}".encode()).hexdigest()[:12]
    state = State(base / name)
    state.make()
    try:
        write_secret(state.subscription, url.strip() + "\n")
    except OSError as error:
        raise StateError(f"{state.subscription} cannot be written: {error.strerror}.") from error
    return state


def known_states(base: Path) -> list[State]:
    """All installations of `report` under `base`."""
    return [State(path.parent) for path in sorted(base.glob("*/subscription"))]


def subscription_url(path: Path) -> str:
    """Raises `StateError`."""
    try:
        return read_secret(path)
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}.") from error


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

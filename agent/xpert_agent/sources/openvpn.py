"""OpenVPN, by its status file or its management interface; server and client.

On a server the bytes belong to a session, and a session's row goes with its last bytes. A
`client-disconnect` script can append them to a file, which closes that gap:

    printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' "$time_unix" "$bytes_received" "$bytes_sent" \\
        "${trusted_ip:-$trusted_ip6}" "$trusted_port" "$username" "$common_name" >> FILE

Received bytes are what the person sends. All bytes are the encrypted ones, with OpenVPN's own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from xpert_agent.mapping import parse_endpoint
from xpert_agent.sources.base import (
    Counter,
    Key,
    Option,
    Reading,
    SourceError,
    Store,
    join_host_port,
)
from xpert_agent.sources.datagrams import parse_address
from xpert_agent.sources.openvpn_management import management
from xpert_agent.sources.openvpn_sessions import Sessions
from xpert_agent.sources.openvpn_status import Session, Status, is_whole, parse_status
from xpert_agent.sources.spool import Spool
from xpert_agent.sources.tally import THIS_SERVER, Part, Tally

STALE = 600.0
_TRIES = 3
_DISCONNECT_COLUMNS = 7


class _Seen(NamedTuple):
    """One look at OpenVPN."""

    status: Status
    client: Counter | None
    """The bytes of a client: management reports the whole process, a file only the current connection."""
    state: str
    """Management's `state`; "" from a file."""
    process: str
    """The process, whose counters begin at 0; "" from a file."""
    problems: list[str]


class OpenVpn:
    kind: ClassVar[str] = "openvpn"
    options: ClassVar[tuple[Option, ...]] = (
        Option("status", "the file of OpenVPN's `status` directive", ""),
        Option("management", "or its `management`: 127.0.0.1:7505, or the path of a socket", ""),
        Option("secret", "the management interface's password", ""),
        Option("disconnects", "the file to which the client-disconnect script appends", ""),
        Option("remote", "a client's server, host:port; else management tells its address", ""),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        if bool(options["status"]) == bool(options["management"]):
            raise SourceError("openvpn needs either the option “status” or “management”.")
        self._file = options["status"]
        self._management = parse_address(options["management"]) if options["management"] else None
        self._secret = options["secret"]
        self._remote = options["remote"]
        if self._remote and not parse_endpoint(f"{self._remote}/{self.kind}"):
            raise SourceError("The option “remote” of openvpn is host:port.")
        self._spool = Spool(options["disconnects"]) if options["disconnects"] else None
        self._tally = Tally(store)

    def read(self) -> Reading:
        position, ended = self._disconnects()  # first: what has ended is in no later status
        seen = self._look()
        if seen.status.client is not None:
            return self._read_client(seen)
        problems = self._book(position, ended, seen.status.sessions)
        return self._tally.reading([*seen.status.problems, *seen.problems, *problems])

    def close(self) -> None:
        self._tally.save()

    def _book(
        self, position: dict[str, Any], ended: list[Session], sessions: list[Session]
    ) -> list[str]:
        """Books what the sessions have grown; says what is wrong with the script's file."""
        book = Sessions(self._tally)
        book.observe(sessions)
        for session in ended:
            book.end(session)
        book.forget_old()
        self._tally.notes["spool"] = position
        self._tally.save(force=bool(ended))
        try:
            if self._spool and self._tally.is_kept():
                self._spool.tidy(position)
        except SourceError as error:
            return [str(error)]
        return []

    def _look(self) -> _Seen:
        if self._management:
            with management(self._management, self._secret) as talking:
                status = parse_status(talking.ask("status 3"))
                is_client = status.client is not None
                told = talking.bytes_of_client() if is_client else None
                return _Seen(status, told, talking.ask("state"), talking.ask("pid"), [])
        status, written = _read_file(Path(self._file))
        age = self._tally.clock() - written
        stale = f"{self._file} was last written {age:.0f} s ago: does OpenVPN still run?"
        return _Seen(status, status.client, "", "", [stale] if age > STALE else [])

    def _read_client(self, seen: _Seen) -> Reading:
        server = self._remote or self._current_remote(seen.state)
        if seen.client:
            part = Part(Key("", server), seen.client)
            self._tally.observe_all({"tunnel": part}, epoch=seen.process)
        elif not self._tally.has_seen("tunnel"):
            raise SourceError("OpenVPN does not tell its bytes while nothing flows.")
        endpoint = parse_endpoint(f"{server}/{self.kind}")
        return self._tally.reading(seen.problems, {server: endpoint} if endpoint else {})

    def _current_remote(self, state: str) -> str:
        """The server to which the tunnel goes, or last went."""
        if not state:
            return THIS_SERVER
        remote = parse_state(state) or self._tally.notes.get("remote", "")
        if not remote:
            raise SourceError("OpenVPN is not connected yet.")
        self._tally.notes["remote"] = remote
        return str(remote)

    def _disconnects(self) -> tuple[dict[str, Any], list[Session]]:
        """The new position in the script's file, to be kept with what is booked, and its lines."""
        position = dict(self._tally.notes.get("spool", {"offset": 0}))
        lines = self._spool.lines(position) if self._spool else []
        return position, [session for session in map(parse_disconnect, lines) if session]


def parse_disconnect(line: str) -> Session | None:
    """A line of the client-disconnect script; None for anything else."""
    row = line.split("\t")
    if len(row) != _DISCONNECT_COLUMNS:
        return None
    since, received, sent, address, port, username, common_name = row
    try:
        counter = Counter(up=int(received), down=int(sent))
        return Session(common_name, username, f"{address}:{port}", counter, int(since), "")
    except ValueError:
        return None


def parse_state(text: str) -> str:
    """`address:port` of the server, from management's `state`; "" while not connected."""
    row = (text.splitlines() or [""])[0].split(",")
    if len(row) < 6 or row[1] != "CONNECTED" or not row[4]:
        return ""
    return join_host_port(row[4], row[5])


def _read_file(path: Path) -> tuple[Status, float]:
    """The status and when it was written; a file that is being written is read again."""
    try:
        text = path.read_text("utf-8", "replace")
        for _ in range(_TRIES):
            if is_whole(text):
                break
            time.sleep(0.1)
            text = path.read_text("utf-8", "replace")
        return parse_status(text), path.stat().st_mtime
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error

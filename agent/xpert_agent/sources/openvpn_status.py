"""OpenVPN's status, of a server or a client: versions 1 (spaces in words), 2 (commas), 3 (tabs)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from xpert_agent.sources.base import Counter, SourceError

_UNKNOWN = ("", "UNDEF")
_SENT, _RECEIVED = "TCP/UDP write bytes", "TCP/UDP read bytes"


class Session(NamedTuple):
    """One connection of a client to this server."""

    common_name: str
    username: str
    address: str
    counter: Counter
    since: int
    """Unix seconds."""
    client_id: str
    """"" in version 1, and before OpenVPN 2.4."""

    @property
    def person(self) -> str:
        """The user name if there is one, else the certificate's; "" before either is known."""
        names = [name for name in (self.username, self.common_name) if name not in _UNKNOWN]
        return names[0] if names else ""


class Status(NamedTuple):
    sessions: list[Session]
    client: Counter | None
    """The tunnel's own bytes, if this OpenVPN is a client."""
    problems: list[str]


def is_whole(text: str) -> bool:
    """Whether the status has been written to its end."""
    return text.rstrip().endswith("\nEND")


def parse_status(text: str) -> Status:
    """Raises `SourceError` for a text that is not whole, or not a status at all."""
    lines = text.splitlines()
    if not is_whole(text):
        raise SourceError("OpenVPN's status has no END: it is being written, or not a status.")
    if lines[0].startswith("OpenVPN STATISTICS"):
        return Status([], _client(lines), [])
    separator = "\t" if lines[0].startswith("TITLE\t") else ","
    table = _version_1(lines) if lines[0].startswith("OpenVPN CLIENT LIST") else lines
    return _server([line.split(separator) for line in table])


def _client(lines: Iterable[str]) -> Counter:
    told = dict(line.split(",", 1) for line in lines if "," in line)
    try:
        return Counter(up=int(told[_SENT]), down=int(told[_RECEIVED]))
    except (KeyError, ValueError) as error:
        raise SourceError("OpenVPN's status does not tell the bytes of TCP/UDP.") from error


def _version_1(lines: Sequence[str]) -> Iterator[str]:
    """The same table as version 2 has."""
    yield f"HEADER,CLIENT_LIST,{lines[2]}" if len(lines) > 2 else ""
    for line in lines[3:]:
        if line == "ROUTING TABLE":
            return
        yield f"CLIENT_LIST,{line}"


def _server(rows: Iterable[Sequence[str]]) -> Status:
    header: Sequence[str] = ()
    sessions, problems, offloaded = [], [], False
    for row in rows:
        if row[:2] == ["HEADER", "CLIENT_LIST"]:
            header = row[2:]
        if row[0] == "CLIENT_LIST" and header and len(row) - 1 != len(header):
            problems.append("A name with a comma cannot be read: set status-version 3.")
        elif row[0] == "CLIENT_LIST":
            sessions.append(_session(dict(zip(header, row[1:]))))
        offloaded = offloaded or list(row) == ["GLOBAL_STATS", "dco_enabled", "1"]
    if not header:
        raise SourceError("OpenVPN's status has no CLIENT_LIST.")
    if offloaded and sessions and not any(sum(session.counter) for session in sessions):
        problems.append("OpenVPN counts no bytes with data channel offload: set disable-dco.")
    return Status(sessions, None, problems)


def _session(row: Mapping[str, str]) -> Session:
    try:
        return Session(
            common_name=row["Common Name"],
            username=row.get("Username", ""),
            address=row["Real Address"],
            counter=Counter(up=int(row["Bytes Received"]), down=int(row["Bytes Sent"])),
            since=_since(row),
            client_id=row.get("Client ID", ""),
        )
    except (KeyError, ValueError) as error:
        raise SourceError("A row of OpenVPN's CLIENT_LIST cannot be read.") from error


def _since(row: Mapping[str, str]) -> int:
    told = row.get("Connected Since (time_t)")
    if told:
        return int(told)
    text = row["Connected Since"]
    form = "%Y-%m-%d %H:%M:%S" if text[:1].isdigit() else "%a %b %d %H:%M:%S %Y"  # OpenVPN 2.3
    return int(time.mktime(time.strptime(text, form)))

"""Sessions of an OpenVPN server, booked once although both a status and a script report them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xpert_agent.sources.base import Counter, Key
from xpert_agent.sources.openvpn_status import Session
from xpert_agent.sources.tally import THIS_SERVER, Part, Tally

KEPT = 86_400.0
"""Seconds for which a session is remembered after it was last seen."""


FRESH = 3600.0
"""Seconds until it is noted again that a session was seen: each note is written to disk."""


class Sessions:
    """Growth of sessions, in a tally.

    A session is its second of connection and its client ID. Version 1 of the status has no
    client ID: there it is the second and the common name, and sessions that share both are
    one. Their sum falls when one of them ends, which is not counted.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._known: dict[str, dict[str, Any]] = tally.notes.setdefault("sessions", {})

    def observe(self, sessions: Iterable[Session]) -> None:
        """Books what the sessions in a status have grown."""
        rows: dict[str, list[Session]] = {}
        for session in sessions:
            if session.person:
                self._note_naming(session)
                rows.setdefault(_name(session), []).append(session)
        for name, same in rows.items():
            self._remember(name, same)
            self._book(name, same)

    def end(self, ended: Session) -> None:
        """Books the last bytes of a session, told by the client-disconnect script."""
        if not ended.person:
            return
        name = self._find(ended) or f"{ended.since}|{ended.common_name}|{ended.address}"
        if self._known.get(name, {}).get("rows", 1) > 1:
            return
        self._book(name, [ended])
        self._known[name] = {"since": ended.since, "seen": self._tally.clock()}

    def forget_old(self) -> None:
        """Drops sessions that were not seen for a day."""
        now = self._tally.clock()
        old = [name for name, known in self._known.items() if known["seen"] < now - KEPT]
        for name in old:
            del self._known[name]
        self._tally.forget(old)

    def _note_naming(self, session: Session) -> None:
        """Sessions get other names when the status has another version; they are not new sessions."""
        naming = "client_id" if session.client_id else "common_name"
        before = self._tally.notes.setdefault("naming", naming)
        if before != naming:
            self._tally.notes.update(naming=naming, named_at=self._tally.clock())

    def _remember(self, name: str, same: list[Session]) -> None:
        now = self._tally.clock()
        seen = self._known.get(name, {}).get("seen", 0.0)
        self._known[name] = {
            "since": same[0].since,
            "common_name": same[0].common_name,
            "address": same[0].address,
            "rows": len(same),
            "seen": now if seen < now - FRESH else seen,
        }

    def _book(self, name: str, same: list[Session]) -> None:
        now = Counter(sum(one.counter.up for one in same), sum(one.counter.down for one in same))
        part = Part(Key(same[0].person, THIS_SERVER), now)
        fell = self._tally.fell(name, now)
        self._tally.observe(name, part, from_zero=self._is_new(same[0].since), restored=fell)

    def _is_new(self, since: int) -> bool:
        return since >= int(self._tally.notes.get("named_at", 0))

    def _find(self, ended: Session) -> str:
        """The name under which a session that has ended was seen, or ""."""
        same = [
            name
            for name, known in self._known.items()
            if known["since"] == ended.since and known.get("common_name") == ended.common_name
        ]
        exact = [name for name in same if self._known[name]["address"].endswith(ended.address)]
        return (exact or same or [""])[0]


def _name(session: Session) -> str:
    return f"{session.since}|{session.client_id or session.common_name}"

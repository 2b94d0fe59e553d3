"""Sessions of RADIUS accounting, booked by their totals: a repeated packet adds nothing.

The possible changes of a session's totals, and what follows:

* The same or an older total comes again: nothing.
* 32 bits run over on a NAS that sends no gigawords: 2^32 is added, if that many bytes can have
  flowed since the last packet; else it is an older packet that comes late.
* The NAS has rebooted and uses the number of a session again. It says so with a Start, or with
  Accounting-On before: then the packet belongs to the new session if it says that it began
  nearer to that moment, or, without a session time, if its totals are smaller.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from xpert_agent.sources.base import Counter, Key
from xpert_agent.sources.radius_packets import START, STOP, Accounting, Octets
from xpert_agent.sources.tally import Part, Tally

KEPT = 86_400.0
"""Seconds for which a closed session is remembered. What a NAS sends later is not counted."""
KEPT_OPEN = 31 * 86_400.0
MAX_RATE = 125_000_000
"""Bytes a second that a NAS without gigawords can carry: it is an old one."""
_WRAP = 2**32


class _Told(NamedTuple):
    """A packet, and when what it tells was so."""

    packet: Accounting
    at: float

    @property
    def began(self) -> float | None:
        """When the session began, as far as the packet says."""
        if self.packet.session_time is not None:
            return self.at - self.packet.session_time
        return self.at if self.packet.status == START else None


class RadiusSessions:
    """Growth of sessions in a tally, whose notes are the sessions. Call it under `tally.lock`."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._open: dict[str, dict[str, Any]] = tally.notes

    def book(self, nas: str, server: str, packet: Accounting) -> None:
        """Books a Start, Interim-Update or Stop."""
        now = self._tally.clock()
        told = _Told(packet, now - packet.delay)
        name = json.dumps([nas, packet.session_id, packet.user])
        session = self._session(name, told)
        session["seen"] = now
        if packet.received or packet.sent:
            self._book_totals(name, session, told, Key(packet.user, server))
        if packet.status == STOP:
            session["closed"] = now

    def reboot(self, nas: str, delay: int) -> None:
        """The NAS says that none of its sessions goes on."""
        now = self._tally.clock()
        for name, session in self._open.items():
            if json.loads(name)[0] == nas:
                session.update(closed=now, restart=now - delay)

    def forget_old(self) -> None:
        """Drops sessions that were closed a day ago, or not heard of for a month."""
        now = self._tally.clock()
        old = [
            name
            for name, session in self._open.items()
            if session["seen"] < now - (KEPT if session.get("closed") else KEPT_OPEN)
        ]
        for name in old:
            del self._open[name]
        self._tally.forget(old)

    def _session(self, name: str, told: _Told) -> dict[str, Any]:
        session = self._open.get(name)
        if session is None:
            return self._begin(name, told.began)
        if told.packet.status == START and told.began is not None:
            session["restart"] = told.began
        if not (told.packet.received or told.packet.sent) or session.get("restart") is None:
            return session
        return self._continued(name, session, told)

    def _continued(self, name: str, session: dict[str, Any], told: _Told) -> dict[str, Any]:
        """The session that these totals belong to: the known one, or a new one of the same name."""
        restart = session.pop("restart")
        if session["began"] is None or told.packet.session_time is None:
            new = self._is_smaller(session, told.packet)
        else:
            began = told.at - told.packet.session_time
            new = abs(began - restart) < abs(began - session["began"])
        if not new:
            return session
        self._tally.forget([name])
        return self._begin(name, restart)

    def _begin(self, name: str, began: float | None) -> dict[str, Any]:
        session: dict[str, Any] = {"began": began, "low": [0, 0], "wraps": [0, 0]}
        self._open[name] = session
        return session

    def _is_smaller(self, session: dict[str, Any], packet: Accounting) -> bool:
        return any(new.low < old for new, old in zip(_both(packet), session["low"]))

    def _book_totals(self, name: str, session: dict[str, Any], told: _Told, key: Key) -> None:
        order = told.packet.session_time
        if order is not None and order < session.get("order", 0):
            return  # an older packet that comes late
        totals = _totals(session, told)
        if totals is None:
            return
        session.update(at=told.at, **({} if order is None else {"order": order}))
        began = session["began"]
        fresh = began is not None and began >= int(self._tally.began)
        self._tally.observe(name, Part(key, totals), from_zero=fresh)


def _both(packet: Accounting) -> list[Octets]:
    return [octets or Octets(0, None) for octets in (packet.received, packet.sent)]


def _totals(session: dict[str, Any], told: _Told) -> Counter | None:
    """Bytes received and sent in the whole session; None for totals that are older."""
    octets = _both(told.packet)
    session["gigawords"] = session.get("gigawords", False) or any(
        o.high is not None for o in octets
    )
    before = _bytes(session["wraps"], session["low"])
    lows = [octet.low for octet in octets]
    if session["gigawords"]:
        wraps = [octet.high or 0 for octet in octets]
    else:
        wraps = [w + (new < old) for w, new, old in zip(session["wraps"], lows, session["low"])]
    totals = _bytes(wraps, lows)
    growth = max(totals.up - before.up, totals.down - before.down)
    inferred = wraps != session["wraps"] and not session["gigawords"]
    possible = max(told.at - session.get("at", told.at), 1.0) * MAX_RATE
    if totals.up < before.up or totals.down < before.down or (inferred and growth > possible):
        return None
    session.update(low=lows, wraps=wraps)
    return totals


def _bytes(wraps: list[int], lows: list[int]) -> Counter:
    up, down = (wrap * _WRAP + low for wrap, low in zip(wraps, lows))
    return Counter(up, down)

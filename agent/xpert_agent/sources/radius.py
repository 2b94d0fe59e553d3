"""Listens for RADIUS accounting (RFC 2866): MikroTik, ocserv, strongSwan, accel-ppp, OpenVPN.

A packet is answered when what it tells is on disk, and not before: without an answer the NAS
sends it again. A packet with a wrong secret, or from an address that is not allowed, gets no
answer at all. User names travel in clear, so listen on loopback or inside a tunnel.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Union

from xpert_agent.sources import radius_packets as packets
from xpert_agent.sources.base import Option, Reading, SourceError, Store
from xpert_agent.sources.datagrams import Datagram, DatagramServer, parse_address
from xpert_agent.sources.radius_packets import Accounting
from xpert_agent.sources.radius_sessions import KEPT, RadiusSessions
from xpert_agent.sources.tally import Tally

GATHER = 0.2
"""Seconds for which an answer may wait for others; a NAS waits for one to three."""
TOLD = 600.0
"""Seconds for which a refused sender is shown to the admin."""
_SESSION_STATUSES = (packets.START, packets.STOP, packets.INTERIM)
_MAX_COMPLAINTS = 20

Networks = list[Union[ipaddress.IPv4Network, ipaddress.IPv6Network]]


class Radius:
    kind: ClassVar[str] = "radius"
    options: ClassVar[tuple[Option, ...]] = (
        Option("secret", "the secret shared with the NAS"),
        Option("listen", "where to listen", "127.0.0.1:1813"),
        Option("allow", "addresses and networks of the NAS, with commas between", "127.0.0.1, ::1"),
        Option("swap", "yes for a NAS that takes input for what the person gets", "no"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._secret = options["secret"].encode()
        self._allowed = _networks(options["allow"])
        if options["swap"] not in ("yes", "no"):
            raise SourceError("The option “swap” of radius is yes or no.")
        self._swap = options["swap"] == "yes"
        self._tally = Tally(store, history=False)
        self._sessions = RadiusSessions(self._tally)
        self._kept = False
        self._complaints: dict[str, float] = {}
        self._listening = DatagramServer(
            parse_address(options["listen"]), self.handle, gather=GATHER
        )

    def read(self) -> Reading:
        self._listening.start()
        return self._tally.reading(self._problems())

    def close(self) -> None:
        self._listening.stop()
        self._tally.save()

    def handle(self, batch: list[Datagram]) -> list[Datagram]:
        """Books what is authentic in one step, and says what to answer."""
        authentic = [datagram for datagram in batch if self._is_authentic(datagram)]
        answered = []
        with self._tally.lock:
            for datagram in authentic:
                told = packets.parse(datagram.data)
                if told is not None:
                    self._book(str(datagram.sender[0]), told)
                    answered.append(datagram)
            self._sessions.forget_old()
            if answered:
                self._tally.save(force=True)
                self._kept = self._kept or self._tally.is_kept()
        if not self._kept:  # a check listens too: what it hears must be sent again
            return []
        return [
            Datagram(packets.response(datagram.data, self._secret), datagram.sender)
            for datagram in answered
        ]

    def _is_authentic(self, datagram: Datagram) -> bool:
        sender = _address(str(datagram.sender[0]))
        if not any(sender in network for network in self._allowed):
            self._complain(f"{sender} sends packets, but is not in “allow”.")
            return False
        if not packets.is_authentic(datagram.data, self._secret):
            self._complain(f"{sender} sends packets with another secret.")
            return False
        return True

    def _book(self, sender: str, told: Accounting) -> None:
        nas = told.nas or sender
        if told.status in (packets.ON, packets.OFF):
            self._sessions.reboot(nas, told.delay)
        elif told.status not in _SESSION_STATUSES:
            return
        elif told.delay > KEPT:
            self._complain(f"{nas} tells of more than a day ago, which is not counted.")
        elif not told.user:
            self._complain(f"{nas} tells of sessions without a User-Name.")
        else:
            self._sessions.book(nas, told.nas_name or nas, self._turned(told))

    def _turned(self, told: Accounting) -> Accounting:
        return told._replace(received=told.sent, sent=told.received) if self._swap else told

    def _complain(self, sentence: str) -> None:
        with self._tally.lock:
            if sentence in self._complaints or len(self._complaints) < _MAX_COMPLAINTS:
                self._complaints[sentence] = self._tally.clock()

    def _problems(self) -> Iterator[str]:
        now = self._tally.clock()
        if self._listening.failure:
            yield self._listening.failure
        with self._tally.lock:
            fresh = {said: at for said, at in self._complaints.items() if at >= now - TOLD}
            self._complaints = fresh
        yield from sorted(fresh)


def _networks(text: str) -> Networks:
    try:
        return [
            ipaddress.ip_network(part, strict=False)
            for part in re.split(r"[\s,]+", text.strip(", \n"))
        ]
    except ValueError as error:
        raise SourceError(
            f"The option “allow” of radius is not a list of networks: {error}."
        ) from error


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address without its zone, and as IPv4 if it is one in IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address

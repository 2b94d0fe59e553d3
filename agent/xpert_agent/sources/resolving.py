"""Resolves the hosts of servers in the background, and remembers what they were."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable, Mapping
from threading import Event, Thread
from typing import Callable

REFRESH = 300.0
PATIENCE = 5.0
"""Seconds for which the first caller waits; a DNS that does not answer holds nobody up longer."""
KEPT = 3600.0
"""Seconds for which an address counts after the host has moved: connections live on."""

Lookup = Callable[[str], "list[str]"]


def look_up(host: str) -> list[str]:
    """All addresses of a host; [] if it cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(row[4][0]) for row in found})


class Resolver:
    """Keeps the addresses of hosts fresh, in a daemon thread."""

    def __init__(
        self,
        hosts: Iterable[str],
        addresses: Mapping[str, Mapping[str, float]],
        lookup: Lookup = look_up,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hosts = sorted(set(hosts))
        self.addresses = {host: dict(addresses.get(host, {})) for host in self._hosts}
        """Host -> address -> when it was last true; only values are replaced, in one step."""
        self._lookup = lookup
        self._clock = clock
        self._stopping, self._ready = Event(), Event()
        self._thread: Thread | None = None

    def current(self) -> dict[str, set[str]]:
        """Host -> addresses that count now; the first call waits a little for the DNS."""
        if self._thread is None:
            self._thread = Thread(target=self._run, daemon=True)
            self._thread.start()
            self._ready.wait(PATIENCE)
        oldest = self._clock() - KEPT
        return {host: _true_since(oldest, known) for host, known in self.addresses.items() if known}

    def unresolved(self) -> list[str]:
        """Hosts of which no address is known."""
        return [host for host in self._hosts if not self.addresses[host]]

    def refresh(self) -> None:
        """Looks every host up once; one that cannot be resolved keeps what it had."""
        for host in self._hosts:
            found = [host] if _is_address(host) else self._lookup(host)
            now = self._clock()
            if found:
                kept = {a: seen for a, seen in self.addresses[host].items() if seen >= now - KEPT}
                self.addresses[host] = {**kept, **dict.fromkeys(found, now)}
        self._ready.set()

    def stop(self) -> None:
        """Ends the thread at its next step; it may still wait for the DNS."""
        self._stopping.set()

    def _run(self) -> None:
        self.refresh()
        while not self._stopping.wait(REFRESH):
            self.refresh()


def _true_since(oldest: float, known: Mapping[str, float]) -> set[str]:
    """Addresses true since `oldest`, or the newest ones: a DNS that fails takes nothing away."""
    newest = max(known.values())
    return {address for address, seen in known.items() if seen >= min(oldest, newest)}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

"""The report of a gateway to the panel: what runs there, what it refuses, and the public halves of its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from xpert_agent import __version__
from xpert_agent.gateway.certificates import CertificateError, certificate
from xpert_agent.gateway.core import Core
from xpert_agent.gateway.counts import Counts
from xpert_agent.gateway.documents import Json
from xpert_agent.journal.overview import Carried

MOST = 50
"""The maximum number of left-out servers in a report; the log names all of them."""


class Gateway(Protocol):
    """The gateway that is reported."""

    complaint: str
    left_out: dict[str, str]
    counts: Counts
    carried: Callable[[], Carried | None]

    @property
    def config(self) -> Json: ...


class StateReport:
    def __init__(self, gateway: Gateway, core: Core) -> None:
        self._gateway = gateway
        self._core = core
        self._version = core.version()
        self._told: tuple[Any, ...] | None = None

    def is_news(self) -> bool:
        """Whether anything except figures differs from the last report."""
        return self._told != self._news()

    def state(self) -> dict[str, Any]:
        """As the panel takes it."""
        self._told = self._news()
        return {
            "agent": __version__,
            "core": self._version.number,
            "tags": list(self._version.tags),
            "complaint": self._gateway.complaint,
            "left_out": dict(list(self._gateway.left_out.items())[:MOST]),
            "reloads": self._gateway.counts.reloads,
            "deaths": self._gateway.counts.deaths,
            "carried": self._carried(),
            "online": self._core.people_online(),
            "reality_public_key": self._reality_key(),
            "certificate": self._certificate(),
        }

    def _news(self) -> tuple[Any, ...]:
        return (
            self._gateway.complaint,
            dict(self._gateway.left_out),
            self._gateway.counts.deaths,
            self._reality_key(),
            self._certificate(),
        )

    def _carried(self) -> Mapping[str, Any] | None:
        """Totals, so that a report that is sent twice counts once."""
        found = self._gateway.carried()
        if found is None:
            return None
        return {
            "run": found.run,
            "upload": found.counted.up,
            "download": found.counted.down,
            "unexplained": sum(found.unexplained),
        }

    def _reality_key(self) -> str:
        try:
            return self._core.reality_key(self._gateway.config)
        except OSError:
            return ""

    def _certificate(self) -> Mapping[str, Any] | None:
        """The first that people are shown; None when there is none, or nobody can read it."""
        path = self._core.documents.certificate_path(self._gateway.config)
        return self._read(self._core.folder / path) if path else None

    def _read(self, path: Path) -> Mapping[str, Any] | None:
        try:
            found = certificate(path.read_text(encoding="ascii"))
        except (OSError, CertificateError, UnicodeError):
            return None
        return found._asdict()

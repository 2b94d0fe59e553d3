"""What the gateway must know of the configuration that the panel gives its core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

Json = Mapping[str, Any]


class Documents(Protocol):
    """A module per core: pure functions of its configuration."""

    def users(self, config: Json, /) -> frozenset[str]:
        """Everybody who is let in, as the core calls them."""

    def ways_in(self, config: Json, /) -> list[str]:
        """The ways in which a build may be unable to offer."""

    def only_ways_in(self, config: Json, ways: Collection[str], /) -> Json:
        """These ways in and nothing behind them, to see whether the core takes them."""

    def limited_to(self, config: Json, servers: Collection[str], ways: Collection[str], /) -> Json:
        """The same with these servers and ways in alone, and nobody who would use another."""

    def at_port(self, config: Json, port: Callable[[int], int], /) -> Json:
        """The same with the core's own interface at another port. `port`: the one for the one that was wanted."""

    def with_own_keys(self, config: Json, folder: Path, reality_key: str, /) -> Json:
        """The same with the private key of REALITY, where it is spoken. `folder`: where certificates are."""

    def speaks_reality(self, config: Json, /) -> bool: ...

    def certificate_path(self, config: Json, /) -> str:
        """The path of the first certificate that people are shown; "" for none."""

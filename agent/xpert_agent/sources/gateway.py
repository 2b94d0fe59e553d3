"""The sing-box of a gateway. Its users are one person on one server each: `p17-s0a1b…`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from xpert_agent.sources.base import Endpoint, Option, Reading, Store
from xpert_agent.sources.singbox import SingBox


class Gateway(SingBox):
    kind: ClassVar[str] = "gateway"
    options: ClassVar[tuple[Option, ...]] = (
        *SingBox.options,
        Option("servers", "the file that says where each server is"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        super().__init__(options, store)
        self._servers = Path(options["servers"])

    def read(self) -> Reading:
        return replace(super().read(), endpoints=endpoints(self._servers))


def endpoints(path: Path) -> dict[str, Endpoint]:
    """By tag, as the gateway has written them down."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        tag: Endpoint(one["server"], one["port"], one["protocol"]) for tag, one in found.items()
    }

"""An agent with a clockwork of milliseconds, run as a process of its own so that it can be killed.

Its source is a file: the counters of a core that goes on while the agent is dead.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from singbox_core import SECRET, USERS
from v2ray_core import SERVERS

from xpert_agent import agent, cli, sender, sources, worker
from xpert_agent.config import Settings, SourceSettings
from xpert_agent.mapping import SourceMap
from xpert_agent.panel import Address
from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.state import State


class FileSource:
    """{"run": …, "began": …, "counters": [[person, server, up, down], …]}"""

    kind: ClassVar[str] = "file"
    options: ClassVar[tuple[Option, ...]] = (Option("path", "the file"),)

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._path = Path(options["path"])

    def read(self) -> Reading:
        if not self._path.exists():
            raise SourceError("The core does not run.")
        told = json.loads(self._path.read_text())
        counters = {
            Key(person, server): Counter(up, down) for person, server, up, down in told["counters"]
        }
        return Reading(told["run"], told["began"], counters, time.time())

    def close(self) -> None:
        """Nothing is open."""


def main() -> int:
    counters, state, panel, key, interval = sys.argv[1:]
    sources.KINDS["file"] = f"{__name__}:FileSource"
    sys.modules.setdefault("killable_agent", sys.modules[__name__])
    agent.AFTER_READING = worker.RETRY = 0.01
    sender.FIRST_WAIT, sender.LONGEST_WAIT = 0.01, 0.1
    source = _source(counters)
    settings = Settings(Address(panel, key=key), Path(state), (source,), interval=float(interval))
    return cli.work(settings, State(settings.state))


def _source(counters: str) -> SourceSettings:
    """A file, http: for sing-box, grpc: for v2ray; each with servers of the names that its test has."""
    if counters.startswith("http:"):
        options = {"url": counters, "secret": SECRET, "server_by": "outbound"}
        servers = {f"srv-{user}": f"{user}.example.com:443/vless" for user in USERS}
        return SourceSettings("core", "singbox", options, SourceMap(servers))
    if counters.startswith("grpc:"):
        servers = {name: f"{name}.example.com:443/vless" for name in SERVERS}
        return SourceSettings("core", "xray", {"url": counters}, SourceMap(servers))
    servers = {f"srv-{number}": f"host{number}.example.com:443/vless" for number in range(10)}
    return SourceSettings("core", "file", {"path": counters}, SourceMap(servers))


if __name__ == "__main__":
    sys.exit(main())

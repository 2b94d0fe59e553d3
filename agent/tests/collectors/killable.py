"""An agent with one source and a clockwork of milliseconds, as a process that can be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from xpert_agent import agent, cli, sender, worker
from xpert_agent.config import Settings, SourceSettings
from xpert_agent.mapping import SourceMap
from xpert_agent.panel import Address
from xpert_agent.sources import complete_options
from xpert_agent.state import State


def main() -> int:
    kind, options, state, panel, key = sys.argv[1:]
    agent.AFTER_READING = worker.RETRY = 0.01
    sender.FIRST_WAIT, sender.LONGEST_WAIT = 0.01, 0.1
    source = SourceSettings(
        "tested",
        kind,
        complete_options(kind, json.loads(options)),
        SourceMap(server="vpn.example.com:443/ikev2"),
    )
    settings = Settings(Address(panel, key=key), Path(state), (source,), interval=0.02)
    return cli.work(settings, State(settings.state))


if __name__ == "__main__":
    sys.exit(main())

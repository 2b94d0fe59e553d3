"""`xpert-agent gateway`: the panel's configuration, a core that follows it, and readings of it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xpert_agent.agent import Agent
from xpert_agent.config import Settings, SourceSettings
from xpert_agent.gateway.core import Core
from xpert_agent.gateway.options import program
from xpert_agent.gateway.singbox_core import SingBox
from xpert_agent.gateway.supervisor import Supervisor
from xpert_agent.gateway.xray_core import Xray
from xpert_agent.journal.database import Database
from xpert_agent.journal.overview import Overview
from xpert_agent.logs import log_to_stderr
from xpert_agent.panel import Address, Panel
from xpert_agent.sources import complete_options
from xpert_agent.state import State

OWN = "-"
"""The panel's word for the gateway whose key is sent."""

SOURCE = "gateway"
"""The name of its core in the journal."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GatewayOptions:
    address: Address
    state: Path
    name: str = ""
    sing_box: str = ""
    xray: str = ""


def run_gateway(options: GatewayOptions) -> int:
    """Runs until it is stopped. Raises errors that `main` prints as one sentence."""
    log_to_stderr([options.address.key])
    state = State(options.state)
    state.make()
    state.lock()
    core = _core(options, state.folder.resolve())
    supervisor = Supervisor(Panel(options.address), options.name or OWN, core, state.folder)
    supervisor.fetch_first()
    log_to_stderr([options.address.key, *core.secrets(supervisor.config)])
    agent = _agent(options.address, state, supervisor, core)
    supervisor.on_interval = agent.pace
    agent.before_last_reading = supervisor.rest
    supervisor.start()
    try:
        agent.run()
    finally:
        supervisor.stop()
    return 0


def _core(options: GatewayOptions, folder: Path) -> Core:
    """Raises `ConfigError`."""
    kind = Xray if options.xray else SingBox
    return kind(program(options.sing_box, options.xray), folder)


def _agent(address: Address, state: State, supervisor: Supervisor, core: Core) -> Agent:
    document = supervisor.document
    database = Database(state.journal, time.time())
    database.keep_facts({"meter": document["gateway"]})
    given = {
        **core.source_options(supervisor.config),
        "servers": str(supervisor.servers_file),
    }
    source = SourceSettings(
        SOURCE, core.source, complete_options(core.source, given), longest=core.longest
    )
    settings = Settings(address, state.folder, (source,), float(document["interval"]))
    supervisor.carried = partial(Overview(database).carried, SOURCE)
    log.info("Gateway %s sends to %s.", document["gateway"], address.host)
    return Agent(settings, database)

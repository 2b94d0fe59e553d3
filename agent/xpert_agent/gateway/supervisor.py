"""Keeps one core running as the panel says, also while the panel is down."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from xpert_agent.gateway.core import Core
from xpert_agent.gateway.counts import Counts
from xpert_agent.gateway.documents import Json
from xpert_agent.gateway.halving import faulty
from xpert_agent.gateway.state_report import StateReport
from xpert_agent.journal.overview import Carried
from xpert_agent.panel import GatewayConfig, Panel, PanelError, UnreachableError
from xpert_agent.secret_files import write_secret

ASK = 15.0
"""Seconds between two questions to the panel."""
GATHER = 30.0
"""Seconds during which changes gather, because a reload ends every connection. With `ASK`, under 60."""
RETRY = 300.0
"""Seconds until a configuration that was refused is tried again."""
LONGEST_WAIT = 60.0
"""Seconds until a core that keeps dying is started again."""
REPORT = 60.0
"""Seconds between two reports of the gateway's state; with news after `ASK`."""
TICK = 1.0

log = logging.getLogger(__name__)


class Supervisor:
    """All but `start`, `stop` and what is read runs in one thread."""

    def __init__(self, panel: Panel, name: str, core: Core, folder: Path) -> None:
        self._panel = panel
        self._name = name
        self._core = core
        self._state = folder / "gateway.json"
        self.servers_file = folder / "servers.json"
        self._known = self._loaded()
        self._due: float | None = None
        """When the panel's configuration is applied; None: it is."""
        self._asked_at = -ASK
        self._failures = 0
        self._start_at = 0.0
        self._told = ""
        self.complaint = ""
        """Why the panel's configuration is not applied; "" if it is."""
        self.left_out: dict[str, str] = {}
        self.counts = Counts(folder)
        self.carried: Callable[[], Carried | None] = lambda: None
        """What the journal knows of the core."""
        self._report = StateReport(self, core)
        self._reported_at = -REPORT
        self.on_interval: Callable[[float], None] = lambda interval: None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    @property
    def document(self) -> Json:
        known = self._known.document
        section = self._core.section
        return {**known, section: self._core.at_own_port(known[section])} if known else known

    @property
    def config(self) -> Json:
        """As the panel wants the core's to be."""
        found: Json = self.document[self._core.section]
        return found

    def fetch_first(self) -> None:
        """Until something is known; raises `PanelError` when the panel refuses."""
        while not self._known.document and not self._ask_patiently():
            self._stopping.wait(ASK)

    def _ask_patiently(self) -> bool:
        """Whether the panel has answered."""
        try:
            return self._ask()
        except UnreachableError as error:
            self._tell(f"{error} Trying again.")
            return False

    def start(self) -> None:
        if not self._core.is_running() or not self._core.is_configured:
            self._note_death()
            self._apply(time.monotonic())
        else:
            log.info("Taking over the %s that runs.", self._core.name)
            self._core.follow(self.config)
            self._due = time.monotonic()
        self._thread.start()

    def rest(self) -> None:
        """Follows the panel no more, and ends all connections, so that the last reading has them whole."""
        self._stopping.set()
        self._thread.join()
        self._core.end_connections()

    def stop(self) -> None:
        """Stops the core too; after `rest`."""
        self._core.stop()

    def _run(self) -> None:
        while not self._stopping.wait(TICK):
            self._step_safely()

    def _step_safely(self) -> None:
        try:
            self.step(time.monotonic())
        except Exception:
            log.exception("A fault of the agent itself in the gateway.")

    def step(self, now: float) -> None:
        """Whatever is due at this moment (monotonic seconds)."""
        if now - self._asked_at >= ASK:
            self._asked_at = now
            self._ask_safely(now)
        if self._due is not None and now >= self._due:
            self._apply(now)
        self._keep_out(now)
        self._revive(now)
        self._report_safely(now)

    # The panel

    def _report_safely(self, now: float) -> None:
        """When something has changed, and once a minute."""
        if now - self._reported_at < (ASK if self._report.is_news() else REPORT):
            return
        self._reported_at = now
        try:
            self._panel.tell_gateway_state(self._name, self._report.state())
        except (PanelError, sqlite3.Error) as error:
            self._tell(str(error))

    def _ask_safely(self, now: float) -> None:
        try:
            changed = self._ask()
        except PanelError as error:
            self._tell(f"{error} The gateway goes on with what it has.")
            return
        self._told = ""
        if changed:
            self._gather(now)
            self._core.follow(self.config)
            self.on_interval(float(self.document["interval"]))

    def _ask(self) -> bool:
        """Whether there is something new, which is on disk then. Raises `PanelError`."""
        found = self._panel.gateway_config(self._name, self._known.etag)
        if found is None:
            return False
        if self._core.section not in found.document:
            raise PanelError(
                f"The panel has not made this gateway for {self._core.name}: its page in the admin has the command."
            )
        self._known = found
        try:
            self._remember_servers(found.document["servers"])
            write_secret(self._state, json.dumps([found.etag, found.document]))
        except OSError as error:
            self._tell(f"The panel's configuration cannot be kept over a restart: {error}.")
        return True

    def _loaded(self) -> GatewayConfig:
        try:
            etag, document = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return GatewayConfig("", {})
        is_ours = self._core.section in document
        return GatewayConfig(etag, document) if is_ours else GatewayConfig("", {})

    def _remember_servers(self, servers: Mapping[str, Any]) -> None:
        """Also those that are gone: their last bytes may come yet."""
        try:
            known = json.loads(self.servers_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        write_secret(self.servers_file, json.dumps({**known, **servers}))

    # The core

    def _gather(self, now: float) -> None:
        """A reload is due, together with what else changes until then."""
        self._due = now + GATHER if self._due is None else min(self._due, now + GATHER)

    def _keep_out(self, now: float) -> None:
        if self._core.keep_out(now):
            self._gather(now)

    def _apply(self, now: float) -> None:
        """What the panel says, without the servers and the ways in that the core refuses."""
        self._due = now + RETRY
        try:
            document = self._core.with_own_keys(self.document)
            config = self._accepted(document)
            self.complaint = self._core.complaint(config)
            if not self.complaint:
                self._put_in_place(config)
                self._due = None
        except OSError as error:
            self.complaint = f"It cannot be put in place: {error}."
        if self.complaint:
            log.error("The panel's configuration is not applied: %s", self.complaint)
        self._core.follow(self.config)

    def _put_in_place(self, config: Json) -> None:
        """Raises OSError."""
        if not self._core.is_running() or not self._core.does(config):
            self._core.write(config)
            self._bring_up()

    def _accepted(self, document: Json) -> Json:
        """The configuration without what the core refuses, which is named."""
        parts, check = self._core.documents, self._core.complaint
        config = document[self._core.section]
        ways, servers = parts.ways_in(config), sorted(document["servers"])
        self.left_out = {}
        if check(parts.limited_to(config, servers, ways)):
            bad_ways = faulty(ways, lambda some: check(parts.only_ways_in(config, some)))
            if not self._can_do_without(bad_ways, ways):
                return parts.limited_to(config, servers, ways)
            ways = [tag for tag in ways if tag not in bad_ways]
            bad = faulty(servers, lambda some: check(parts.limited_to(config, some, ways)))
            servers = [tag for tag in servers if tag not in bad]
            self.left_out = bad_ways | {_place(document, tag): said for tag, said in bad.items()}
        for name, said in self.left_out.items():
            log.warning("%s is left out: %s", name, said)
        return parts.limited_to(config, servers, ways)

    def _can_do_without(self, bad: Collection[str], ways: Collection[str]) -> bool:
        """An inbound that people use now is not taken from them: the whole of the change is refused."""
        in_use = set(self._core.documents.ways_in(self._core.configured()))
        return not in_use & set(bad) and len(bad) < len(ways)

    def _bring_up(self) -> None:
        """A reload, or a start; back to what ran before when that does not come up."""
        if self._load():
            return
        self.complaint = self._core.last_words() or f"{self._core.name} does not come up."
        log.error("%s does not come up: %s", self._core.name, self.complaint)
        self._core.stop()
        if self._core.roll_back():
            log.warning("Back to the configuration before.")
            self._load()

    def _load(self) -> bool:
        if not self._core.is_running():
            self._core.start()
            return self._core.comes_up()
        self.counts.count_reload()
        log.info("Reload %d: all connections begin again.", self.counts.reloads)
        return self._core.reload()

    def _revive(self, now: float) -> None:
        """Starts a core that died, later each time."""
        if self._core.is_running():
            if now - self._start_at > LONGEST_WAIT:
                self._failures = 0
            return
        if now < self._start_at or not self._core.is_configured:
            return
        self._note_death()
        self._start_at = now + min(2.0**self._failures, LONGEST_WAIT)
        self._failures += 1
        self._core.start()

    def _note_death(self) -> None:
        """Counts a core that has ended and that nobody has stopped: its last bytes are unknown."""
        if self._core.has_died():
            self.counts.count_death()
            said = self._core.last_words() or "it says nothing"
            log.warning("%s has ended: %s", self._core.name, said)

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            log.warning("%s", sentence)
        self._told = sentence


def _place(document: Json, tag: str) -> str:
    one = document["servers"][tag]
    return f"{one['server']}:{one['port']}/{one['protocol']}"

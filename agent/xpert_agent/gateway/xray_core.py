"""Xray as the core of a gateway, and v2ray 4 as far as it has the same interface.

People come and go by its interface, without a reload. It ends no connection of people who are out,
so the core is started again when one of them goes on using what was open.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from xpert_agent.gateway import openssl_keys, xray_documents
from xpert_agent.gateway.core import Core, is_open
from xpert_agent.gateway.documents import Documents, Json
from xpert_agent.gateway.keys import Keys
from xpert_agent.gateway.xray_users import V2RAY, XRAY, Change, Users, changes
from xpert_agent.gateway.xray_watch import Watch
from xpert_agent.secret_files import write_secret
from xpert_agent.sources import xray_runs, xray_stats
from xpert_agent.sources.base import SourceError

MOST_CHANGES = 5000
"""The most users that are let in or out through the interface; if there are more, a reload does it."""

log = logging.getLogger(__name__)


class Xray(Core):
    name: ClassVar[str] = "xray"
    section: ClassVar[str] = "xray"
    documents: ClassVar[Documents] = xray_documents
    source: ClassVar[str] = "xray-gateway"
    longest: ClassVar[float] = 10.0
    """What it has counted since the last reading is lost when it is killed."""
    check_arguments: ClassVar[Sequence[str]] = ("-test", "-config")
    run_arguments: ClassVar[Sequence[str]] = ("-config",)
    version_arguments: ClassVar[Sequence[str]] = ("-version",)
    version_pattern: ClassVar[str] = r"^(?:Xray|V2Ray) (\S+)"
    stop_signal: ClassVar[int] = signal.SIGKILL
    """Its counters have just been read: what it carries after that is counted by nobody."""

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        self.keys = Keys(folder, openssl_keys.reality_pair, openssl_keys.certificate)
        self._notes = folder / "xray-people.json"
        changing, out = self._noted()
        self._changing = frozenset(changing)
        """Users whose change an agent before this one may not have finished."""
        self._watch = Watch(out)
        self._totals: Mapping[str, int] | None = None

    def secrets(self, config: Json) -> Sequence[str]:
        return []

    def source_options(self, config: Json) -> Mapping[str, str]:
        return {"port": str(xray_documents.api_port(config)), "folder": str(self.folder)}

    # People

    def follow(self, config: Json) -> None:
        configured = self.configured()
        if not self.is_running() or not configured:
            return
        changed = xray_documents.with_people_of(configured, config)
        found = {
            (change.inbound, change.user): change
            for change in [*changes(configured, changed), *self._unfinished(changed)]
        }
        if not found or len(found) > MOST_CHANGES:
            return
        people = xray_documents.users(changed)
        self._watch.are_out(xray_documents.users(configured) - people)
        self._watch.are_in(people)
        try:
            self._note({user for _, user in found})
            self._change(found.values())
            write_secret(self._config, json.dumps(changed))
            self._note(())
        except (SourceError, OSError) as error:
            log.warning("People could not be let in or out without a reload: %s", error)
            return
        log.info("%d changes of people without a reload.", len(found))

    def _change(self, found: Iterable[Change]) -> None:
        """Raises OSError and `SourceError`."""
        names = XRAY if self.ask(*self.version_arguments).stdout.startswith("Xray") else V2RAY
        users = Users(self._own_port(), names)
        for change in found:
            users.change(change)

    def _unfinished(self, config: Json) -> list[Change]:
        """Made again, because nobody knows how many of them were made."""
        found = []
        for _, inbound in xray_documents.ways(config):
            clients = xray_documents.clients(inbound)
            found += [
                Change(inbound["tag"], inbound["protocol"], user, clients.get(user), True)
                for user in sorted(self._changing)
                if user.endswith(inbound["tag"].partition("-")[2])
            ]
        return found

    def _note(self, changing: Collection[str]) -> None:
        """Before and after a change: a core may outlive its agent."""
        write_secret(self._notes, json.dumps([sorted(changing), self._watch.users]))
        self._changing = frozenset(changing)

    def _noted(self) -> tuple[list[str], list[str]]:
        try:
            changing, out = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return [], []
        return changing, out

    def does(self, config: Json) -> bool:
        is_finished = not self._changing and not self._watch.sees_traffic
        return is_finished and config == self.configured()

    def keep_out(self, now: float) -> bool:
        if self._watch.is_due(now) and self.is_running():
            self._watch.look(self._own_port(), now)
        return self._watch.sees_traffic

    # The process

    def start(self) -> None:
        xray_runs.begin(self.folder, time.time())
        self._watch = Watch(())
        self._note(())
        super().start()

    def stop(self) -> None:
        """Reads its counters one last time right before."""
        final = self._final() if self.is_running() else None
        super().stop()
        try:
            if final is not None:
                xray_runs.keep(self.folder, final)
        except OSError as error:
            log.warning("The last counters of %s could not be kept: %s", self.name, error)

    def _final(self) -> xray_runs.Final | None:
        try:
            run = xray_runs.current(self.folder)
            counters = xray_stats.users(self._own_port())
        except (OSError, ValueError, SourceError) as error:
            log.warning("The last counters of %s could not be read: %s", self.name, error)
            return None
        return xray_runs.Final(run, time.time(), counters)

    def end_connections(self) -> None:
        """They end with the core."""
        self.stop()

    def reload(self) -> bool:
        self.stop()
        self.start()
        return self.comes_up()

    def answers(self) -> bool:
        inbounds = (inbound for _, inbound in xray_documents.ways(self.configured()))
        return xray_stats.answers(self._own_port()) and all(
            is_open(one["listen"], one["port"]) for one in inbounds
        )

    def people_online(self) -> int | None:
        """Those whose counters have moved since this was asked last."""
        try:
            counters = xray_stats.users(self._own_port())
        except (SourceError, LookupError):
            return None
        before, self._totals = self._totals, {user: sum(one) for user, one in counters.items()}
        if before is None:
            return None
        moved = {user for user, total in self._totals.items() if total != before.get(user, 0)}
        return len({user.partition("-")[0] for user in moved})

    def _own_port(self) -> int:
        return xray_documents.api_port(self.configured())

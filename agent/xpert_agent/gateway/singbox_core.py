"""sing-box as the core of a gateway."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from xpert_agent.gateway import singbox_documents
from xpert_agent.gateway.connections import close_all, close_connections, people_online
from xpert_agent.gateway.core import COMES_UP, Core, is_open
from xpert_agent.gateway.documents import Documents, Json
from xpert_agent.gateway.keys import Keys
from xpert_agent.sources.base import SourceError
from xpert_agent.sources.grpc_web import Target
from xpert_agent.sources.singbox import started_at

OVER_UDP = ("hysteria2", "tuic")
MEMORY_SHARE = 0.4
"""Part of the machine's memory that sing-box may fill before it collects garbage. Whenever it
collects, it forgets closed connections, and the agent has not seen the last bytes of some."""
SETTLES = 0.75
"""Seconds after which the source has booked what closed connections have carried."""
_PAIR = re.compile(r"PrivateKey: *(\S+)\s+PublicKey: *(\S+)")

log = logging.getLogger(__name__)


class SingBox(Core):
    name: ClassVar[str] = "sing-box"
    section: ClassVar[str] = "sing_box"
    documents: ClassVar[Documents] = singbox_documents
    source: ClassVar[str] = "gateway"
    check_arguments: ClassVar[Sequence[str]] = ("check", "--disable-color", "-D", "{folder}", "-c")
    run_arguments: ClassVar[Sequence[str]] = ("run", "--disable-color", "-D", "{folder}", "-c")
    version_arguments: ClassVar[Sequence[str]] = ("version",)
    version_pattern: ClassVar[str] = r"sing-box version (\S+)"

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        self.keys = Keys(folder, self._reality_pair, self._certificate)
        self._gone: frozenset[str] = frozenset()
        """Users whom it still lets in, although the panel no longer does."""
        self._started_before = 0
        """The moment of its start that it gave before a reload: right after the reload it may still give that one."""

    def secrets(self, config: Json) -> Sequence[str]:
        return [service["secret"] for service in config["services"]]

    def source_options(self, config: Json) -> Mapping[str, str]:
        target = _target(config)
        return {"url": target.url, "secret": target.secret}

    def follow(self, config: Json) -> None:
        """Only the next reload lets people in, and keeps people out who connect again."""
        self._gone = self.documents.users(self.configured()) - self.documents.users(config)

    def keep_out(self, now: float) -> bool:
        if self._gone:
            self._close_connections(self._gone)
        return False

    def _close_connections(self, users: Collection[str]) -> None:
        try:
            ended = close_connections(_target(self.configured()), users)
        except (SourceError, ValueError) as error:
            log.warning("Connections of people who are out could not be closed: %s", error)
        else:
            if ended:
                log.info("%d connections of those who are out were closed.", ended)

    def does(self, config: Json) -> bool:
        return config == self.configured()

    def end_connections(self) -> None:
        """A reload would cut them off before they have told how much they carried."""
        try:
            close_all(_target(self.configured()))
        except SourceError:
            return
        time.sleep(SETTLES)

    def reload(self) -> bool:
        self._started_before = self._started_at()
        self.end_connections()
        self.signal(signal.SIGHUP)
        return self.comes_up()

    def start(self) -> None:
        self._started_before = 0
        super().start()

    def environment(self) -> Mapping[str, str]:
        return {"GOGC": "off", "GOMEMLIMIT": str(_memory_limit())}

    def answers(self) -> bool:
        """Its interface may answer before it listens for people, and that may fail."""
        return self._started_at() not in (0, self._started_before) and self._listens()

    def people_online(self) -> int | None:
        try:
            return people_online(_target(self.configured()))
        except (SourceError, ValueError, LookupError):
            return None

    def _reality_pair(self) -> tuple[str, str]:
        found = _PAIR.search(self._generate(["reality-keypair"]))
        if found is None:
            raise OSError("sing-box makes no REALITY keys")
        return found[1], found[2]

    def _certificate(self, host: str, days: int) -> str:
        return self._generate(["tls-keypair", host, "--months", str(days // 30)])

    def _generate(self, arguments: Sequence[str]) -> str:
        """What `sing-box generate …` prints; raises OSError."""
        try:
            done = self.ask("generate", *arguments)
        except subprocess.TimeoutExpired as error:
            raise OSError("sing-box does not answer") from error
        if done.returncode:
            raise OSError(f"sing-box cannot generate {arguments[0]}")
        return done.stdout

    def _started_at(self) -> int:
        """Unix milliseconds; 0 while it does not answer."""
        try:
            return started_at(_target(self.configured()), COMES_UP)
        except SourceError:
            return 0

    def _listens(self) -> bool:
        """Whether people can reach it, as far as that shows: UDP does not answer."""
        inbounds = (one for one in self.configured()["inbounds"] if one["type"] not in OVER_UDP)
        return all(is_open(one["listen"], one["listen_port"]) for one in inbounds)


def _target(config: Json) -> Target:
    """The core's own interface."""
    service = config["services"][0]
    return Target(f"http://{service['listen']}:{service['listen_port']}", service["secret"])


def _memory_limit() -> int:
    """Bytes."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)

"""Whatever a person does with v2rayN, every byte counts once."""

from __future__ import annotations

import json
import random

import pytest

from xpert_agent.sources.base import Counter, Endpoint
from xpert_agent.sources.v2rayn_files import Row
from xpert_agent.sources.v2rayn_ledger import Ledger
from xpert_agent.sources.xray_stats import Name, Snapshot

NAMES = ("srv-a", "srv-b", "srv-c")


class Program:
    """v2rayN: totals in memory, on disk, and in the core."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._made = 0
        self._disk: dict[str, int] = {}
        self._memory: dict[str, int] = {}
        self._told: int | None = None
        self._process = 10**6
        self.flowed = 0
        self.names: dict[str, str] = {}
        for name in NAMES:
            self._make(name)
        self.active = next(iter(self.names))

    def _make(self, name: str) -> str:
        self._made += 1
        self.names[str(self._made)] = name
        return str(self._made)

    def start(self) -> None:
        if self._told is None:
            self._memory = dict(self._disk)
            self._start_core()

    def _start_core(self) -> None:
        self._told = 0
        self._process -= 1000

    def exit(self) -> None:
        if self._told is not None:
            self._disk = {id_: total for id_, total in self._memory.items() if id_ in self.names}
            self._told = None

    def flow(self) -> None:
        if self._told is not None:
            amount = self._chance.randrange(1000)
            self.flowed += amount
            self._told += amount
            self._process += 1
            self._memory[self.active] = self._memory.get(self.active, 0) + amount

    def switch(self) -> None:
        self.active = self._chance.choice(list(self.names))
        if self._told is not None:
            self._start_core()

    def update(self) -> None:
        """All servers are created again; their totals are transferred; the core starts again."""
        if self._told is None:
            return
        for old, name in list(self.names.items()):
            del self.names[old]
            new = self._make(name)
            if old == self.active:
                self.active = new
            if old in self._memory:
                self._memory[new] = self._disk[new] = self._memory[old]
        self._start_core()

    def rows(self) -> list[Row]:
        return [
            Row(id_, name, Endpoint(name, 443, "vless"), Counter(0, self._disk.get(id_, 0)))
            for id_, name in self.names.items()
        ]

    def core(self) -> Snapshot | None:
        if self._told is None:
            return None
        counters = {Name("outbound", "proxy"): Counter(0, self._told)}
        return Snapshot(counters, frozenset(), {"Mallocs": self._process})


@pytest.mark.parametrize("seed", range(40))
def test_every_byte_counts_once_whatever_is_done_in_which_order(seed: int) -> None:
    chance = random.Random(seed)
    program, ledger = Program(chance), Ledger()
    program.start()
    program.flow()
    program.exit()
    history, told = program.flowed, 0

    def look() -> None:
        nonlocal ledger, told
        ledger = Ledger.restored(json.loads(json.dumps(ledger.state()))) if told else ledger
        ledger.look(program.rows(), program.core(), program.active)
        told = sum(one.down for one in ledger.counters().values())
        assert told <= program.flowed - history

    look()
    actions = [program.start, program.exit, program.switch, program.update]
    for _ in range(200):
        chance.choice([*actions, look, look, program.flow, program.flow, program.flow])()
    program.exit()
    look()
    assert told == program.flowed - history

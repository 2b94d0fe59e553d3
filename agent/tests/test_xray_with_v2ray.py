"""The xray source against a real v2ray: a gateway whose users are named person@server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from real_cores import Origin, needs_v2ray, read_until, transfer
from stand_ins import MemoryStore
from v2ray_core import PAIRS, Gateway

from xpert_agent.growth import Known, growth
from xpert_agent.sources import complete_options
from xpert_agent.sources.base import Counter, Key, Reading, SourceError
from xpert_agent.sources.xray import Xray

pytestmark = needs_v2ray


def _source(gateway: Gateway, store: MemoryStore) -> Xray:
    return Xray(complete_options("xray", {"url": f"grpc://127.0.0.1:{gateway.api}"}), store)


def _grown(reading: Reading, before: Reading | None, since: float = 0.0) -> Mapping[Key, Counter]:
    known = Known(before.run, before.read_at, before.counters) if before else None
    return growth(reading, known, since).amounts


def test_it_counts_each_person_and_server_to_the_byte(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with gateway.server(), gateway.client():
        source = _source(gateway, MemoryStore())
        told: dict[Key, Counter] = {}
        for number, pair in enumerate(PAIRS, 1):
            origin = Origin()
            for _ in range(number):
                transfer(gateway.socks[pair], origin, 100_003 * number, 700_001 * number)
            told[pair] = Counter(origin.received, origin.sent)
            origin.close()
        reading = read_until(source, lambda reading: reading.counters == told)
    assert dict(reading.counters) == told
    assert reading.problems == ()


def test_a_killed_core_starts_a_new_run_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    gateway, store, origin = Gateway(tmp_path), MemoryStore(), Origin()
    pair = PAIRS[0]
    counted = [0, 0]

    def count(amounts: Mapping[Key, Counter]) -> None:
        counted[0] += amounts.get(pair, Counter(0, 0)).up
        counted[1] += amounts.get(pair, Counter(0, 0)).down

    before: Reading | None = None
    runs = set()
    for number in range(4):
        with gateway.server(), gateway.client():
            # A restarted agent, too: it knows what is in its store and journal.
            source = _source(gateway, store)
            transfer(gateway.socks[pair], origin, 1000 * (4 - number), 50_000 * (number + 1))
            reading = source.read()
            count(_grown(reading, before))
            transfer(gateway.socks[pair], origin, 77, 99)
            before = source.read()
            count(_grown(before, reading))
            runs.add(before.run)
        with pytest.raises(SourceError, match="does not answer"):
            source.read()
    origin.close()
    assert counted == [origin.received, origin.sent]
    assert len(runs) == 4


def test_uptime_tells_when_the_core_began(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with gateway.server():
        reading = _source(gateway, MemoryStore()).read()
    assert reading.began is not None
    assert 0 <= reading.read_at - reading.began < 20


def test_a_core_that_counts_nothing_says_what_its_configuration_lacks(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with gateway.server():
        reading = _source(gateway, MemoryStore()).read()
    assert reading.counters == {}
    assert "statsUserUplink" in reading.problems[0]

"""The v2rayn source on a folder as v2rayN 7 writes it, and on a core that the test plays."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stand_ins import HttpCore, MemoryStore

from xpert_agent.growth import Known, growth
from xpert_agent.sources.base import Counter, Endpoint, Key, Reading, SourceError
from xpert_agent.sources.v2rayn import V2rayN

KIB = 1024
VLESS, SHADOWSOCKS, CUSTOM, GROUP = 5, 3, 2, 101


class Folder:
    """v2rayN's folder. What the program does to it are this class's verbs."""

    def __init__(self, path: Path, port: int, core: HttpCore) -> None:
        self.path = path
        self._core = core
        for name in ("guiConfigs", "binConfigs"):
            (path / name).mkdir(parents=True)
        self._execute(
            "CREATE TABLE ProfileItem (IndexId varchar PRIMARY KEY, ConfigType integer,"
            " Address varchar, Port integer, Remarks varchar)"
        )
        self._execute(
            "CREATE TABLE ServerStatItem (IndexId varchar PRIMARY KEY, TotalUp bigint,"
            " TotalDown bigint, TodayUp bigint, TodayDown bigint, DateNow bigint)"
        )
        self._write("binConfigs/config.json", {"metrics": {"listen": f"127.0.0.1:{port}"}})
        self.choose("1")

    def add(self, id_: str, name: str = "srv-a", kind: int = VLESS, port: int = 443) -> None:
        self._execute(
            "INSERT INTO ProfileItem VALUES (?, ?, 'vpn.example', ?, ?)", id_, kind, port, name
        )

    def remove(self, id_: str) -> None:
        self._execute("DELETE FROM ProfileItem WHERE IndexId = ?", id_)

    def exits(self, **totals: tuple[int, int]) -> None:
        """Writes totals in KiB, as v2rayN does when it is closed; the core ends with it."""
        self.stores(**totals)
        self.core_stops()

    def stores(self, **totals: tuple[int, int]) -> None:
        for id_, (up, down) in totals.items():
            self._execute(
                "INSERT OR REPLACE INTO ServerStatItem VALUES (?, ?, ?, 0, 0, 0)",
                id_.lstrip("_"),
                up,
                down,
            )

    def choose(self, id_: str, counts: bool = True) -> None:
        gui = {"EnableStatistics": counts, "DisplayRealTimeSpeed": False}
        self._write("guiConfigs/guiNConfig.json", {"IndexId": id_, "GuiItem": gui})

    def core_tells(self, process: int, up: int, down: int) -> None:
        """Process numbers go down when a core is started again: each allocates less at first."""
        memory = dict.fromkeys(("TotalAlloc", "Mallocs", "NumGC"), process)
        other = {"uplink": 7, "downlink": 7}
        outbounds = {"proxy": {"uplink": up, "downlink": down}, "direct": other}
        self._core.answer = {"memstats": memory, "stats": {"outbound": outbounds}}

    def core_stops(self) -> None:
        self._core.answer = {}

    def _write(self, name: str, document: Any) -> None:
        (self.path / name).write_text(json.dumps(document), encoding="utf-8-sig")

    def _execute(self, statement: str, *values: object) -> None:
        path = self.path / "guiConfigs/guiNDB.db"
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement, values)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    core = HttpCore({})
    with core.on_port() as port:
        folder = Folder(tmp_path / "v2rayN", port, core)
        folder.add("1")
        folder.add("2", name="srv-b", kind=SHADOWSOCKS, port=8388)
        yield folder


class Watcher:
    """Reads as the agent does, restarted before each reading, and adds the growth up."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._store = MemoryStore()
        self._known: Known | None = None
        self.counted: dict[str, Counter] = {}

    def read(self) -> Reading:
        source = V2rayN({"folder": str(self._folder.path)}, self._store)
        reading = source.read()
        self._add(growth(reading, self._known, 0.0).amounts)
        self._known = Known(reading.run, reading.read_at, reading.counters)
        return reading

    def _add(self, amounts: Mapping[Key, Counter]) -> None:
        for key, amount in amounts.items():
            before = self.counted.get(key.server, Counter(0, 0))
            self.counted[key.server] = Counter(before.up + amount.up, before.down + amount.down)


@pytest.fixture
def watcher(folder: Folder) -> Watcher:
    return Watcher(folder)


# The database


def test_totals_are_in_kib_and_of_the_own_person(folder: Folder, watcher: Watcher) -> None:
    watcher.read()
    folder.exits(_1=(3, 5), _2=(0, 7))
    reading = watcher.read()
    assert reading.counters == {
        Key("", "1"): Counter(3 * KIB, 5 * KIB),
        Key("", "2"): Counter(0, 7 * KIB),
    }
    assert reading.problems == ()


def test_hosts_and_ports_stand_beside_the_totals(folder: Folder, watcher: Watcher) -> None:
    folder.exits(_1=(1, 1), _2=(1, 1))
    assert watcher.read().endpoints == {
        "1": Endpoint("vpn.example", 443, "vless"),
        "2": Endpoint("vpn.example", 8388, "shadowsocks"),
    }


def test_a_group_or_a_whole_configuration_has_no_endpoint(folder: Folder, watcher: Watcher) -> None:
    folder.add("3", "group", GROUP)
    folder.add("4", "custom", CUSTOM)
    folder.exits(_3=(1, 1), _4=(1, 1))
    assert watcher.read().endpoints == {}


def test_what_was_there_at_the_first_look_is_history(folder: Folder, watcher: Watcher) -> None:
    folder.exits(_1=(1000, 2000))
    watcher.read()
    folder.exits(_1=(1001, 2000))
    watcher.read()
    assert watcher.counted == {"1": Counter(KIB, 0)}


def test_cleared_statistics_begin_at_0(folder: Folder, watcher: Watcher) -> None:
    watcher.read()
    folder.exits(_1=(100, 200))
    watcher.read()
    folder.exits(_1=(4, 5))
    watcher.read()
    assert watcher.counted == {"1": Counter(104 * KIB, 205 * KIB)}


def test_a_server_that_is_removed_keeps_what_it_has_counted(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.exits(_1=(1, 2))
    watcher.read()
    folder.remove("1")
    assert watcher.read().counters == {Key("", "1"): Counter(KIB, 2 * KIB)}


def test_an_update_of_the_subscription_that_hands_totals_on_counts_nothing_twice(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.exits(_1=(100, 200))
    watcher.read()
    folder.remove("1")
    folder.add("11")
    folder.stores(_11=(101, 200))
    watcher.read()
    assert watcher.counted == {"1": Counter(101 * KIB, 200 * KIB)}


def test_totals_handed_on_to_several_servers_count_once(folder: Folder, watcher: Watcher) -> None:
    watcher.read()
    folder.exits(_1=(100, 200))
    watcher.read()
    folder.remove("1")
    for id_ in ("11", "12", "13"):
        folder.add(id_)
        folder.stores(**{f"_{id_}": (100, 200)})
        watcher.read()
    folder.stores(_12=(100, 201))
    watcher.read()
    assert sum(one.down for one in watcher.counted.values()) == 201 * KIB


def test_a_renamed_server_is_known_by_its_address_and_a_moved_one_by_its_name(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.exits(_1=(100, 200), _2=(30, 40))
    watcher.read()
    for id_ in ("1", "2"):
        folder.remove(id_)
    folder.add("11", name="new name")
    folder.add("12", name="srv-b", kind=SHADOWSOCKS, port=9999)
    folder.stores(_11=(100, 200), _12=(31, 40))
    reading = watcher.read()
    assert watcher.counted == {
        "1": Counter(100 * KIB, 200 * KIB),
        "2": Counter(31 * KIB, 40 * KIB),
    }
    assert reading.endpoints["2"].port == 9999


def test_a_new_server_with_the_same_address_counts_from_0(folder: Folder, watcher: Watcher) -> None:
    watcher.read()
    folder.exits(_1=(100, 200))
    watcher.read()
    folder.add("3", name="a copy")
    folder.exits(_3=(1, 2))
    watcher.read()
    assert watcher.counted["3"] == Counter(KIB, 2 * KIB)


def test_a_missing_database_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is made when v2rayN starts first"):
        V2rayN({"folder": str(tmp_path)}, MemoryStore()).read()


def test_a_database_of_another_form_is_one_sentence(folder: Folder) -> None:
    (folder.path / "guiConfigs/guiNDB.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SourceError, match=r"guiNDB\.db of v2rayN cannot be read"):
        V2rayN({"folder": str(folder.path)}, MemoryStore()).read()


def test_the_database_is_never_written(folder: Folder) -> None:
    folder.exits(_1=(1, 2))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    V2rayN({"folder": str(folder.path)}, MemoryStore()).read()
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_a_database_that_v2rayn_has_open_is_read(folder: Folder, watcher: Watcher) -> None:
    watcher.read()
    with closing(sqlite3.connect(folder.path / "guiConfigs/guiNDB.db")) as of_v2rayn:
        of_v2rayn.execute("PRAGMA journal_mode = WAL")
        of_v2rayn.execute("INSERT INTO ServerStatItem VALUES ('1', 3, 5, 0, 0, 0)")
        of_v2rayn.commit()
        watcher.read()
    assert watcher.counted == {"1": Counter(3 * KIB, 5 * KIB)}


def test_statistics_that_are_switched_off_are_told(folder: Folder, watcher: Watcher) -> None:
    folder.choose("1", counts=False)
    assert "Enable traffic statistics" in watcher.read().problems[0]


# The core while v2rayN runs


def test_what_the_core_tells_counts_at_once_for_the_server_in_use(
    folder: Folder, watcher: Watcher
) -> None:
    folder.choose("2")
    watcher.read()
    folder.core_tells(10, 1000, 2000)
    watcher.read()
    folder.core_tells(11, 1500, 2500)
    watcher.read()
    assert watcher.counted == {"2": Counter(1500, 2500)}


def test_what_the_core_has_told_is_not_counted_again_when_v2rayn_is_closed(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.core_tells(10, 1000 * KIB, 2000 * KIB)
    watcher.read()
    folder.exits(_1=(1100, 2000))  # and 100 KiB after the last look
    watcher.read()
    assert watcher.counted == {"1": Counter(1100 * KIB, 2000 * KIB)}


def test_a_database_written_while_the_core_still_runs_counts_once(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.core_tells(10, 0, 1000 * KIB)
    watcher.read()
    folder.stores(_1=(0, 1500))
    folder.core_tells(11, 0, 1600 * KIB)
    watcher.read()
    folder.exits(_1=(0, 1700))
    watcher.read()
    assert watcher.counted == {"1": Counter(0, 1700 * KIB)}


def test_a_switch_of_servers_is_a_new_core_and_each_server_gets_its_own(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.core_tells(10, 0, 1000 * KIB)
    watcher.read()
    folder.choose("2")
    folder.core_tells(11, 0, 1100 * KIB)  # the old core, a moment before it ends
    watcher.read()
    folder.core_tells(3, 0, 50 * KIB)
    watcher.read()
    folder.exits(_1=(0, 1150), _2=(0, 60))
    watcher.read()
    assert watcher.counted == {"1": Counter(0, 1150 * KIB), "2": Counter(0, 60 * KIB)}


def test_v2rayn_closed_and_opened_between_two_looks_counts_both_sessions(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.core_tells(10, 0, 1000 * KIB)
    watcher.read()
    folder.exits(_1=(0, 1200))
    folder.core_tells(3, 0, 300 * KIB)
    watcher.read()
    folder.exits(_1=(0, 1500))
    watcher.read()
    assert watcher.counted == {"1": Counter(0, 1500 * KIB)}


def test_what_the_core_told_before_the_first_look_is_history_also_when_it_is_stored(
    folder: Folder, watcher: Watcher
) -> None:
    folder.core_tells(10, 0, 1000 * KIB)
    watcher.read()
    folder.core_tells(11, 0, 1001 * KIB)
    watcher.read()
    folder.exits(_1=(0, 1001))
    watcher.read()
    assert watcher.counted == {"1": Counter(0, KIB)}


def test_an_update_of_the_subscription_while_the_core_runs_counts_once(
    folder: Folder, watcher: Watcher
) -> None:
    watcher.read()
    folder.core_tells(10, 0, 1000 * KIB)
    watcher.read()
    folder.remove("1")
    folder.add("11")
    folder.choose("11")
    folder.stores(_11=(0, 1010))  # all that v2rayN has in memory, the core's 1000 KiB too
    watcher.read()
    folder.core_tells(11, 0, 1020 * KIB)
    watcher.read()
    folder.core_tells(3, 0, 5 * KIB)
    watcher.read()
    folder.exits(_11=(0, 1025))
    watcher.read()
    assert sum(one.down for one in watcher.counted.values()) == 1025 * KIB


def test_an_idle_v2rayn_costs_no_writing_to_the_disk(folder: Folder) -> None:
    store = MemoryStore()
    folder.exits(_1=(1, 2))
    source = V2rayN({"folder": str(folder.path)}, store)
    for _ in range(3):
        source.read()
    assert store.saved == 1

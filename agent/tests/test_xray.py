"""The xray source: what its numbers mean, and the traps in them, on recorded answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from stand_ins import HttpCore, MemoryStore

from xpert_agent.growth import Known, growth
from xpert_agent.protobuf import number_field
from xpert_agent.sources import complete_options
from xpert_agent.sources.base import Counter, Endpoint, Key, Reading, SourceError
from xpert_agent.sources.xray import Xray
from xpert_agent.sources.xray_stats import Name, Snapshot

ALICE = Key("alice", "srv-a")


def _page(users: Any = None, outbounds: Any = None, allocated: int = 1000) -> dict[str, Any]:
    """/debug/vars as Xray writes it."""
    memory = {"Alloc": 7, "TotalAlloc": allocated, "Mallocs": allocated // 10, "NumGC": 3}
    inbounds = {"in-srv-a": {"downlink": 1_000_332, "uplink": 400_444}, "api": {"uplink": 5}}
    stats = {"inbound": inbounds, "outbound": outbounds or {}, "user": users or {}}
    return {"cmdline": ["xray", "run"], "memstats": memory, "observatory": None, "stats": stats}


def _user(up: int, down: int) -> dict[str, int]:
    return {"uplink": up, "downlink": down}


class Metrics:
    """A core whose pages are the test's; each `read` is by a new source with the same store."""

    def __init__(self, core: HttpCore, port: int) -> None:
        self._core = core
        self.url = f"http://127.0.0.1:{port}/debug/vars"
        self.store = MemoryStore()

    def read(self, *pages: Any, **options: str) -> list[Reading]:
        source = Xray(complete_options("xray", {"url": self.url, **options}), self.store)
        readings = []
        for page in pages:
            self._core.answer = page
            readings.append(source.read())
        return readings


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    core = HttpCore()
    with core.on_port() as port:
        yield Metrics(core, port)


def _amounts(before: Reading, after: Reading) -> Mapping[Key, Counter]:
    return growth(after, Known(before.run, before.read_at, before.counters), 0.0).amounts


def test_users_are_counted_by_the_name_before_the_at_and_the_server_behind_it(
    metrics: Metrics,
) -> None:
    users = {"alice@srv-a": _user(100_198, 500_164), "a@b@srv-b": _user(1, 2), "carol": _user(3, 4)}
    (reading,) = metrics.read(_page(users))
    assert reading.counters == {
        ALICE: Counter(100_198, 500_164),
        Key("a@b", "srv-b"): Counter(1, 2),
        Key("carol", ""): Counter(3, 4),
    }
    assert reading.problems == ()


def test_names_that_are_whole_persons_are_not_cut(metrics: Metrics) -> None:
    (reading,) = metrics.read(_page({"alice@mail.example": _user(1, 2)}), names="person")
    assert reading.counters == {Key("alice@mail.example", ""): Counter(1, 2)}


def test_without_users_the_outbounds_are_counted_for_the_own_person(metrics: Metrics) -> None:
    (reading,) = metrics.read(_page(outbounds={"srv-a": _user(400_444, 1_000_332)}))
    assert reading.counters == {Key("", "srv-a"): Counter(400_444, 1_000_332)}


def test_once_a_user_was_seen_outbounds_are_never_added_to_users(metrics: Metrics) -> None:
    outbounds = {"srv-a": _user(10, 20)}
    with_users = _page({"alice@srv-a": _user(1, 2)}, outbounds)
    _, after = metrics.read(_page(outbounds=outbounds), with_users)
    assert set(after.counters) == {ALICE}
    (restarted,) = metrics.read(_page(outbounds=outbounds, allocated=1))
    assert restarted.counters == {}


def test_a_choice_of_outbounds_holds_although_there_are_users(metrics: Metrics) -> None:
    page = _page({"alice@srv-a": _user(1, 2)}, {"srv-a": _user(10, 20)})
    (reading,) = metrics.read(page, count="outbounds")
    assert set(reading.counters) == {Key("", "srv-a")}


def test_a_direction_that_has_not_begun_is_0(metrics: Metrics) -> None:
    (reading,) = metrics.read(_page({"alice@srv-a": {"uplink": 9}, "bob@srv-a": None}))
    assert reading.counters == {ALICE: Counter(9, 0)}


def test_twenty_gigabytes_at_once_are_counted_because_spliced_bytes_come_at_the_end(
    metrics: Metrics,
) -> None:
    before, after = metrics.read(
        _page({"alice@srv-a": _user(0, 0)}), _page({"alice@srv-a": _user(5, 20 * 2**30)})
    )
    assert _amounts(before, after) == {ALICE: Counter(5, 20 * 2**30)}
    assert after.problems == ()


def test_a_name_with_the_separator_is_refused_and_named(metrics: Metrics) -> None:
    # Xray cuts user>>>bad>>>name>>>traffic>>>uplink at the wrong places.
    page = _page({"bad": {"traffic": 77}, "alice@srv-a": _user(1, 2)})
    (reading,) = metrics.read(page)
    assert reading.counters == {ALICE: Counter(1, 2)}
    assert reading.problems == (
        "A name that begins with “bad” holds >>>, so its traffic cannot be read.",
    )


def test_a_second_reader_that_resets_is_told_and_only_its_counter_starts_over(
    metrics: Metrics,
) -> None:
    users = {"alice@srv-a": _user(1000, 2000), "bob@srv-a": _user(50, 60)}
    reset = {"alice@srv-a": _user(7, 9), "bob@srv-a": _user(51, 60)}
    before, after = metrics.read(_page(users), _page(reset, allocated=2000))
    assert after.run == before.run
    assert _amounts(before, after) == {ALICE: Counter(7, 9), Key("bob", "srv-a"): Counter(1, 0)}


def test_a_restarted_core_counts_from_0_even_where_it_has_passed_the_old_value(
    metrics: Metrics,
) -> None:
    before, after = metrics.read(
        _page({"alice@srv-a": _user(1000, 2000)}, allocated=9000),
        _page({"alice@srv-a": _user(1001, 5000)}, allocated=300),
    )
    assert after.run != before.run
    assert _amounts(before, after) == {ALICE: Counter(1001, 5000)}
    assert after.problems == ()


def test_a_restarted_agent_goes_on_in_the_same_run(metrics: Metrics) -> None:
    (before,) = metrics.read(_page({"alice@srv-a": _user(1000, 2000)}))
    (after,) = metrics.read(_page({"alice@srv-a": _user(1500, 2000)}, allocated=5000))
    assert _amounts(before, after) == {ALICE: Counter(500, 0)}


def test_a_core_that_restarted_while_the_agent_was_down_counts_from_0(metrics: Metrics) -> None:
    (before,) = metrics.read(_page({"alice@srv-a": _user(1000, 2000)}, allocated=9000))
    (after,) = metrics.read(_page({"alice@srv-a": _user(1500, 2000)}, allocated=300))
    assert _amounts(before, after) == {ALICE: Counter(1500, 2000)}


def test_the_first_look_at_a_core_of_unknown_age_counts_nothing(metrics: Metrics) -> None:
    (reading,) = metrics.read(_page({"alice@srv-a": _user(1000, 2000)}))
    assert reading.began is None
    assert growth(reading, None, 0.0).baseline


def test_an_idle_core_costs_no_writing_to_the_disk(metrics: Metrics) -> None:
    page = {"alice@srv-a": _user(1, 2)}
    metrics.read(_page(page), _page(page, allocated=2000), _page(page, allocated=3000))
    assert metrics.store.saved == 1


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"cmdline": [], "memstats": {}}, '"stats": {}'),
        ([], '"stats": {}'),
        ({"memstats": None, "stats": {}}, "form that Xray does not use"),
        ({"memstats": {"TotalAlloc": 1}, "stats": {"user": {}}}, "form that Xray does not use"),
        (_page({"alice": 5}), "form that Xray does not use"),
        (b"<html>", "not JSON"),
    ],
)
def test_a_page_that_is_no_metrics_is_one_sentence(metrics: Metrics, page: Any, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        metrics.read(page)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:10085",
        "grpc://127.0.0.1",
        "grpc://:10085",
        "grpc://h:port",
        "ftp://h:1",
        "http://",
    ],
)
def test_an_address_of_another_form_is_refused_at_once(url: str) -> None:
    with pytest.raises(SourceError, match="grpc://127"):
        Xray({"url": url, "count": "auto", "names": "person", "config": ""}, MemoryStore())


@pytest.mark.parametrize("option", ["count", "names"])
def test_an_unknown_choice_is_refused_at_once(option: str) -> None:
    given = {"url": "grpc://127.0.0.1:1", option: "everything"}
    with pytest.raises(SourceError, match=f"“{option}” of xray is one of"):
        Xray(complete_options("xray", given), MemoryStore())


def test_the_metrics_page_is_found_where_the_address_has_no_path() -> None:
    core = HttpCore(_page())
    with core.on_port() as port:
        Xray(complete_options("xray", {"url": f"http://127.0.0.1:{port}"}), MemoryStore()).read()
    assert core.paths == ["/debug/vars"]


# The service, whose uptime tells when the core began


class Service:
    """A source whose core's answers and whose clock are the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers: list[Snapshot | SourceError] = []
        self.now = 100_000.0
        monkeypatch.setattr("xpert_agent.sources.xray.time", lambda: self.now)
        options = complete_options("xray", {"url": "grpc://127.0.0.1:1"})
        self._source = Xray(options, MemoryStore())
        self._source._fetch = self._answer

    def _answer(self) -> Snapshot:
        answer = self._answers.pop()
        if isinstance(answer, SourceError):
            raise answer
        return answer

    def read(self, seconds_later: float, uptime: int, down: int, allocated: int = 1000) -> Reading:
        self.now += seconds_later
        growing = {"Uptime": uptime, "TotalAlloc": allocated}
        self._answers.append(
            Snapshot({Name("user", "alice@srv-a"): Counter(0, down)}, frozenset(), growing)
        )
        return self._source.read()

    def refuse(self) -> None:
        error = SourceError("It does not answer.")
        error.__cause__ = ConnectionRefusedError()
        self._answers.append(error)
        with pytest.raises(SourceError):
            self._source.read()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


def test_uptime_that_goes_back_is_a_new_run_which_began_that_long_ago(service: Service) -> None:
    before = service.read(0, uptime=500, down=1000)
    after = service.read(60, uptime=20, down=3000)
    assert after.began == service.now - 20
    assert _amounts(before, after) == {ALICE: Counter(0, 3000)}


def test_a_whole_second_of_difference_is_not_a_new_run(service: Service) -> None:
    first = service.read(0, uptime=500, down=1)
    assert service.read(10, uptime=509, down=2).run == first.run
    assert service.read(10, uptime=521, down=3).run == first.run


def test_a_laptop_that_slept_for_hours_does_not_count_everything_again(service: Service) -> None:
    before = service.read(0, uptime=500, down=1000)
    after = service.read(8 * 3600, uptime=530, down=1200)
    assert _amounts(before, after) == {ALICE: Counter(0, 200)}


def test_a_core_that_was_away_and_is_older_by_now_than_it_ever_was_is_a_new_run(
    service: Service,
) -> None:
    before = service.read(0, uptime=5, down=1000)
    service.refuse()
    after = service.read(60, uptime=30, down=1200, allocated=5000)
    assert _amounts(before, after) == {ALICE: Counter(0, 1200)}


def test_a_core_that_refused_but_never_stopped_goes_on_in_its_run(service: Service) -> None:
    before = service.read(0, uptime=500, down=1000)
    service.refuse()
    after = service.read(60, uptime=560, down=1200)
    assert _amounts(before, after) == {ALICE: Counter(0, 200)}


def test_what_is_no_message_of_a_core_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpert_agent.sources.unary_grpc.call", lambda *_: b"\x0a\xff")
    source = Xray(complete_options("xray", {"url": "grpc://127.0.0.1:1"}), MemoryStore())
    with pytest.raises(SourceError, match="something that is not a counter"):
        source.read()


def test_a_core_that_restarts_while_it_is_read_is_read_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uptimes = iter([500, 0])

    def call(_: str, __: int, path: str, ___: bytes) -> bytes:
        return number_field(10, next(uptimes)) if path.endswith("GetSysStats") else b""

    monkeypatch.setattr("xpert_agent.sources.unary_grpc.call", call)
    source = Xray(complete_options("xray", {"url": "grpc://127.0.0.1:1"}), MemoryStore())
    with pytest.raises(SourceError, match="restarted while it was read"):
        source.read()


# The configuration


def _config(folder: Path, *outbounds: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({"outbounds": list(outbounds)}))
    return str(path)


def test_the_configuration_tells_where_outbounds_lead(metrics: Metrics, tmp_path: Path) -> None:
    place = {"address": "vpn.example", "port": 443}
    config = _config(
        tmp_path,
        {"tag": "a", "protocol": "vless", "settings": {"vnext": [{**place, "users": []}]}},
        {"tag": "b", "protocol": "trojan", "settings": {"servers": [{**place, "port": "8443"}]}},
        {"tag": "c", "protocol": "vless", "settings": place},
        {"tag": "d", "protocol": "hysteria", "settings": {**place, "version": 2}},
        {"tag": "e", "protocol": "wireguard", "settings": {"peers": []}},
        {"protocol": "vless", "settings": place},
    )
    (reading,) = metrics.read(_page(), config=config)
    assert reading.endpoints == {
        "a": Endpoint("vpn.example", 443, "vless"),
        "b": Endpoint("vpn.example", 8443, "trojan"),
        "c": Endpoint("vpn.example", 443, "vless"),
        "d": Endpoint("vpn.example", 443, "hysteria2"),
    }


def test_outbounds_that_lead_to_no_server_are_dropped_by_their_protocol(
    metrics: Metrics, tmp_path: Path
) -> None:
    config = _config(
        tmp_path,
        {"tag": "home", "protocol": "freedom"},
        {"tag": "srv-a", "protocol": "vless", "settings": {}},
    )
    page = _page(outbounds={"home": _user(1, 2), "srv-a": _user(3, 4)})
    (reading,) = metrics.read(page, config=config)
    assert set(reading.counters) == {Key("", "srv-a")}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"outbounds": [5]}', '{"outbounds": 5}'])
def test_a_configuration_that_cannot_be_read_costs_the_endpoints_and_nothing_else(
    metrics: Metrics, tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    page = _page(outbounds={"srv-a": _user(3, 4)})
    (reading,) = metrics.read(page, config=str(tmp_path / "config.json"))
    assert reading.counters == {Key("", "srv-a"): Counter(3, 4)}
    assert "config.json is not readable JSON" in reading.problems[0]


def test_another_core_under_the_same_name_is_not_counted_from_0(metrics: Metrics) -> None:
    (before,) = metrics.read(_page({"alice@srv-a": _user(1000, 2000)}, allocated=9000))
    metrics.url = metrics.url.replace("127.0.0.1", "localhost")
    (after,) = metrics.read(_page({"alice@srv-a": _user(500, 600)}, allocated=300))
    assert _amounts(before, after) == {}

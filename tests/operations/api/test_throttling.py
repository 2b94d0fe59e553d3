from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from model_bakery import baker
from pytest_django import Settings

from operations import rate_limits
from operations.api import throttling
from operations.api.authentication import create_api_key
from operations.conf import Rate
from tests.traffic.examples import NOW, STATISTICS, WEBHOOK, wire
from traffic.models import Subscriber, Usage

START = NOW.replace(second=0)  # the beginning of a minute, so of a window
FIVE = Rate(5, 60)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as clock:
        yield clock


def allowed(
    times: int, who: str = "somebody", rate: Rate | None = FIVE, cost: int = 1
) -> list[bool]:
    return [rate_limits.spend("test", who, rate, cost) is None for _ in range(times)]


# --- the arithmetic ----------------------------------------------------------


def test_a_rate_lets_so_many_through_and_not_one_more() -> None:
    assert allowed(7) == [True] * 5 + [False] * 2


def test_without_a_rate_there_is_no_limit() -> None:
    assert all(allowed(1000, rate=None))
    rate_limits.penalise("test", "somebody", None)
    assert rate_limits.spend_all("test", {"a": 9, "b": 9}, None) is None


def test_each_scope_and_each_caller_has_its_own_share() -> None:
    assert all(allowed(5, "a"))
    assert all(allowed(5, "b"))
    assert rate_limits.spend("other", "a", FIVE) is None


def test_at_the_edge_of_a_window_there_is_no_burst_of_twice_the_limit(
    clock: time_machine.Traveller,
) -> None:
    clock.move_to(START + 59 * SECOND)
    assert all(allowed(5))
    clock.shift(SECOND)
    assert allowed(1) == [False]
    clock.shift(30 * SECOND)  # half of the last minute still covers the older window
    assert allowed(4) == [True, True, False, False]
    clock.shift(90 * SECOND)
    assert allowed(6) == [True] * 5 + [False]


def test_the_wait_is_no_longer_than_it_must_be(clock: time_machine.Traveller) -> None:
    clock.move_to(START + 59 * SECOND)
    assert all(allowed(5))
    clock.shift(SECOND)
    assert rate_limits.spend("test", "somebody", FIVE) == 12  # until four of the five count


def test_a_window_counts_until_the_end_of_the_next_one(clock: time_machine.Traveller) -> None:
    assert allowed(1) == [
        True
    ]  # a window is stored at its first request, so it must be stored for two periods
    clock.move_to(START + 59 * SECOND)
    assert all(allowed(4))
    clock.shift(2 * SECOND)
    assert allowed(1) == [False]


def test_a_refused_request_costs_nothing(clock: time_machine.Traveller) -> None:
    allowed(5)
    assert not any(allowed(100))
    clock.shift(60 * SECOND)
    clock.shift(12 * SECOND)
    assert allowed(1) == [True]


def test_a_cost_above_the_limit_takes_all_of_it() -> None:
    assert allowed(2, cost=100) == [True, False]
    assert allowed(3, "b", cost=2) == [True, True, False]


def test_a_penalty_counts_whether_there_is_room_or_not() -> None:
    rate_limits.penalise("test", "somebody", FIVE)
    assert allowed(5) == [True] * 4 + [False]
    rate_limits.penalise("test", "somebody", FIVE)
    assert allowed(1) == [False]


def test_several_shares_are_all_taken_or_none() -> None:
    assert all(allowed(5, "b"))
    assert rate_limits.spend_all("test", {"a": 2, "b": 1, "c": 2}, FIVE) is not None
    assert allowed(6, "a") == [True] * 5 + [False]
    assert allowed(6, "c") == [True] * 5 + [False]


def test_a_window_that_the_cache_has_dropped_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def dropped(*_: Any) -> int:
        raise ValueError

    monkeypatch.setattr(cache, "incr", dropped)
    assert allowed(3) == [True] * 3


@given(
    st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 4), st.booleans()), max_size=25),
    st.sampled_from([Rate(5, 60), Rate(1, 1), Rate(3, 3600), Rate(120, 60)]),
)
def test_a_client_that_waits_for_the_given_time_gets_through(
    drawn: list[tuple[int, int, bool]], rate: Rate
) -> None:
    cache.clear()
    with time_machine.travel(START, tick=False) as clock:
        for milliseconds, cost, is_penalty in drawn:
            clock.shift(timedelta(milliseconds=milliseconds))
            if is_penalty:
                rate_limits.penalise("test", "somebody", rate)
                continue
            wait = rate_limits.spend("test", "somebody", rate, cost)
            if wait is not None:
                assert 1 <= wait <= 3 * rate.seconds
                clock.shift(timedelta(seconds=wait))
                assert rate_limits.spend("test", "somebody", rate, cost) is None


# --- the webhook -------------------------------------------------------------


def post(body: Any, client: Client | None = None, **extra: Any) -> Any:
    return (client or Client()).post(WEBHOOK, body, content_type="application/json", **extra)


@pytest.fixture
def known(db: None) -> None:
    for token in ("user123", "bob", "carol"):
        baker.make(Subscriber, token=token)


@pytest.mark.usefixtures("known")
def test_reports_are_limited_by_token(settings: Settings, clock: time_machine.Traveller) -> None:
    settings.XPERT_RATE_REPORTS = "3/min"
    assert [post(wire()).status_code for _ in range(4)] == [200, 200, 200, 429]
    response = post(wire())
    assert list(response.json()) == ["detail"]
    assert Usage.objects.get().reports == 3
    assert post(wire(user_token="bob")).status_code == 200
    clock.shift(timedelta(seconds=int(response["Retry-After"])))
    assert post(wire()).status_code == 200


@pytest.mark.usefixtures("known")
def test_reports_are_unlimited_when_no_rate_is_set(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS = ""
    assert {post(wire()).status_code for _ in range(130)} == {200}


@pytest.mark.usefixtures("known")
def test_a_batch_is_one_request_for_each_distinct_token(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS = "2/min"
    batch = [wire(), wire(), wire(), wire(user_token="bob")]
    assert [post(batch).status_code for _ in range(3)] == [200, 200, 429]
    assert post(wire(user_token="carol")).status_code == 200


@pytest.mark.usefixtures("known")
def test_a_batch_that_is_refused_spends_nobody_s_share_and_counts_nothing(
    settings: Settings,
) -> None:
    settings.XPERT_RATE_REPORTS = "2/min"
    assert [post(wire(user_token="bob")).status_code for _ in range(3)] == [200, 200, 429]
    for _ in range(5):
        assert post([wire(), wire(user_token="bob"), wire(user_token="carol")]).status_code == 429
    assert Usage.objects.count() == 1
    for token in ("user123", "carol"):
        assert [post(wire(user_token=token)).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.usefixtures("known")
def test_a_key_has_its_own_share_and_spends_nobody_else_s(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS = "3/min"
    keys = [Client(headers={"x-api-key": create_api_key(name, "report")[1]}) for name in "ab"]
    batch = [wire(), wire(user_token="bob"), wire(user_token="carol"), wire(user_token="nobody")]
    assert [post(batch, keys[0]).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert post(wire(), keys[0]).status_code == 429
    assert post(wire(), keys[1]).status_code == 200
    assert [post(wire()).status_code for _ in range(4)] == [200, 200, 200, 429]


# --- addresses ---------------------------------------------------------------

PUBLIC = [f"{STATISTICS}/user123", f"{STATISTICS}/user123/series"]
OPERATORS = [
    f"{STATISTICS}/global",
    f"{STATISTICS}/database/info",
    "/api/xpert/marzban-traffic-stats",
    "/metrics",
]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("url", PUBLIC + OPERATORS)
def test_everything_is_limited_by_address(settings: Settings, url: str, reader: Client) -> None:
    settings.XPERT_RATE_ADDRESS = "3/min"
    assert [reader.get(url).status_code for _ in range(4)] == [200, 200, 200, 429]
    response = reader.get(url)
    assert int(response["Retry-After"]) > 0
    assert list(response.json()) == ["detail"]
    assert reader.get(url, REMOTE_ADDR="203.0.113.5").status_code == 200


@pytest.mark.usefixtures("known")
def test_reports_are_limited_by_address_too(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "2/min"
    assert [post(wire()).status_code for _ in range(3)] == [200, 200, 429]
    assert post(wire(), REMOTE_ADDR="203.0.113.5").status_code == 200


@pytest.mark.usefixtures("known")
def test_addresses_are_unlimited_when_no_rate_is_set(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = ""
    assert {Client().get(PUBLIC[0]).status_code for _ in range(50)} == {200}


@pytest.mark.usefixtures("known")
def test_unknown_tokens_count_double(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "4/min"
    for url in (f"{STATISTICS}/nobody", f"{STATISTICS}/nobody/series", f"{STATISTICS}/a%20b"):
        cache.clear()
        assert [Client().get(url).status_code for _ in range(3)] == [200, 200, 429]
    cache.clear()
    assert [post(wire(user_token="nobody")).status_code for _ in range(3)] == [403, 403, 429]


@pytest.mark.usefixtures("db")
def test_wrong_keys_count_double(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "4/min"
    wrong = Client(headers={"x-api-key": "wrong"})
    for url in (*OPERATORS, WEBHOOK):
        cache.clear()
        method = wrong.post if url == WEBHOOK else wrong.get
        assert [method(url).status_code for _ in range(3)] == [401, 401, 429]


@pytest.mark.usefixtures("db")
def test_no_key_is_no_wrong_key(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "4/min"
    assert [Client().get(OPERATORS[0]).status_code for _ in range(5)] == [401, 401, 401, 401, 429]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("proxies", "forwarded", "is_limited"),
    [
        (0, "203.0.113.{}", True),  # no proxy is trusted, so an invented header has no effect
        (1, "203.0.113.{}", False),
        (1, "203.0.113.{}, 198.51.100.7", True),  # the client invented the first address
        (2, "203.0.113.{}, 198.51.100.7", False),
        (2, "192.0.2.1, 203.0.113.{}, 198.51.100.7", False),
        (2, "203.0.113.{}, 192.0.2.1, 198.51.100.7", True),
        (2, "203.0.113.{}", True),
        (1, "nonsense{}", True),
    ],
)
def test_a_client_is_told_by_its_address_behind_trusted_proxies(
    settings: Settings, proxies: int, forwarded: str, is_limited: bool
) -> None:
    settings.XPERT_RATE_ADDRESS, settings.XPERT_TRUSTED_PROXIES = "3/min", proxies
    statuses = [
        Client().get(PUBLIC[0], headers={"x-forwarded-for": forwarded.format(number)}).status_code
        for number in range(5)
    ]
    assert statuses == ([200, 200, 200, 429, 429] if is_limited else [200] * 5)


def test_an_address_in_two_spellings_is_one(settings: Settings) -> None:
    settings.XPERT_TRUSTED_PROXIES = 1
    meta = [
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": spelt}
        for spelt in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:99")
    ]

    class Asked:
        def __init__(self, meta: dict[str, str]) -> None:
            self.META = meta

    assert {throttling.address_of(Asked(found)) for found in meta} == {"192.0.2.1"}  # type: ignore[arg-type]
    assert throttling.address_of(Asked({})) == "unknown"  # type: ignore[arg-type]

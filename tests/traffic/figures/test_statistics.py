import random
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries, Settings

from operations.databases import engine
from tests import cluster
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, stored, subscriber, window
from traffic.figures import statistics
from traffic.figures.statistics import (
    Day,
    GlobalStatistics,
    ServerStatistics,
    SubscriberUsage,
    UserStatistics,
)
from traffic.ledger import retention
from traffic.models import MAX_COUNTER, Server, ServerUsage, Subscriber, Usage

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
EDGE = window(1).start  # the hour that contains the time 24 hours ago


def names(found: UserStatistics | GlobalStatistics) -> list[str]:
    shares = found.servers if isinstance(found, UserStatistics) else found.top_servers
    return [share.server for share in shares]


# --- a user ------------------------------------------------------------------


def test_a_user_sees_every_server_with_its_sums() -> None:
    stored(
        a_report(upload=1, download=2),
        a_report(NOW - HOUR, upload=10, download=20),
        a_report(server="b.example", port=8443, protocol="trojan", upload=1000),
        a_report(user_token="bob", upload=500),
    )
    found = statistics.user("user123", window())
    assert found.total == 1035
    assert [
        (s.server, s.port, s.protocol, s.upload, s.download, s.reports, s.last_used_at)
        for s in found.servers
    ] == [
        ("b.example", 8443, "trojan", 1000, 2, 1, NOW),
        ("vpn.example.com", 443, "vless", 11, 22, 2, NOW),
    ]


@pytest.mark.parametrize(
    "token", ["nobody", "", "global", "a b", "\x00", "a" * 256, "../etc", "é", "' OR 1=1 --"]
)
def test_an_unknown_or_ill_formed_token_has_used_nothing(token: str) -> None:
    stored(a_report())
    assert statistics.user(token, window()) == UserStatistics(0, [])


def test_a_deleted_subscriber_has_used_nothing() -> None:
    stored(a_report())
    Subscriber.objects.update(hidden_at=NOW)
    assert statistics.user("user123", window()) == UserStatistics(0, [])


def test_subscribers_without_reports_have_used_nothing() -> None:
    baker.make(Subscriber, token="user123")
    assert statistics.user("user123", window()) == UserStatistics(0, [])


def test_protocols_on_one_port_never_mix() -> None:
    stored(a_report(protocol="vless", upload=5), a_report(protocol="trojan", upload=7))
    assert [
        (share.protocol, share.upload) for share in statistics.user("user123", window()).servers
    ] == [
        ("trojan", 7),
        ("vless", 5),
    ]


def test_servers_are_ordered_by_traffic_and_then_by_name() -> None:
    for name, upload in (("b", 5), ("a", 5), ("c", 9), ("d", 0)):
        stored(a_report(server=name, upload=upload, download=0))
    stored(a_report(server="a", port=80, upload=5, download=0))
    found = statistics.user("user123", window())
    assert [(share.server, share.port) for share in found.servers] == [
        ("c", 443), ("a", 80), ("a", 443), ("b", 443), ("d", 443),
    ]  # fmt: skip
    assert [share.server for share in statistics.overall(window()).top_servers] == [
        "c",
        "a",
        "a",
        "b",
        "d",
    ]


def test_last_used_is_of_the_window() -> None:
    stored(a_report(NOW - HOUR), a_report(NOW - 3 * DAY))
    (share,) = statistics.user("user123", window()).servers
    assert share.last_used_at == NOW - HOUR


def test_two_protocols_with_equal_traffic_are_ordered_by_name() -> None:
    for protocols in (("vless", "trojan", "hysteria2"), ("hysteria2", "vless", "trojan")):
        stored(*[a_report(protocol=protocol) for protocol in protocols])
    shares = statistics.overall(window()).top_servers
    assert [share.protocol for share in shares] == ["hysteria2", "trojan", "vless"]


# --- windows -----------------------------------------------------------------


def test_a_window_takes_the_whole_hour_in_which_it_begins_and_nothing_older() -> None:
    stored(a_report(EDGE, upload=1), a_report(EDGE - SECOND, upload=10))
    assert statistics.user("user123", window(1)).total == 1 + 2
    assert statistics.overall(window(1)).total == 1 + 2
    assert statistics.server("vpn.example.com", 443, window(1)).total == 1 + 2
    assert statistics.user("user123", window(2)).total == 11 + 4


def test_a_user_who_was_active_before_the_window_is_not_counted_in_it() -> None:
    stored(a_report(EDGE), a_report(EDGE - SECOND, user_token="bob"))
    assert statistics.overall(window(1)).users == 1
    assert statistics.overall(window(2)).users == 2


@pytest.mark.parametrize("folded", [False, True])
def test_a_window_that_reaches_folded_days_is_the_same_before_and_after_folding(
    folded: bool,
) -> None:
    now = NOW.replace(hour=0, minute=30)
    first_full_day = datetime(2023, 11, 12, tzinfo=UTC)
    stored(
        a_report(first_full_day - SECOND, upload=1, download=0),
        a_report(first_full_day, upload=10, download=0),
        a_report(first_full_day + 23 * HOUR, upload=100, download=0),
        a_report(now, upload=1000, download=0),
        now=now,
    )
    if folded:
        assert retention.fold(now) == 2
    span = window(90, now)
    assert span.start == first_full_day
    assert statistics.user("user123", span).total == 1110
    assert statistics.overall(span).total == 1110
    assert statistics.server("vpn.example.com", 443, span).days == [
        Day(date(2023, 11, 12), 110, 1),
        Day(date(2024, 2, 10), 1000, 1),
    ]


def test_traffic_stored_by_a_clock_that_ran_ahead_is_shown() -> None:
    stored(a_report(NOW + 400 * DAY), now=NOW + 400 * DAY)
    assert statistics.user("user123", window()).total == 3
    assert statistics.overall(window()).total == 3


# --- the whole panel ---------------------------------------------------------


def test_an_empty_panel_is_all_zeros() -> None:
    assert statistics.overall(window()) == GlobalStatistics(0, 0, 0, 0, 0, [])


def test_the_panel_counts_users_servers_protocols_and_reports() -> None:
    stored(
        a_report(upload=1, download=1),
        a_report(upload=1, download=1),
        a_report(user_token="bob", protocol="trojan", upload=1, download=1),
        a_report(user_token="bob", port=8443, upload=1, download=1),
        a_report(
            user_token="carol", server="b.example", protocol="hysteria2", upload=1, download=1
        ),
    )
    found = statistics.overall(window())
    assert (found.users, found.protocols, found.total, found.reports) == (3, 3, 10, 5)
    assert found.servers == 3  # two protocols on one host and port are one server
    assert len(found.top_servers) == 4


def test_the_ten_servers_with_most_traffic_are_shown() -> None:
    stored(*[a_report(server=f"s{number:02}.example", upload=number) for number in range(12)])
    found = statistics.overall(window())
    assert names(found) == [f"s{number:02}.example" for number in range(11, 1, -1)]
    assert found.servers == 12
    assert found.total == sum(range(12)) + 24


def test_deleting_subscriber_and_server_leaves_the_totals_true() -> None:
    stored(a_report(), a_report(user_token="bob"))
    before = statistics.overall(window())
    Subscriber.objects.update(hidden_at=NOW)
    Server.objects.update(hidden_at=NOW)
    assert statistics.overall(window()) == before


# --- a server ----------------------------------------------------------------


def test_a_server_is_shown_over_all_its_protocols_by_day() -> None:
    stored(
        a_report(upload=1, download=0),
        a_report(protocol="trojan", upload=10, download=0),
        a_report(user_token="bob", upload=100, download=0),
        a_report(NOW - DAY, user_token="bob", upload=1000, download=0),
        a_report(NOW - DAY - HOUR, user_token="bob", upload=10_000, download=0),
        a_report(port=8443, upload=5),
        a_report(server="b.example", upload=5),
    )
    assert statistics.server("vpn.example.com", 443, window()) == ServerStatistics(
        users=2,
        total=11_111,
        reports=5,
        days=[Day(date(2024, 2, 9), 11_000, 1), Day(date(2024, 2, 10), 111, 2)],
    )


def test_the_days_of_a_server_begin_at_midnight_utc() -> None:
    midnight = datetime(2024, 2, 10, tzinfo=UTC)
    stored(a_report(midnight), a_report(midnight - SECOND))
    assert [day.date.day for day in statistics.server("vpn.example.com", 443, window()).days] == [
        9,
        10,
    ]


def test_an_unknown_server_saw_nothing() -> None:
    assert statistics.server("nowhere.example", 443, window()) == ServerStatistics(0, 0, 0, [])


def test_the_top_subscribers_of_a_server() -> None:
    stored(
        *[a_report(user_token=f"user{n}", upload=n, download=0) for n in (3, 9, 5)],
        a_report(server="b.example"),
    )
    target = Server.objects.get(host="vpn.example.com")
    assert [
        (share.subscriber.token, share.upload)
        for share in statistics.server_users(target, window(), 2)
    ] == [
        ("user9", 9),
        ("user5", 5),
    ]


# --- exactness ---------------------------------------------------------------


def test_sums_beyond_64_bits_are_exact() -> None:
    reports = [
        a_report(NOW - n * HOUR, user_token=f"user{n}", server=f"s{n % 3}.example", upload=MAX_COUNTER - n, download=MAX_COUNTER)
        for n in range(12)
    ]  # fmt: skip
    stored(*reports)
    total = sum(report.upload + report.download for report in reports)
    assert total > 2**64
    assert statistics.overall(window()).total == total
    shares = statistics.overall(window()).top_servers
    assert sum(share.upload for share in shares) == sum(report.upload for report in reports)
    assert statistics.server("s1.example", 443, window()).total == sum(
        r.upload + r.download for r in reports[1::3]
    )


def test_sums_are_exact_to_the_byte() -> None:
    draw = random.Random(7)
    reports = [
        a_report(NOW - n * HOUR, upload=draw.randrange(2**50), download=draw.randrange(2**50))
        for n in range(100)
    ]
    stored(*reports)
    (share,) = statistics.user("user123", window()).servers
    assert (share.upload, share.download) == (
        sum(r.upload for r in reports),
        sum(r.download for r in reports),
    )


# --- counters ----------------------------------------------------------------


def test_the_counters_of_a_subscriber_are_its_balance() -> None:
    stored(a_report(upload=3 * GB, download=5 * GB))
    found = statistics.usage_of(subscriber(), NOW)
    assert found == SubscriberUsage(3 * GB, 5 * GB, 3 * GB, 5 * GB, NOW)
    assert (found.period_total, found.life_total) == (8 * GB, 8 * GB)


# --- database info -----------------------------------------------------------


def test_the_database_is_counted_over_the_records_that_exist() -> None:
    stored(
        a_report(),
        a_report(NOW - HOUR),
        a_report(NOW - 20 * DAY, user_token="bob", server="old.example"),
        a_report(protocol="trojan"),
    )
    found = statistics.database()
    assert (found.records, found.users, found.servers) == (4, 2, 2)
    assert found.records == Usage.objects.count()
    assert found.size > 0
    retention.delete_records(10, NOW)
    found = statistics.database()
    assert (found.records, found.users, found.servers) == (3, 1, 1)


def test_an_empty_database_has_a_size() -> None:
    found = statistics.database()
    assert (found.records, found.users, found.servers) == (0, 0, 0)
    assert found.size > 0


def test_a_sqlite_database_is_named_by_its_path_as_configured(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    settings.XPERT_TRAFFIC_DB_PATH = "data/mine.db"
    assert engine.database_path() == "data/mine.db"
    del settings.XPERT_TRAFFIC_DB_PATH
    assert engine.database_path() == str(connection.settings_dict["NAME"])


@pytest.mark.parametrize(("host", "shown"), [("db.example", "db.example"), ("", "localhost")])
def test_a_postgresql_database_is_named_without_credentials(
    host: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "postgresql")
    for name, value in {
        "HOST": host,
        "NAME": "panel",
        "USER": "operator",
        "PASSWORD": "s3cr3t",
        "PORT": "5433",
    }.items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    assert engine.database_path() == f"{shown}/panel"


# --- what it costs -----------------------------------------------------------


def test_each_call_costs_a_fixed_number_of_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    def fill(size: int) -> None:
        stored(
            *[
                a_report(NOW - hours * HOUR, user_token=f"user{who}", server=f"s{where}.example")
                for hours in range(size)
                for who in range(size)
                for where in range(size)
            ]
        )

    for size in (2, 6):
        fill(size)
        target = Server.objects.get(host="s1.example")
        with django_assert_num_queries(3):
            assert len(statistics.user("user1", window()).servers) == size
        with django_assert_num_queries(3):
            assert statistics.overall(window()).users == size
        with django_assert_num_queries(4):
            assert statistics.server("s1.example", 443, window()).users == size
        with django_assert_num_queries(2):
            assert len(statistics.server_users(target, window(), 10)) == size
        # A cluster is asked for the size of its other nodes.
        with django_assert_num_queries(7 if cluster.WORKERS else 4):
            assert statistics.database().servers == size
        somebody = subscriber("user1")
        with django_assert_num_queries(1):
            assert statistics.usage_of(somebody, NOW).life_total > 0


def test_figures_of_the_panel_never_read_the_records_of_users() -> None:
    stored(a_report())
    Usage.objects.all().delete()
    assert statistics.overall(window()).total == 3
    assert ServerUsage.objects.get().records == 1

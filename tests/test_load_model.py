"""The arithmetic of ``script/bench --scale``, on costs that are easy to calculate with."""

import pytest

from benchmarks.machines import (
    Cost,
    Need,
    Rhythm,
    Rows,
    arithmetic,
    is_too_much_for_one_writer,
    machines,
    need,
    records_of_a_year,
    size,
)

RHYTHM = Rhythm(online=0.5, servers=3, rows=1000, alone=0.1, per_hour=1, per_day=1)
FREE = Cost({"web": 0.0, "database": 0.0}, wal=0, growth=0)
KINDS = ("readings", "report", "subscription", "statistics")


def costs(**given: Cost) -> dict[str, Cost]:
    return dict.fromkeys(KINDS, FREE) | given


def needed(subscribers: int, rows: Rows = Rows(0, 0), **given: Cost) -> Need:  # noqa: B008  frozen
    return need(subscribers, costs(**given), rows, RHYTHM)


def test_rates_are_those_of_the_busiest_hour() -> None:
    assert RHYTHM.rates(1_200_000) == pytest.approx(
        {
            "readings": 60,  # 3.6 million rows a minute, 1000 in a message
            "report": 1000,  # 60,000 people who are online and report themselves, once a minute
            "subscription": 600_000 / 3600,
            "statistics": 2 * 1_200_000 / 86_400,
        }
    )


def test_rates_grow_with_the_subscribers() -> None:
    few, many = RHYTHM.rates(10_000), RHYTHM.rates(1_000_000)
    assert many == pytest.approx({kind: 100 * rate for kind, rate in few.items()})


def test_cores_are_rates_times_seconds_summed_by_part() -> None:
    found = needed(
        1_200_000,
        readings=Cost({"web": 0.020, "database": 0.010}, wal=0, growth=0),
        report=Cost({"web": 0.002, "database": 0.001}, wal=0, growth=0),
    )
    assert found.cores == pytest.approx({"web": 1.2 + 2.0, "database": 0.6 + 1.0})


def test_wal_is_rates_times_bytes() -> None:
    found = needed(1_200_000, report=Cost({}, wal=1700, growth=0))
    assert found.wal == pytest.approx(1_700_000)


def test_disk_is_a_year_of_records_and_the_people() -> None:
    assert needed(1000, Rows(record=100, person=2000)).disk == 1000 * (1575 * 100 + 2000)


@pytest.mark.parametrize(
    ("servers", "hours", "by_hour", "days", "records"),
    [(3, 6, 32, 365, 1575), (1, 24, 32, 32, 768), (1, 1, 0, 365, 365)],
)
def test_records_of_a_year(servers: int, hours: int, by_hour: int, days: int, records: int) -> None:
    assert records_of_a_year(servers, hours, by_hour, days) == records


@pytest.mark.parametrize(
    ("cores", "count"), [(0, 1), (0.01, 1), (8, 1), (8.01, 2), (16, 2), (394.5, 50)]
)
def test_a_machine_of_16_cores_is_at_most_half_busy(cores: float, count: int) -> None:
    assert machines(cores) == count


@pytest.mark.parametrize(("seconds", "is_too_much"), [(0.00025, False), (0.00026, True)])
def test_sqlite_may_be_busy_with_writing_for_half_of_the_time(
    seconds: float, is_too_much: bool
) -> None:
    """1000 reports and 60 messages of readings per second, here 0.25 s for each kind, or a little more."""
    given = costs(
        report=Cost({"web": seconds}, wal=0, growth=0),
        readings=Cost({"web": 0.25 / 60}, wal=0, growth=0),
    )
    assert is_too_much_for_one_writer(1_200_000, given, RHYTHM) is is_too_much


def test_the_arithmetic_is_shown_by_kind() -> None:
    lines = list(
        arithmetic(1_200_000, costs(report=Cost({"web": 0.002}, wal=1700, growth=0)), RHYTHM)
    )
    assert [line.split(":")[0].strip() for line in lines] == list(KINDS)
    assert lines[1] == (
        "  report: 1,000.0 per second: web × 2.00 ms = 2.000 cores,"
        " × 1.7 kB = 1.7 MB of WAL per second"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_700, "1.7 kB"), (2.5e9, "2.5 GB"), (11.1e12, "11.1 TB"),
     (3e15, "3000.0 TB")],
)  # fmt: skip
def test_sizes_are_decimal(count: float, text: str) -> None:
    assert size(count) == text

"""Taking over the original panel's usage: exact, in one transaction, and as often as one likes."""

import io
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from tests.traffic.examples import (
    DAY,
    NOW,
    a_report,
    assert_sums_agree,
    balance,
    rows_stored,
    stored,
    subscriber,
    sums,
)
from traffic.intake.imports import xpert
from traffic.models import MAX_COUNTER, Balance, Meter, Server, Subscriber, Usage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_clock")]

# As its first version makes it, by hand.
FIRST = """CREATE TABLE traffic_usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_token TEXT NOT NULL, config_server TEXT NOT NULL,
    config_port INTEGER NOT NULL, protocol TEXT NOT NULL, bytes_uploaded INTEGER DEFAULT 0,
    bytes_downloaded INTEGER DEFAULT 0, date_collected DATE NOT NULL, timestamp DATETIME DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(user_token, config_server, config_port, date_collected))"""
# As its later versions make it, through an ORM.
LATER = """CREATE TABLE traffic_usage (
    id INTEGER NOT NULL, user_token VARCHAR(128) NOT NULL, config_server VARCHAR(255) NOT NULL,
    config_port INTEGER NOT NULL, protocol VARCHAR(64) NOT NULL, bytes_uploaded BIGINT DEFAULT '0' NOT NULL,
    bytes_downloaded BIGINT DEFAULT '0' NOT NULL, date_collected DATE NOT NULL, timestamp DATETIME NOT NULL,
    PRIMARY KEY (id), CONSTRAINT uq_traffic_usage_day_key UNIQUE (user_token, config_server, config_port, date_collected))"""
ANYHOW = "CREATE TABLE traffic_usage (user_token, config_server, config_port, protocol, bytes_uploaded, bytes_downloaded, date_collected, timestamp)"
COLUMNS = "user_token, config_server, config_port, protocol, bytes_uploaded, bytes_downloaded, date_collected, timestamp"
ANN: tuple[Any, ...] = (
    "ann-token",
    "vpn.example.com",
    443,
    "vless",
    100,
    200,
    "2024-02-09",
    "2024-02-09 21:30:05",
)


@pytest.fixture
def _clock() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def row(**fields: Any) -> tuple[Any, ...]:
    return tuple((dict(zip(COLUMNS.split(", "), ANN, strict=True)) | fields).values())


def write(path: Path, *rows: tuple[Any, ...], schema: str = FIRST) -> Path:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(schema)
        database.executemany(
            f"INSERT INTO traffic_usage ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            rows,
        )
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "original.db"


def run(source: Any) -> tuple[str, str]:
    """What the command says, and what it complains of."""
    output, complaints = io.StringIO(), io.StringIO()
    call_command("import_xpert", str(source), stdout=output, stderr=complaints, no_color=True)
    return output.getvalue().strip(), complaints.getvalue().strip()


@pytest.mark.parametrize(
    ("schema", "timestamp"), [(FIRST, "2024-02-09 21:30:05"), (LATER, "2024-02-09 21:30:05.123456")]
)
def test_it_takes_over_a_row_of_either_schema(file: Path, schema: str, timestamp: str) -> None:
    write(file, row(timestamp=timestamp), schema=schema)
    assert run(file) == ("Read 1 rows: 1 counted, 0 were counted before, 0 refused.", "")
    found = Usage.objects.get()
    assert (found.subscriber.token, str(found.server)) == ("ann-token", "vpn.example.com:443 vless")
    assert (found.upload, found.download, found.reports) == (100, 200, 1)
    assert found.hour == datetime(2024, 2, 9, 21, tzinfo=UTC)
    assert balance("ann-token").last_used_at == datetime(2024, 2, 9, 21, 30, 5, tzinfo=UTC)
    assert_sums_agree()


def test_a_second_import_counts_nothing_again(file: Path) -> None:
    write(file, *(row(user_token=f"user{n}", config_port=1 + n % 7) for n in range(30)))
    run(file)
    before = sums(Usage)
    assert run(file)[0] == "Read 30 rows: 0 counted, 30 were counted before, 0 refused."
    assert sums(Usage) == before
    assert_sums_agree()


def test_a_second_import_adds_what_the_other_panel_has_counted_meanwhile(file: Path) -> None:
    write(file, row())
    run(file)
    # Its rows are replaced at every report: another id, another protocol, the same day.
    write(
        file,
        row(bytes_uploaded=130, protocol="trojan", timestamp="2024-02-09 23:00:00"),
        row(user_token="bob"),
    )
    assert run(file)[0] == "Read 2 rows: 2 counted, 0 were counted before, 0 refused."
    assert sums(Usage) == {"Usage": (230, 400, 3)}
    assert_sums_agree()


def test_a_row_that_has_shrunk_takes_nothing_away(file: Path) -> None:
    write(file, row())
    run(file)
    write(file, row(bytes_uploaded=40, bytes_downloaded=260))
    run(file)
    write(file, row(bytes_uploaded=110, bytes_downloaded=260))
    run(file)
    assert sums(Usage) == {"Usage": (110, 260, 3)}
    assert_sums_agree()


def test_it_is_safe_again_when_event_ids_are_long_forgotten(file: Path) -> None:
    write(file, row())
    run(file)
    with time_machine.travel(NOW + 400 * DAY, tick=False):
        assert run(file)[0] == "Read 1 rows: 0 counted, 1 were counted before, 0 refused."


def test_what_reports_have_counted_here_stays_beside_it(file: Path) -> None:
    stored(a_report(user_token="ann-token"))
    write(file, row())
    run(file)
    assert (balance("ann-token").life_upload, balance("ann-token").life_download) == (101, 202)
    assert_sums_agree()


def test_years_of_history_are_folded_into_days(file: Path) -> None:
    days = [NOW - age * DAY for age in range(0, 800, 5)]
    write(
        file,
        *(
            row(date_collected=f"{day:%Y-%m-%d}", timestamp=f"{day:%Y-%m-%d %H:%M:%S}")
            for day in days
        ),
    )
    assert run(file)[0] == "Read 160 rows: 160 counted, 0 were counted before, 0 refused."
    assert {found.hour.hour for found in Usage.objects.filter(hour__lt=NOW - 34 * DAY)} == {0}
    assert sums(Usage) == {"Usage": (16_000, 32_000, 160)}
    assert_sums_agree()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bytes_uploaded": -1}, "bytes_uploaded: Expected a whole number from 0 to"),
        ({"bytes_downloaded": 2**50 + 1}, "bytes_downloaded: Expected a whole number from 0 to"),
        ({"bytes_uploaded": 1.5}, "bytes_uploaded: Expected a whole number"),
        ({"bytes_uploaded": "many"}, "bytes_uploaded: Expected a whole number"),
        ({"config_port": 99999}, "port: Expected a whole number from 1 to 65535."),
        ({"config_port": 0}, "port: Expected a whole number from 1 to 65535."),
        ({"config_server": "<script>"}, "server: Expected a host name"),
        ({"config_server": ""}, "server: Expected a host name"),
        ({"user_token": "two words"}, "user_token: Expected 1 to 255 characters"),
        ({"user_token": "global"}, "user_token: This token is reserved."),
        ({"user_token": b"\xff\xfe"}, "user_token: Expected text."),
        ({"protocol": "a b"}, "protocol: Expected 1 to 32 characters"),
        ({"date_collected": "yesterday"}, "date_collected: Expected a date."),
        ({"date_collected": None}, "date_collected: Expected a date."),
        (
            {"date_collected": "2024-02-11", "timestamp": "2024-02-11 03:00:00"},
            "timestamp: More than 5 minutes ahead",
        ),
        ({"date_collected": "1969-12-30", "timestamp": None}, "timestamp: Older than"),
    ],
)
def test_it_names_what_it_refuses_and_why(file: Path, fields: dict[str, Any], reason: str) -> None:
    write(file, row(), row(**{"config_port": 8443} | fields), schema=ANYHOW)
    said, complaint = run(file)
    assert said == "Read 2 rows: 1 counted, 0 were counted before, 1 refused."
    assert complaint.startswith(f"Refused 1: {reason}")
    assert "For example " in complaint
    assert "two words" not in complaint
    assert sums(Usage) == {"Usage": (100, 200, 1)}


def test_reasons_are_counted_and_the_most_frequent_comes_first(file: Path) -> None:
    bad = [row(user_token=f"u{n}", bytes_uploaded=-n) for n in range(1, 4)]
    write(file, row(), row(config_port=70_000), *bad)
    lines = run(file)[1].splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Refused 3", "Refused 1"]


def test_missing_bytes_are_none(file: Path) -> None:
    write(file, row(bytes_uploaded=None, bytes_downloaded=5), schema=ANYHOW)
    run(file)
    assert sums(Usage) == {"Usage": (0, 5, 1)}


@pytest.mark.parametrize("timestamp", [None, "", "never", "2019-01-01 00:00:00", 17])
def test_a_row_without_a_likely_moment_counts_at_the_beginning_of_its_day(
    file: Path, timestamp: Any
) -> None:
    write(file, row(timestamp=timestamp), schema=ANYHOW)
    run(file)
    assert Usage.objects.get().hour == datetime(2024, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("timestamp", ["2024-02-08 10:30:00", "2024-02-10 14:00:00"])
def test_a_local_day_may_reach_into_its_neighbours(file: Path, timestamp: str) -> None:
    write(file, row(timestamp=timestamp))
    run(file)
    assert f"{Usage.objects.get().hour:%Y-%m-%d}" == timestamp[:10]


def test_names_are_normalised_as_those_of_reports(file: Path) -> None:
    write(file, row(config_server="VPN.Example.com."), row(protocol="SS"))
    run(file)
    assert sorted(map(str, Server.objects.all())) == [
        "vpn.example.com:443 shadowsocks",
        "vpn.example.com:443 vless",
    ]


def test_a_deleted_subscriber_stays_deleted(file: Path) -> None:
    write(file, row(), row(user_token="bob"))
    Subscriber.objects.create(token="ann-token", hidden_at=NOW)
    said, complaint = run(file)
    assert said == "Read 2 rows: 1 counted, 0 were counted before, 1 refused."
    assert complaint == "Refused 1: user_token: This subscriber was deleted here."
    assert list(Usage.objects.values_list("subscriber__token", flat=True)) == ["bob"]


def test_a_row_that_would_pass_a_counter_is_refused_and_the_others_are_counted(file: Path) -> None:
    stored(a_report(user_token="ann-token"))
    Balance.objects.filter(subscriber=subscriber("ann-token")).update(
        life_upload=MAX_COUNTER - 50, cleaned_upload=MAX_COUNTER - 51
    )
    write(file, row(), row(user_token="bob"))
    said, complaint = run(file)
    assert said == "Read 2 rows: 1 counted, 0 were counted before, 1 refused."
    assert complaint == "Refused 1: A counter would pass 1024 PB."
    assert Meter.objects.exclude(read_at=None).count() == 1
    assert_sums_agree()


def test_all_of_it_is_counted_or_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, *(row(user_token=f"user{n}") for n in range(10)))
    monkeypatch.setattr(xpert, "BATCH", 3)

    def stop(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("importing", 10)
        if done == 9:
            raise KeyboardInterrupt

    before = rows_stored()
    with pytest.raises(KeyboardInterrupt):
        xpert.take_over(str(file), NOW, stop)
    assert rows_stored() == before
    assert run(file)[0] == "Read 10 rows: 10 counted, 0 were counted before, 0 refused."


def test_it_is_an_error_when_every_row_is_refused(file: Path) -> None:
    write(file, row(config_port=-1))
    with pytest.raises(CommandError, match="every row was refused"):
        run(file)


def test_an_empty_table_is_none(file: Path) -> None:
    assert run(write(file))[0] == "Read 0 rows: 0 counted, 0 were counted before, 0 refused."


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("CREATE TABLE users (id)", "has no table traffic_usage"),
        (
            "CREATE TABLE traffic_usage (subscriber_id, hour, server_id, upload, download)",
            "restore_traffic",
        ),
        (None, "has no table"),
    ],
)
def test_another_database_is_refused(file: Path, schema: str | None, reason: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(schema or "PRAGMA user_version = 1")
    with pytest.raises(CommandError, match=reason):
        run(file)


def test_a_table_that_names_a_day_twice_is_not_guessed_at(file: Path) -> None:
    with pytest.raises(CommandError, match="twice"):
        run(write(file, row(), row(protocol="trojan"), schema=ANYHOW))


@pytest.mark.parametrize(
    "source", ["/nowhere/at.all", "mysql+pymysql://panel:S3cretPw@db/panel", "sqlite:////nowhere"]
)
def test_what_cannot_be_read_is_told_without_its_password(source: str) -> None:
    with pytest.raises(CommandError) as refused:
        run(source)
    assert "Nothing was imported" in str(refused.value)
    assert "S3cret" not in str(refused.value)


def test_a_file_that_is_no_database_is_told(file: Path) -> None:
    file.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(CommandError, match="not a database"):
        run(file)


def test_a_postgresql_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(CommandError) as refused:
        run("postgresql+psycopg2://panel:S3cretPw@127.0.0.1:1/panel")
    assert "cannot be read" in str(refused.value)
    assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:////{}"])
def test_a_url_of_a_file_is_taken_as_its_settings_hold_it(
    file: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, row())
    monkeypatch.chdir(file.parent)
    path = file.name if form == "sqlite:///{}" else str(file).removeprefix("/")
    assert run(form.format(path))[0].startswith("Read 1 rows: 1 counted")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL")
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_postgresql_of_the_other_panel_is_read_by_its_url(scheme: str) -> None:
    settings = connection.settings_dict
    server = (
        f"{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT'] or 5432}"
    )
    name = f"original_{settings['NAME']}"
    with psycopg.connect(f"postgresql://{server}/postgres", autocommit=True) as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        owner.execute(f"CREATE DATABASE {name}".encode())
        try:
            with psycopg.connect(f"postgresql://{server}/{name}") as database:
                database.execute(LATER.replace("DATETIME", "TIMESTAMP").encode())
                values = ", ".join(["%s"] * 8)
                database.execute(
                    f"INSERT INTO traffic_usage (id, {COLUMNS}) VALUES (1, {values})".encode(),  # noqa: S608
                    row(),
                )
            found = run(f"{scheme}://{server}/{name}")
            assert found[0] == "Read 1 rows: 1 counted, 0 were counted before, 0 refused."
        finally:
            owner.execute(f"DROP DATABASE {name}".encode())
    assert Usage.objects.get().hour == datetime(2024, 2, 9, 21, tzinfo=UTC)

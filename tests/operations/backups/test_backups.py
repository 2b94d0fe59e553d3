"""Messages and refusals of backups; ``tests/test_backups.py`` tests the restore."""

import gzip
import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from pytest_django import Settings

from operations import backups, distribution
from operations.backups import postgresql
from operations.backups.sqlite import as_copy
from operations.backups.totals import Totals, difference
from operations.conf import conf
from operations.databases import citus
from operations.databases import postgresql as engine
from operations.distribution import Step
from tests.traffic.examples import NOW, a_report, stored
from traffic.models import ServerUsage, Usage

pytestmark = pytest.mark.django_db(transaction=True)
IS_SQLITE = connection.vendor == "sqlite"


def run(name: str, *arguments: Any) -> str:
    output = io.StringIO()
    call_command(name, *map(str, arguments), stdout=output, no_color=True)
    return output.getvalue().removesuffix("\n")


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.XPERT_BACKUP_FOLDER = str(tmp_path / "backups")
    return conf.backup_folder


def quiet(stage: str, done: int, total: int) -> None:
    pass


def test_a_backup_has_a_dated_name_and_says_what_it_holds(folder: Path) -> None:
    stored(a_report(upload=2**30, download=2**31))
    said = run("backup_traffic")
    path = next(folder.iterdir())
    assert path.name.startswith("xpert-panel-20")
    assert path.name.endswith(".db.gz" if IS_SQLITE else ".sql.gz")
    assert said == (
        f"Wrote {path} ({backups_size(path)}): 1 subscribers, 1 records, 1.00 GB up, 2.00 GB down."
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def backups_size(path: Path) -> str:
    return f"{path.stat().st_size / 1024:.2f} KB"


def test_a_backup_carries_the_moment_it_is_of(tmp_path: Path) -> None:
    made = backups.make(tmp_path / "backup.gz", NOW, quiet)
    assert made.made_at == NOW.replace(microsecond=0)
    assert backups.inspect(tmp_path / "backup.gz", quiet).made_at == made.made_at


def test_progress_is_reported_by_stage(tmp_path: Path) -> None:
    stored(a_report())
    told: list[str] = []
    backups.make(tmp_path / "backup.gz", NOW, lambda stage, done, total: told.append(stage))
    wanted = ["copying", "packing", "unpacking", "checking"] if IS_SQLITE else ["dumping"]
    assert list(dict.fromkeys(told)) == wanted


def test_a_folder_takes_dated_backups_too(tmp_path: Path) -> None:
    run("backup_traffic", tmp_path)
    run("backup_traffic", tmp_path, "--keep", "1")
    assert len(backups.stored(tmp_path)) == 1


@pytest.mark.parametrize(
    "arguments", [["--keep", "0"], ["--keep", "-1"], ["--keep", "x"], ["a", "b"]]
)
def test_wrong_arguments_make_no_backup(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("backup_traffic", *arguments)
    assert not folder.exists()


def test_a_file_with_another_name_is_not_rotated(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--keep is for a folder"):
        run("backup_traffic", tmp_path / "mine.gz", "--keep", "2")


def test_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be written: "):
        run("backup_traffic", tmp_path / "file" / "backup.gz")


@pytest.mark.skipif(not IS_SQLITE, reason="PostgreSQL keeps its files where nobody names them")
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal", "-lock"])
def test_the_panels_own_database_is_not_replaced_by_its_backup(ending: str) -> None:
    stored(a_report(upload=5))
    before = Path(backups.database_name()).stat().st_ino
    with pytest.raises(CommandError, match="is the panel's own database; choose another file"):
        run("backup_traffic", backups.database_name() + ending)
    assert Path(backups.database_name()).stat().st_ino == before
    assert Usage.objects.get().upload == 5


@pytest.mark.skipif(not IS_SQLITE, reason="PostgreSQL keeps its files where nobody names them")
def test_nor_is_it_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(backups.database_name())
    with pytest.raises(CommandError, match="is the panel's own database"):
        run("backup_traffic", tmp_path / "link")


@pytest.mark.skipif(not IS_SQLITE, reason="a dump is compared with its snapshot, not with itself")
def test_sums_that_disagree_are_kept_in_the_backup_and_reported(tmp_path: Path) -> None:
    stored(a_report())
    ServerUsage.objects.update(upload=7)
    with pytest.raises(CommandError, match="1 sums in both disagree: run check_traffic"):
        run("backup_traffic", tmp_path / "backup.gz")
    assert backups.inspect(tmp_path / "backup.gz", quiet).differences == 1
    with pytest.raises(CommandError, match="use --yes"):
        call_command(
            "restore_traffic",
            str(tmp_path / "backup.gz"),
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )


def test_a_copy_that_differs_is_not_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(a_report())
    whole = backups._read
    monkeypatch.setattr(backups, "_read", lambda *arguments: _lossy(whole(*arguments)))
    with pytest.raises(
        CommandError,
        match=r"differs from the database: traffic_usage\.upload 0 instead of 1",
    ):
        run("backup_traffic", tmp_path / "backup.gz")
    assert list(tmp_path.iterdir()) == []


def _lossy(backup: backups.Backup) -> backups.Backup:
    backup.totals["traffic_usage.upload"] = 0
    return backup


def test_a_difference_lists_missing_and_extra_rows() -> None:
    assert (
        difference({"a": 1, "b": 2, "c": 0}, {"a": 1, "b": 3, "d": 4})
        == "b 3 instead of 2, d 4 instead of 0"
    )
    assert difference({"a": 0}, {}) == ""


@pytest.mark.skipif(IS_SQLITE, reason="about PostgreSQL")
def test_a_missing_pg_dump_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CommandError, match="pg_dump is missing"):
        run("backup_traffic", tmp_path / "backup.gz")


def test_a_backup_of_another_kind_of_database_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.gz"
    dump = b"-- PostgreSQL database dump complete\n"
    other.write_bytes(gzip.compress(dump if IS_SQLITE else b"SQLite format 3\x00"))
    with pytest.raises(CommandError, match="not a backup of"):
        run("restore_traffic", other, "--dry-run")


def test_another_database_is_not_a_backup_of_this_panel(tmp_path: Path) -> None:
    content = b"-- PostgreSQL database dump complete\n"
    if IS_SQLITE:
        with as_copy(tmp_path / "other.db"), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE traffic_usage (user_token TEXT)")
        content = (tmp_path / "other.db").read_bytes()
    (tmp_path / "other.gz").write_bytes(content)
    with pytest.raises(CommandError, match="not a backup of this panel"):
        run("restore_traffic", tmp_path / "other.gz", "--dry-run")


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    stored(a_report())
    run("backup_traffic", tmp_path / "backup.gz")
    stored(a_report(upload=5))
    said = run("restore_traffic", tmp_path / "backup.gz", "--dry-run")
    assert "by this version: 1 subscribers, 1 records, 1 B up, 2 B down." in said
    assert Usage.objects.get().upload == 6


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_a_restore_that_is_not_wanted_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    run("backup_traffic", tmp_path / "backup.gz")
    stored(a_report())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    with pytest.raises(CommandError, match="Nothing was restored"):
        run("restore_traffic", tmp_path / "backup.gz")
    assert Usage.objects.exists()


DUMP = b"""COPY public.traffic_usage (hour, "upload", download, reports) FROM stdin;
1\t10\t20\t1
2\t5\t6\t2
\\.
COPY public.django_migrations (id, app, name, applied) FROM stdin;
1\ttraffic\t0001_initial\t2024-01-01
\\.
-- PostgreSQL database dump complete
"""


def test_a_dump_is_counted_without_a_database() -> None:
    found = postgresql.read(io.BytesIO(DUMP), quiet)
    assert found.migrations == {("traffic", "0001_initial")}
    assert found.totals == {
        "traffic_usage": 2,
        "traffic_usage.upload": 15,
        "traffic_usage.download": 26,
        "traffic_usage.reports": 3,
    }


@pytest.mark.parametrize("length", [3, *range(73, 95), 150, len(DUMP) - 30])
def test_a_dump_that_breaks_off_is_damaged(length: int) -> None:
    with pytest.raises(backups.BackupError, match="is incomplete"):
        postgresql.read(io.BytesIO(DUMP[:length]), quiet)


def test_names_sort_by_time_in_any_zone() -> None:
    assert (
        backups.dated_name(datetime(2024, 2, 10, 19, 20, 30, tzinfo=UTC), "db")
        == "xpert-panel-20240210-192030.db.gz"
    )


@pytest.mark.parametrize("value", ["", 5, None, __file__])
def test_the_folder_of_backups_is_checked(settings: Settings, value: Any) -> None:
    settings.XPERT_BACKUP_FOLDER = value
    with pytest.raises(Exception, match="XPERT_BACKUP_FOLDER takes a folder"):
        str(conf.backup_folder)


@pytest.mark.skipif(IS_SQLITE, reason="about PostgreSQL")
@pytest.mark.parametrize("is_spread", [True, False])
def test_writers_wait_for_the_backup_of_a_cluster_alone(
    is_spread: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []
    hold_off = engine.hold_off_writers

    def spy(tables: list[str]) -> None:
        held.extend(tables)
        hold_off(tables)

    monkeypatch.setattr(citus, "is_spread", lambda: is_spread)
    monkeypatch.setattr(engine, "hold_off_writers", spy)
    stored(a_report())
    assert postgresql.dump(tmp_path / "a.gz", NOW, quiet)["traffic_usage"] == 1
    assert ('"traffic_usage"' in held) is is_spread


class Contended:
    """Stands in for the making of a dump and is given up for another transaction so many times."""

    def __init__(self, times: int, sqlstate: str = "40P01") -> None:
        self.left, self.sqlstate = times, sqlstate

    def __call__(self, *_: Any) -> Totals:
        if self.left:
            self.left -= 1
            error, cause = OperationalError("deadlock"), Exception()
            cause.sqlstate = self.sqlstate  # type: ignore[attr-defined]
            raise error from cause
        return Totals()


def test_a_dump_that_was_given_up_for_a_report_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_dump", Contended(4))
    assert postgresql.dump(tmp_path / "a.gz", NOW, quiet) == {}


@pytest.mark.parametrize(("times", "sqlstate"), [(5, "40P01"), (1, "53100")])
def test_it_is_not_made_for_ever_nor_for_another_reason(
    times: int, sqlstate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_dump", Contended(times, sqlstate))
    with pytest.raises(OperationalError):
        postgresql.dump(tmp_path / "a.gz", NOW, quiet)


@pytest.mark.parametrize(("shards", "expected"), [(8, [8]), (0, [])])
def test_a_restore_distributes_the_tables_again_as_they_were(
    shards: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "a.gz", list[int]()

    def steps(found: int) -> list[Step]:
        asked.append(found)
        return []

    with gzip.open(path, "w") as file:
        file.write(DUMP)
    monkeypatch.setattr(postgresql, "refuse_company", lambda: None)
    monkeypatch.setattr(postgresql, "put_back", lambda chunks, progress: None)
    monkeypatch.setattr(distribution, "shards_now", lambda: shards)
    monkeypatch.setattr(distribution, "steps", steps)
    monkeypatch.setattr(distribution, "distribute", lambda todo, progress: None)
    found = backups.Backup(NOW, Totals(), set(), False, 0)
    assert backups._restore_postgresql(path, found, quiet).differences == 0
    assert asked == expected

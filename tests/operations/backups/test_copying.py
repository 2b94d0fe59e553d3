"""Copying the whole database. The target is a SQLite file, the source is the database of the tests."""

import io
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from operations.audit import By
from operations.backups import copying
from operations.backups.totals import measure, stored_models
from operations.databases.substitution import as_default, like_default
from tests.traffic.examples import DAY, NOW, a_report, assert_sums_agree, stored
from traffic.models import Subscriber
from traffic.people.changes import switch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@pytest.fixture
def _filled() -> None:
    reports = [
        a_report(NOW - day * DAY, user_token=f"user{n}", event_id=f"{day}")
        for n in range(7)
        for day in range(5)
    ]
    stored(*reports)
    switch(Subscriber.objects.values_list("pk", flat=True)[:2], on=False, by=By("ada", NOW))
    user = User.objects.create_user("ada")
    group = Group.objects.create(name="billing")
    group.permissions.add(*Permission.objects.all()[:3])
    user.groups.add(group)
    user.user_permissions.add(*Permission.objects.all()[2:4])


def run(target: Path | str, *options: str) -> str:
    url = target if isinstance(target, str) else f"sqlite:///{target}"
    output = io.StringIO()
    call_command("copy_traffic", "--to", url, *options, stdout=output, no_color=True)
    return output.getvalue().strip()


def inside(target: Path) -> Any:
    settings = like_default(ENGINE="django.db.backends.sqlite3", NAME=str(target), OPTIONS={})
    return as_default(settings)


def rows(model: Any) -> list[dict[str, Any]]:
    return sorted(model._base_manager.values(), key=str)


def stop_after(steps: int) -> Callable[[str, int, int], None]:
    """Stop like a kill, after the given number of steps."""
    left = steps

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    return progress


@pytest.mark.usefixtures("_filled")
def test_every_row_of_every_table_arrives(target: Path) -> None:
    expected = {model: rows(model) for model in stored_models()}
    said = run(target)
    count = sum(map(len, expected.values()))
    assert (
        said
        == f"Copied {count} rows of {len(expected)} tables; every row was compared and is equal."
    )
    with inside(target):
        for model, wanted in expected.items():
            assert rows(model) == wanted, model
        assert_sums_agree()
        assert User.objects.get().groups.get().name == "billing"
        stored(a_report(user_token="new"))
        assert Subscriber.objects.count() == 8
        call_command("migrate", check_unapplied=True, verbosity=0)
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_an_interrupted_copy_is_resumed(
    target: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "STEP", 10)
    with pytest.raises(KeyboardInterrupt):
        copying.copy(f"sqlite:///{target}", stop_after(steps))
    expected = measure()
    found = copying.copy(f"sqlite:///{target}", lambda *_: None)
    assert found.resumed > 0
    assert found.rows > 0
    with inside(target):
        assert measure() == expected
        assert_sums_agree()


@pytest.mark.usefixtures("_filled")
def test_rows_that_changed_while_the_copy_was_interrupted_are_detected(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "STEP", 10)
    with pytest.raises(KeyboardInterrupt):
        copying.copy(
            f"sqlite:///{target}",
            lambda stage, done, total: stop_after(1)(stage, 0, 0) if stage == "comparing" else None,
        )
    Subscriber.objects.filter(token="user0").update(name="Ann")
    with pytest.raises(
        CommandError,
        match="differs in traffic_subscriber: stop the panel and run the command again with --start",
    ):
        run(target)
    assert run(target, "--start-over").endswith("is equal.")
    with inside(target):
        assert Subscriber.objects.get(token="user0").name == "Ann"


def test_a_panel_that_keeps_counting_is_detected(target: Path) -> None:
    stored(a_report())
    live = like_default()

    def report(stage: str, done: int, total: int) -> None:
        if stage == "traffic_usage":
            with as_default(live):
                stored(a_report(upload=5))

    with pytest.raises(copying.CopyError, match="kept counting"):
        copying.copy(f"sqlite:///{target}", report)


def test_unrelated_data_is_not_touched(target: Path) -> None:
    with closing(sqlite3.connect(target)) as database, database:
        database.execute("CREATE TABLE orders (id)")
    for option in ([], ["--start-over"]):
        with pytest.raises(CommandError, match="holds other tables"):
            run(target, *option)
    with closing(sqlite3.connect(target)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]


def test_a_panel_that_has_data_is_not_overwritten(target: Path) -> None:
    stored(a_report())
    run(target)
    for option in ([], ["--start-over"]):
        with pytest.raises(CommandError, match="holds data"):
            run(target, *option)


def test_a_panel_that_was_only_started_may_be_the_target(target: Path) -> None:
    stored(a_report())
    with inside(target):
        call_command("migrate", verbosity=0)
    assert run(target).endswith("is equal.")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://u:S3cret@h/d",
        "postgres://u:S3cret@127.0.0.1:1/d",
        "",
        "sqlite:////no/where/a.db",
    ],
)
def test_an_invalid_target_is_reported_without_its_password(url: str) -> None:
    with pytest.raises(CommandError) as refused:
        run(url)
    assert "Not copied" in str(refused.value)
    assert "S3cret" not in str(refused.value)


def test_the_panels_own_database_cannot_be_the_target() -> None:
    settings = connections["default"].settings_dict
    if connections["default"].vendor == "sqlite":
        url = f"sqlite:///{settings['NAME']}"
    else:
        place = f"{settings['HOST']}:{settings['PORT']}" if settings["PORT"] else settings["HOST"]
        url = f"postgres://{settings['USER']}:{settings['PASSWORD']}@{place}/{settings['NAME']}"
    with pytest.raises(CommandError, match="already uses"):
        run(url)


@pytest.mark.skipif(connections["default"].vendor != "sqlite", reason="about a file")
@pytest.mark.parametrize("is_link", [True, False])
def test_a_refused_copy_leaves_the_locks_of_the_panels_own_file(
    tmp_path: Path, is_link: bool
) -> None:
    """Without them another process takes itself for the last one, and removes the log that this one still uses."""
    Subscriber.objects.count()  # the connection holds its lock from its first statement on
    own = Path(connections["default"].settings_dict["NAME"])
    (link := tmp_path / "link.db").symlink_to(own)
    with pytest.raises(CommandError, match="already uses"):
        run(f"sqlite:///{link if is_link else own}")
    code = f"import sqlite3; sqlite3.connect({str(own)!r}, timeout=0).execute('PRAGMA journal_mode = DELETE')"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "database is locked" in other.stderr


def test_times_of_creation_are_kept(target: Path) -> None:
    moment = timezone.now() - 400 * DAY
    Subscriber.objects.create(token="old")
    Subscriber.objects.update(created_at=moment)
    run(target)
    with inside(target):
        assert Subscriber.objects.get().created_at == moment

"""``manage.py import_panel``."""

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.moving import moving_in
from integrations.moving.models import OldAccount, OldPanel
from operations.audit import By
from operations.models import AuditEntry
from tests.integrations.moving.conftest import URL
from tests.integrations.moving.conftest import OldPanel as There
from tests.integrations.moving.old_databases import MADE, client, marzban, pasarguard, three_x_ui
from tests.traffic.examples import GB
from traffic.models import Balance, Correction, Subscriber
from traffic.people import changes, erasure

pytestmark = pytest.mark.django_db

BORN = datetime(2026, 1, 15, 9, 30, 32, tzinfo=UTC)


def run(kind: str, source: Any, *options: str, yes: bool = True) -> tuple[str, str]:
    """What the command wrote to its output, and of those whom it left out."""
    out, err = io.StringIO(), io.StringIO()
    asked = [*options, "--yes"] if yes else options
    call_command("import_panel", kind, str(source), *asked, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def last(out: str) -> str:
    return out.splitlines()[-1]


def test_people_of_marzban_move_in_with_all_that_can_be_said(tmp_path: Path) -> None:
    users: list[dict[str, Any]] = [
        {
            "username": "alice",
            "used_traffic": 5 * GB,
            "data_limit": 50 * GB,
            "expire": 1_830_000_000,
            "note": "paid",
            "data_limit_reset_strategy": "month",
        },
        {"username": "bob", "status": "disabled"},
        {"username": "carol", "status": "on_hold", "on_hold_expire_duration": 30 * 86_400},
    ]
    old = marzban(tmp_path / "db.sqlite3", users, resets=[(1, "2026-02-01 00:00:00.000000")])
    out, err = run("marzban", old)
    assert last(out) == "Moved in 3 people from Marzban; 0 had moved in before, 0 were left out."
    assert err == ""
    alice, bob, carol = Subscriber.objects.order_by("id")
    assert (alice.name, alice.note, alice.data_limit) == ("alice", "paid", 50 * GB)
    assert alice.expires_at == datetime.fromtimestamp(1_830_000_000, UTC)
    assert (alice.limit_reset, alice.reset_days) == ("interval", 30)
    assert alice.started_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert (alice.is_active, bob.is_active, carol.is_active) == (True, False, True)
    assert (carol.hold_days, carol.expires_at) == (30, None)


def test_what_was_used_is_a_correction_so_that_all_sums_agree(tmp_path: Path) -> None:
    run("marzban", marzban(tmp_path / "db", [{"used_traffic": 5 * GB + 0.5}]))
    correction = Correction.objects.get()
    assert (correction.upload, correction.download) == (0, 5 * GB)
    assert correction.reason == "Used at Marzban before moving in"
    balance = Balance.objects.get()
    assert balance.period_download == balance.life_download == balance.corrected_download == 5 * GB
    call_command("check_traffic")


def test_each_person_is_in_the_audit_trail(tmp_path: Path) -> None:
    run("marzban", marzban(tmp_path / "db", [{"used_traffic": GB}]))
    entries = AuditEntry.objects.filter(target_kind="traffic.subscriber")
    found = set(entries.values_list("action", "author"))
    assert found == {("added", "import_panel"), ("corrected", "import_panel")}


def test_a_second_run_makes_nobody_and_says_so(tmp_path: Path) -> None:
    old = marzban(tmp_path / "db", [{"username": "alice"}, {"username": "bob"}])
    run("marzban", old)
    out, err = run("marzban", old)
    assert out == (
        "Nothing new: nobody was moved in from Marzban; 2 had moved in before, 0 were left out.\n"
    )
    assert (Subscriber.objects.count(), err) == (2, "")


def test_whoever_was_changed_here_since_is_not_overwritten(tmp_path: Path) -> None:
    old = marzban(tmp_path / "db", [{"data_limit": GB}])
    run("marzban", old)
    Subscriber.objects.update(data_limit=7 * GB, name="Alice of the shop", note="ours")
    run("marzban", old)
    alice = Subscriber.objects.get()
    assert (alice.data_limit, alice.name, alice.note) == (7 * GB, "Alice of the shop", "ours")


def test_whoever_was_deleted_here_since_does_not_come_back(tmp_path: Path) -> None:
    old = marzban(tmp_path / "db", [{}])
    run("marzban", old)
    changes.hide(Subscriber, [Subscriber.objects.get().pk], _by())
    _out, err = run("marzban", old)
    assert err == "alice: has moved in before, and was deleted here since\n"
    assert Subscriber.objects.count() == 1


def test_a_name_that_is_in_use_is_left_out_and_named(tmp_path: Path) -> None:
    Subscriber.objects.create(name="Alice")
    out, err = run("marzban", marzban(tmp_path / "db", [{}, {"username": "bob"}]))
    assert err == "alice: a subscriber has this name already\n"
    assert last(out) == "Moved in 1 person from Marzban; 0 had moved in before, 1 were left out."
    assert sorted(Subscriber.objects.values_list("name", flat=True)) == ["Alice", "bob"]


def test_with_same_names_they_are_two_people(tmp_path: Path) -> None:
    Subscriber.objects.create(name="alice")
    run("marzban", marzban(tmp_path / "db", [{}]), "--same-names")
    assert Subscriber.objects.filter(name="alice").count() == 2


def test_a_name_of_somebody_deleted_is_free(tmp_path: Path) -> None:
    Subscriber.objects.create(name="alice", hidden_at=BORN)
    run("marzban", marzban(tmp_path / "db", [{}]))
    assert Subscriber.objects.visible().filter(name="alice").count() == 1


def test_another_account_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    run("marzban", marzban(tmp_path / "one", [{}]))
    later = marzban(tmp_path / "two", [{"created_at": "2026-03-01 00:00:00"}])
    _out, err = run("marzban", later)
    assert err == "alice: is another account than the one that has moved in under this name\n"


def test_another_panel_needs_a_name_of_its_own(tmp_path: Path) -> None:
    run("marzban", marzban(tmp_path / "one", [{}]))
    other = marzban(tmp_path / "two", [{"username": "bob"}], secret="0" * 64)
    with pytest.raises(CommandError, match="another panel of this kind"):
        run("marzban", other)
    assert Subscriber.objects.count() == 1
    run("marzban", other, "--name", "Berlin")
    assert set(OldPanel.objects.values_list("name", flat=True)) == {"Marzban", "Berlin"}


def test_a_dry_run_shows_everybody_and_makes_nobody(tmp_path: Path) -> None:
    users: list[dict[str, Any]] = [
        {"used_traffic": 5 * GB, "data_limit": 50 * GB},
        {"username": "bob"},
    ]
    out, _err = run("marzban", marzban(tmp_path / "db", users), "--dry-run", yes=False)
    head, alice, bob, end = out.splitlines()
    assert head.split() == ["name", "state", "used", "limit", "ends", "reset", "link"]
    assert alice.split() == [
        "alice", "active", "5.00", "GB", "50.00", "GB", "never", "never", "old", "ones", "work",
    ]  # fmt: skip
    assert bob.split()[:3] == ["bob", "active", "0"]
    assert end == "Would move in 2 people; 0 had moved in before, 0 were left out."
    assert not Subscriber.objects.exists()
    assert not OldPanel.objects.exists()


def test_without_a_terminal_it_asks_for_yes_and_makes_nobody(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Nobody was moved in: there is no terminal to ask on"):
        run("marzban", marzban(tmp_path / "db", [{}]), yes=False)
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize(("answered", "made"), [("yes", 1), ("no", 0)])
def test_on_a_terminal_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: str, made: int
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answered)
    old = marzban(tmp_path / "db", [{}])
    if made:
        run("marzban", old, yes=False)
    else:
        with pytest.raises(CommandError, match=r"Nobody was moved in\."):
            run("marzban", old, yes=False)
    assert Subscriber.objects.count() == made


def test_stopped_halfway_a_second_run_moves_in_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving_in, "STEP", 2)
    old = marzban(tmp_path / "db", [{"username": f"user{n}", "used_traffic": n} for n in range(5)])
    real = moving_in._move_step

    def killed_in_the_second_step(*args: Any) -> Any:
        if Subscriber.objects.count() == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(moving_in, "_move_step", killed_in_the_second_step)
    with pytest.raises(KeyboardInterrupt):
        run("marzban", old)
    assert Subscriber.objects.count() == 2
    monkeypatch.setattr(moving_in, "_move_step", real)
    out, _err = run("marzban", old)
    assert last(out) == "Moved in 3 people from Marzban; 2 had moved in before, 0 were left out."
    assert sorted(Correction.objects.values_list("download", flat=True)) == [1, 2, 3, 4]


def test_a_row_that_cannot_be_read_is_named_and_the_others_move_in(tmp_path: Path) -> None:
    users = [{"data_limit": "much"}, {"username": "bob"}]
    out, err = run("marzban", marzban(tmp_path / "db", users))
    assert err == "alice: data_limit cannot be read\n"
    assert last(out) == "Moved in 1 person from Marzban; 0 had moved in before, 1 were left out."


def test_ten_thousand_people_take_few_queries(tmp_path: Path) -> None:
    users = [{"username": f"user{number}", "used_traffic": GB} for number in range(10_000)]
    old = marzban(tmp_path / "db", users)
    with CaptureQueriesContext(connection) as queries:
        run("marzban", old)
    assert Subscriber.objects.count() == 10_000
    assert len(queries) < 900


def test_an_erased_person_leaves_no_trace(tmp_path: Path) -> None:
    run("marzban", marzban(tmp_path / "db", [{"used_traffic": GB}]))
    erasure.erase(Subscriber.objects.get(name="alice"), _by())
    assert not OldAccount.objects.exists()


# 3x-ui


def test_people_of_3x_ui_keep_their_tokens(tmp_path: Path) -> None:
    clients = [
        client("anna", totalGB=10 * GB, expiryTime=1_830_000_000_000, comment="paid"),
        client("boris", enable=False),
        client("clara", expiryTime=-30 * 86_400_000),
    ]
    out, _err = run("3x-ui", three_x_ui(tmp_path / "x-ui.db", clients, {"anna": (GB, 2 * GB)}))
    assert last(out) == "Moved in 3 people from 3x-ui; 0 had moved in before, 0 were left out."
    anna, boris, clara = Subscriber.objects.order_by("id")
    assert (anna.token, anna.data_limit, anna.note) == ("sub-of-anna", 10 * GB, "paid")
    assert anna.expires_at == datetime.fromtimestamp(1_830_000_000, UTC)
    assert (anna.balance.period_upload, anna.balance.period_download) == (GB, 2 * GB)
    assert (boris.is_active, clara.hold_days, clara.expires_at) == (False, 30, None)


def test_a_client_whom_3x_ui_has_switched_off_for_its_limit_or_end_is_not_switched_off_here(
    tmp_path: Path,
) -> None:
    clients = [
        client("used-up", enable=False, totalGB=GB),
        client("not-used-up", enable=False, totalGB=GB),
        client("expired", enable=False, expiryTime=1_700_000_000_000),
        client("not-expired", enable=False, expiryTime=4_000_000_000_000),
    ]
    used = {"used-up": (1, GB - 1), "not-used-up": (0, GB - 1)}
    out, _err = run("3x-ui", three_x_ui(tmp_path / "x-ui.db", clients, used))
    states = [line.split()[1] for line in out.splitlines()[1:5]]
    assert states == ["limited", "disabled", "expired", "disabled"]


def test_clients_with_one_subscription_are_one_person_and_the_table_says_so(
    tmp_path: Path,
) -> None:
    clients = [
        client("anna-1", subId="one", totalGB=GB, expiryTime=1_830_000_000_000),
        client("anna-2", subId="one", totalGB=2 * GB, expiryTime=1_840_000_000_000),
    ]
    used = {"anna-1": (1, 2), "anna-2": (10, 20)}
    out, _err = run("3x-ui", three_x_ui(tmp_path / "x-ui.db", clients, used))
    assert "several clients with one subscription; the clients' ends differ" in out
    anna = Subscriber.objects.get()
    assert (anna.name, anna.token, anna.data_limit) == ("anna-1", "one", 3 * GB)
    assert anna.expires_at == datetime.fromtimestamp(1_840_000_000, UTC)
    assert anna.note == "3x-ui: anna-1, anna-2"
    assert (anna.balance.period_upload, anna.balance.period_download) == (11, 22)


@pytest.mark.parametrize(
    ("there", "here"), [("never", "never"), ("daily", "daily"), ("monthly", "monthly")]
)
def test_the_reset_of_an_inbound_is_that_of_its_clients(
    tmp_path: Path, there: str, here: str
) -> None:
    run("3x-ui", three_x_ui(tmp_path / "db", [client("anna")], resets=there))
    assert Subscriber.objects.get().limit_reset == here


def test_what_cannot_be_said_here_is_told(tmp_path: Path) -> None:
    clients = [client("anna", subId="анна", reset=30)]
    out, _err = run("3x-ui", three_x_ui(tmp_path / "db", clients, resets="hourly"))
    assert "gets a new link, because the old one has odd characters" in out
    assert "renews by itself there, and ends here" in out
    assert "usage is reset hourly there, and never here" in out
    assert Subscriber.objects.get().token != "анна"


def test_a_token_that_is_in_use_is_left_out_and_named(tmp_path: Path) -> None:
    Subscriber.objects.create(name="somebody", token="sub-of-anna")
    _out, err = run("3x-ui", three_x_ui(tmp_path / "db", [client("anna")]))
    assert err == "anna: a subscriber has this token, or had it before\n"


def test_a_token_that_somebody_had_before_is_left_out(tmp_path: Path) -> None:
    other = Subscriber.objects.create(name="somebody", token="sub-of-anna")
    changes.renew_tokens([other.pk], _by())
    _out, err = run("3x-ui", three_x_ui(tmp_path / "db", [client("anna")]))
    assert err == "anna: a subscriber has this token, or had it before\n"


def test_the_table_of_clients_of_version_3_is_newer_than_the_inbounds(tmp_path: Path) -> None:
    old = three_x_ui(tmp_path / "db", [client("anna", totalGB=GB)])
    with closing(sqlite3.connect(old)) as database:
        database.executescript(
            "CREATE TABLE clients (id INTEGER PRIMARY KEY, email, sub_id, total_gb, enable);"
            "INSERT INTO clients VALUES (1, 'anna', 'newer', 2147483648, 1)"
        )
    run("3x-ui", old)
    anna = Subscriber.objects.get()
    assert (anna.token, anna.data_limit) == ("newer", 2 * GB)


# Files


def test_the_database_is_not_touched(tmp_path: Path) -> None:
    old = marzban(tmp_path / "db.sqlite3", [{}])
    before = old.read_bytes(), old.stat().st_mtime_ns
    old.chmod(0o400)
    run("marzban", old)
    assert (old.read_bytes(), old.stat().st_mtime_ns) == before
    assert [path.name for path in tmp_path.iterdir()] == ["db.sqlite3"]


def test_changes_that_lie_beside_the_database_are_read(tmp_path: Path) -> None:
    with _running(tmp_path / "x-ui.db") as old:
        run("3x-ui", old)
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"anna", "late"}


def test_so_are_those_beside_a_copy_where_nothing_is_left(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with _running(tmp_path / "x-ui.db") as old:
        for ending in ("", "-wal"):
            (tmp_path / f"copy.db{ending}").write_bytes(
                old.with_name(old.name + ending).read_bytes()
            )
    run("3x-ui", copy)
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"anna", "late"}
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith("copy")}
    assert left == {"copy.db", "copy.db-wal"}


def test_a_damaged_database_is_refused_and_makes_nobody(tmp_path: Path) -> None:
    users = [{"username": f"user{number}", "note": "n" * 400} for number in range(500)]
    old = marzban(tmp_path / "db", users)
    content = bytearray(old.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = b"\xaa" * 20_000
    old.write_bytes(content)
    with pytest.raises(CommandError, match="The database is damaged"):
        run("marzban", old)
    assert not Subscriber.objects.exists()


def test_half_a_database_is_refused(tmp_path: Path) -> None:
    users = [{"username": f"user{number}", "note": "n" * 400} for number in range(500)]
    old = marzban(tmp_path / "db", users)
    old.write_bytes(old.read_bytes()[: old.stat().st_size // 2])
    with pytest.raises(CommandError, match="The database is damaged"):
        run("marzban", old)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "not an SQLite database"), (b"x" * 9999, "not an SQLite")],
)
def test_a_file_that_is_no_database_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "db").write_bytes(content)
    with pytest.raises(CommandError, match=message):
        run("marzban", tmp_path / "db")


def test_the_database_of_another_panel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not one of such a panel"):
        run("3x-ui", marzban(tmp_path / "db", [{}]))


def test_remnawave_has_no_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no database in a file"):
        run("remnawave", marzban(tmp_path / "db", [{}]))


def test_a_pasarguard_database_is_read(tmp_path: Path) -> None:
    users = [{"expire": "2027-01-31 12:00:00.000000", "used_traffic": GB}]
    run("pasarguard", pasarguard(tmp_path / "db", users))
    assert Subscriber.objects.get().expires_at == datetime(2027, 1, 31, 12, tzinfo=UTC)
    assert OldAccount.objects.get().number == 1


# Running panels


def test_a_running_marzban_is_read_page_by_page(there: There, tmp_path: Path) -> None:
    there.answers["/api/users"] = [
        _user(f"user{number}", used_traffic=number) for number in range(201)
    ]
    (tmp_path / "password").write_text("s3cr3t\n")
    out, _err = run(
        "marzban", URL, "--username", "admin", "--password-file", str(tmp_path / "password")
    )
    assert last(out) == "Moved in 201 people from Marzban; 0 had moved in before, 0 were left out."
    assert there.asked == [
        "POST /api/admin/token",
        "GET /api/users?offset=0&limit=200&sort=created_at",
        "GET /api/users?offset=200&limit=200&sort=created_at",
    ]
    alice = Subscriber.objects.get(name="user7")
    assert alice.balance.period_download == 7


def test_over_the_api_an_interval_counts_from_the_day_the_user_was_made(
    there: There, tmp_path: Path
) -> None:
    there.answers["/api/users"] = [_user("alice", data_limit_reset_strategy="week")]
    run("marzban", URL, *_login(tmp_path))
    alice = Subscriber.objects.get()
    assert (alice.limit_reset, alice.reset_days, alice.started_at) == ("interval", 7, BORN)


def test_the_file_and_the_running_panel_are_the_same_panel(there: There, tmp_path: Path) -> None:
    run("marzban", marzban(tmp_path / "db", [{"used_traffic": 5}]))
    there.answers["/api/users"] = [_user("alice", used_traffic=9)]
    out, _err = run("marzban", URL, *_login(tmp_path))
    assert last(out).startswith("Nothing new")
    assert Balance.objects.get().period_download == 5


def test_a_running_3x_ui_is_read_with_a_token(there: There, tmp_path: Path) -> None:
    inbound = {
        "id": 1,
        "settings": '{"clients": [{"email": "anna", "subId": "abc", "enable": true, "totalGB": 5}]}',
        "trafficReset": "weekly",
        "clientStats": [{"email": "anna", "up": 1, "down": 2}],
    }
    there.answers["/panel/api/inbounds/list"] = {"success": True, "obj": [inbound]}
    (tmp_path / "token").write_text("t0k3n")
    run("3x-ui", URL, "--token-file", str(tmp_path / "token"))
    anna = Subscriber.objects.get()
    assert (anna.token, anna.data_limit, anna.limit_reset) == ("abc", 5, "weekly")
    assert (anna.balance.period_upload, anna.balance.period_download) == (1, 2)


def test_a_running_3x_ui_of_version_2_is_read_with_a_password(there: There, tmp_path: Path) -> None:
    there.answers["/panel/api/inbounds/list"] = {"success": True, "obj": None}
    out, _err = run("3x-ui", URL, *_login(tmp_path))
    assert last(out).startswith("Nothing new")
    assert there.asked == ["POST /login", "GET /panel/api/inbounds/list"]


@pytest.mark.parametrize(
    ("strategy", "rule", "day"),
    [("NO_RESET", "never", 1), ("MONTH", "monthly", 1), ("MONTH_ROLLING", "monthly", 15)],
)
def test_a_running_remnawave_is_read_and_its_short_ids_are_kept(
    there: There, tmp_path: Path, strategy: str, rule: str, day: int
) -> None:
    user = {
        "username": "anna",
        "shortUuid": "aB3_x-9",
        "status": "LIMITED",
        "trafficLimitBytes": 5,
        "trafficLimitStrategy": strategy,
        "expireAt": "2027-01-31T12:00:00.000Z",
        "description": "paid",
        "createdAt": "2026-01-15T09:30:32.000Z",
        "userTraffic": {"usedTrafficBytes": 7},
    }
    there.answers["/api/users/stream"] = {"response": {"users": [user], "nextCursor": None}}
    (tmp_path / "token").write_text("t0k3n")
    run("remnawave", URL, "--token-file", str(tmp_path / "token"))
    anna = Subscriber.objects.get()
    assert (anna.token, anna.data_limit, anna.note) == ("aB3_x-9", 5, "paid")
    assert (anna.is_active, anna.limit_reset, anna.reset_day) == (True, rule, day)
    assert anna.expires_at == datetime(2027, 1, 31, 12, tzinfo=UTC)
    assert anna.balance.period_download == 7


def test_a_running_pasarguard_is_read_with_a_key(there: There, tmp_path: Path) -> None:
    there.answers["/api/users"] = [_user("alice", id=7, expire="2027-01-31T12:00:00Z")]
    (tmp_path / "token").write_text("pg_key_1")
    run("pasarguard", URL, "--token-file", str(tmp_path / "token"))
    assert Subscriber.objects.get().expires_at == datetime(2027, 1, 31, 12, tzinfo=UTC)
    assert (OldAccount.objects.get().key, OldAccount.objects.get().number) == ("7", 7)
    assert b"X-Api-Key: pg_key_1" in there.requests[0]


def test_a_panel_that_does_not_answer_is_told_in_a_sentence(there: There, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Nobody was moved in: The host name was not found\."):
        run("marzban", "https://nowhere.example.com", *_login(tmp_path))


def test_an_answer_of_something_else_is_told(there: There, tmp_path: Path) -> None:
    there.answers["/api/users/stream"] = {"hello": "world"}
    (tmp_path / "token").write_text("t0k3n")
    with pytest.raises(CommandError, match="The answer is not that of such a panel"):
        run("remnawave", URL, "--token-file", str(tmp_path / "token"))


def test_a_password_is_never_asked_without_a_terminal(there: There) -> None:
    with pytest.raises(CommandError, match="Give --username: there is no terminal to ask on"):
        run("marzban", URL)
    with pytest.raises(CommandError, match="Give --password-file: there is no terminal to ask on"):
        run("marzban", URL, "--username", "admin")
    with pytest.raises(CommandError, match="Give --token-file: there is no terminal to ask on"):
        run("remnawave", URL)
    assert there.asked == []


def test_marzban_has_no_tokens(there: There, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n")
    with pytest.raises(CommandError, match="Marzban has no API tokens: give --username"):
        run("marzban", URL, "--token-file", str(tmp_path / "token"))


def _login(tmp_path: Path) -> list[str]:
    (tmp_path / "password").write_text("s3cr3t\n")
    return ["--username", "admin", "--password-file", str(tmp_path / "password")]


def _user(name: str, **more: Any) -> dict[str, Any]:
    """A user as Marzban's API lists them."""
    return {
        "username": name,
        "status": "active",
        "used_traffic": 0,
        "data_limit": None,
        "data_limit_reset_strategy": "no_reset",
        "expire": None,
        "note": None,
        "created_at": MADE.replace(" ", "T"),
    } | more


@contextmanager
def _running(path: Path) -> Iterator[Path]:
    """A 3x-ui that writes ahead: its last client is not in the file itself."""
    three_x_ui(path, [client("anna")])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE inbounds SET settings = replace(settings, ']}', ?)", [_LATE])
        database.commit()
        yield path


_LATE = ', {"email": "late", "subId": "late", "enable": true}]}'


def _by() -> By:
    return By("ada", BORN + timedelta(days=400))

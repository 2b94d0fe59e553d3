import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from pytest_django import Settings

from traffic import subscriber_import
from traffic.audit import By
from traffic.models import MAX_COUNTER, AuditEntry, Subscriber

from .examples import GB, NOW

pytestmark = pytest.mark.django_db

FULL = """name,token,note,data_limit,expires,limit_reset,reset_day,active
Anna,anna-token,"paid, until spring
by card",50GB,2027-01-31,monthly,15,yes
Bob,,,,,,,no
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def run(file: Path, content: str | bytes, *options: str) -> tuple[str, str]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    output, complaints = io.StringIO(), io.StringIO()
    call_command("import_subscribers", str(file), *options, stdout=output, stderr=complaints, no_color=True)
    return output.getvalue().strip(), complaints.getvalue().strip()


def refused(file: Path, content: str | bytes, *options: str) -> str:
    """What is complained of when nothing is made."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = Subscriber.objects.count()
    complaints = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was made"):
        call_command("import_subscribers", str(file), *options, stdout=io.StringIO(), stderr=complaints, no_color=True)
    assert Subscriber.objects.count() == before
    return complaints.getvalue().strip()


def test_every_column_is_taken(file: Path) -> None:
    assert run(file, FULL) == ("Made 2 subscribers; 0 lines were bad.", "")
    anna = Subscriber.objects.get(name="Anna")
    assert (anna.token, anna.note) == ("anna-token", "paid, until spring\nby card")
    assert (anna.data_limit, anna.limit_reset, anna.reset_day, anna.is_active) == (50 * GB, "monthly", 15, True)
    assert anna.expires_at == datetime(2027, 2, 1, tzinfo=UTC), "the day counts to its end"
    bob = Subscriber.objects.get(name="Bob")
    assert len(bob.token) >= 32
    assert (bob.note, bob.data_limit, bob.expires_at, bob.limit_reset, bob.is_active) == (
        "",
        None,
        None,
        "never",
        False,
    )


def test_days_end_in_the_operators_zone(file: Path, settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    run(file, "name,expires\nAnna,2027-01-31\nBob,2027-01-31 12:00\nCat,2027-01-31T12:00+00:00\n")
    assert list(Subscriber.objects.order_by("name").values_list("expires_at", flat=True)) == [
        datetime(2027, 1, 31, 21, tzinfo=UTC),
        datetime(2027, 1, 31, 9, tzinfo=UTC),
        datetime(2027, 1, 31, 12, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "name\nAnna\n",
        "token\nanna\n",
        "\ufeffname,token\r\nAnna,anna\r\n",
        "name;token\nAnna;anna\n",
        " Name , TOKEN \n Anna , anna \n\n , \n",
        "name,data_limit,expires\nAnna,0,0\n",
        'name,note\nAnna,""\n',
    ],
)
def test_files_of_all_kinds_are_read(file: Path, content: str) -> None:
    assert run(file, content)[0] == "Made 1 subscribers; 0 lines were bad."
    found = Subscriber.objects.get()
    assert found.name in {"Anna", ""}
    assert (found.data_limit, found.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",two words,,,,,,", "token: 1 to 255 characters"),
        (",global,,,,,,", "token: 1 to 255 characters"),
        (",,,,,,,", None),
        (",,a note,,,,,", "Neither a name nor a token."),
        ("Anna,,,fifty,,,,", "data_limit: “fifty” is not a size"),
        ("Anna,,,-5GB,,,,", "data_limit: “-5GB” is not a size"),
        ("Anna,,,1025PB,,,,", "data_limit: Expected 1024 PB at most."),
        ("Anna,,,,soon,,,", "expires: “soon” is not a date. Write for example 2027-01-31."),
        ("Anna,,,,2027-02-30,,,", "expires: “2027-02-30” is not a date"),
        ("Anna,,,,,yearly,,", "limit_reset: Expected one of never, daily, weekly, monthly."),
        ("Anna,,,,,,32,", "reset_day: Expected a day from 1 to 31."),
        ("Anna,,,,,,x,", "reset_day: Expected a day from 1 to 31."),
        ("Anna,,,,,,,perhaps", "active: Expected yes or no."),
        ("An\x07na,,,,,,,", "name: Expected visible characters."),
        ("Anna,,a\x00b,,,,,", "note: Expected text."),
        (f"{'n' * 201},,,,,,,", "name: Ensure this value has at most 200 characters"),
        ("Anna,anna", "2 cells instead of 8."),
        ("Anna,,,,,,,,more", "9 cells instead of 8."),
        ("Anna,good,,,,,,", "token: line 2 has the same."),
        ("Anna,taken,,,,,,", "token: Another subscriber has it."),
        ("Anna,deleted,,,,,,", "token: Another subscriber has it."),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_made(file: Path, line: str, message: str | None) -> None:
    Subscriber.objects.create(token="taken")
    Subscriber.objects.create(token="deleted", hidden_at=NOW)
    header = FULL.partition("\n")[0]
    content = f"{header}\nGood,good,,,,,,\n{line}\n"
    if message is None:
        assert run(file, content)[0] == "Made 1 subscribers; 0 lines were bad."
        return
    assert refused(file, content).startswith(f"line 3: {message}")
    assert run(file, content, "--skip-bad")[0] == "Made 1 subscribers; 1 lines were bad."
    assert Subscriber.objects.filter(token="good").exists()


def test_the_largest_limit_is_taken(file: Path) -> None:
    run(file, "name,data_limit\nAnna,1024PB\nBob,1B\n")
    assert set(Subscriber.objects.values_list("data_limit", flat=True)) == {MAX_COUNTER, 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: The first line must name the columns"),
        ("Anna,anna\n", "line 1: Unknown columns: anna, anna. Known are: name, token, note"),
        ("name,phone\nAnna,1\n", "line 1: Unknown columns: phone. Known are: name, token, note"),
        ("name,\nAnna,\n", "line 1: Unknown columns: “”."),
        ("name,Name\nAnna,Anna\n", "line 1: Columns that come twice: name."),
        ("note\nhello\n", "line 1: The first line must name the columns"),
        ('name\nAnna\n"Bob\n', "line 3: This is no CSV"),
        (b"name\nAnna\n\xff\xfe\n", "line 3: The file is not UTF-8 text"),
        (b"name\n" + b"x" * subscriber_import.MAX_BYTES, "The file is larger than 16 MiB."),
    ],
)
def test_a_file_that_is_none_is_told_with_its_line(file: Path, content: str | bytes, message: str) -> None:
    assert refused(file, content).startswith(message)


def test_a_file_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_import, "MAX_ROWS", 2)
    assert run(file, "name\na\nb\n")[0] == "Made 2 subscribers; 0 lines were bad."
    assert refused(file, "name\na\nb\nc\n") == "line 4: The file has more than 2 lines."


def test_lines_are_counted_as_an_editor_counts_them(file: Path) -> None:
    assert refused(file, 'name,note,active\na,"1\n2\n3",yes\n\nb,,perhaps\n') == "line 6: active: Expected yes or no."


def test_all_bad_lines_are_named(file: Path) -> None:
    complaints = refused(file, "name,active\na,1\nb,x\nc,0\nd,y\n").splitlines()
    assert [complaint.partition(":")[0] for complaint in complaints] == ["line 3", "line 5"]


def test_a_dry_run_makes_nothing(file: Path) -> None:
    assert run(file, FULL, "--dry-run")[0] == "Would make 2 subscribers; 0 lines are bad."
    assert not Subscriber.objects.exists()
    refused(file, "name,active\na,x\n", "--dry-run")


def test_a_file_of_bad_lines_only_makes_nothing_even_when_they_are_skipped(file: Path) -> None:
    assert refused(file, "name,active\na,x\n", "--skip-bad") == "line 2: active: Expected yes or no."


def test_no_token_stands_in_a_complaint(file: Path) -> None:
    token = "s3cret-token-of-anna"
    Subscriber.objects.create(token=token)
    assert token not in refused(file, f"name,token\nAnna,{token}\nBob,{token} x\n")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("import_subscribers", str(tmp_path / "nowhere.csv"))


@time_machine.travel(NOW, tick=False)
def test_each_new_subscriber_is_noted_with_its_author(file: Path) -> None:
    run(file, FULL)
    found: list[Any] = list(AuditEntry.objects.order_by("id").values_list("subscriber__name", "action", "author", "at"))
    assert found == [(name, "added", "import_subscribers", NOW) for name in ("Anna", "Bob")]


def test_a_token_that_was_taken_meanwhile_stops_all(file: Path) -> None:
    parsed = subscriber_import.read(FULL.encode())
    Subscriber.objects.create(token="anna-token")
    with pytest.raises(IntegrityError):
        subscriber_import.store(parsed.subscribers.values(), By("me", NOW))


def test_reading_writes_nothing_and_asks_once_for_many(django_assert_num_queries: Any) -> None:
    content = "name,token\n" + "".join(f"n{n},t{n}\n" for n in range(1200))
    with django_assert_num_queries(3):
        parsed = subscriber_import.read(content.encode())
    assert len(parsed.subscribers) == 1200

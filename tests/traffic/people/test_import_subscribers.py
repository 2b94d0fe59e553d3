import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from pytest_django import Settings

from operations.audit import By
from operations.models import AuditEntry
from tests.traffic.examples import GB, NOW
from traffic.models import MAX_COUNTER, Reseller, Subscriber
from traffic.people import csv_import

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
    call_command(
        "import_subscribers", str(file), *options, stdout=output, stderr=complaints, no_color=True
    )
    return output.getvalue().strip(), complaints.getvalue().strip()


def refused(file: Path, content: str | bytes, *options: str) -> str:
    """The error message when nothing is created."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = Subscriber.objects.count()
    complaints = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was imported"):
        call_command(
            "import_subscribers",
            str(file),
            *options,
            stdout=io.StringIO(),
            stderr=complaints,
            no_color=True,
        )
    assert Subscriber.objects.count() == before
    return complaints.getvalue().strip()


def test_every_column_is_taken(file: Path) -> None:
    assert run(file, FULL) == ("Imported 2 subscribers; 0 lines were bad.", "")
    anna = Subscriber.objects.get(name="Anna")
    assert (anna.token, anna.note) == ("anna-token", "paid, until spring\nby card")
    assert (anna.data_limit, anna.limit_reset, anna.reset_day, anna.is_active) == (
        50 * GB,
        "monthly",
        15,
        True,
    )
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


def test_a_period_of_days_is_taken(file: Path) -> None:
    run(file, "name,limit_reset,reset_days\nAnna,interval,45\nBob,interval,\n")
    found = Subscriber.objects.order_by("pk").values_list("limit_reset", "reset_days")
    assert list(found) == [("interval", 45), ("interval", 30)]


@pytest.mark.parametrize("days", ["0", "3651", "99999999", "0000199999", "-1", "1.5", "ten"])
def test_impossible_days_of_a_period_are_refused(file: Path, days: str) -> None:
    complaints = refused(file, f"name,reset_days\nAnna,{days}\n")
    assert complaints == "line 2: reset_days: Expected a number of days from 1 to 3650."


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
    assert run(file, content)[0] == "Imported 1 subscribers; 0 lines were bad."
    found = Subscriber.objects.get()
    assert found.name in {"Anna", ""}
    assert (found.data_limit, found.expires_at) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\nname;active\nAnna;нет\n",
        "SEP=,\r\nname,active\r\nAnna,no\r\n",
        "sep=\t\nname\tactive\nAnna\tЛОЖЬ\n",
        '"sep=;"\nname;active\nAnna;ложь\n',
        "\ufeffsep=|\nname|active\nAnna|FALSE\n",
        "sep=;;\nname;active;\nAnna;false;\n",
        "name\tactive\nAnna\tno\n",
        "name;active;;;\nAnna;no;;;\n;;;;\n",
        "name;active\nAnna;no;;;\n",
        "name,,active\nAnna,,no\n",
        ",name,active\n,Anna,no\n",
        "name;active\rAnna;ЛОЖЬ\r",
        "\n\n;;\nname;active\nAnna;no\n",
        'name,active,note\nAnna,no,"a;b;c;d"\n',
        "name;active;note\nAnna;no;a,b,c,d\n",
    ],
)
def test_the_dialects_of_spreadsheets_are_read(file: Path, content: str) -> None:
    assert run(file, content) == ("Imported 1 subscribers; 0 lines were bad.", "")
    found = Subscriber.objects.get()
    assert (found.name, found.is_active) == ("Anna", False)


def test_blanks_that_do_not_break_are_blanks(file: Path) -> None:
    run(file, "name;expires\nAnna\u00a0B;31.01.2027\u202f12:30\n")
    found = Subscriber.objects.get()
    assert (found.name, found.expires_at) == ("Anna B", datetime(2027, 1, 31, 12, 30, tzinfo=UTC))


@pytest.mark.parametrize("word", ["ИСТИНА", "истина", "Да", "TRUE", "1", ""])
def test_spreadsheets_say_yes_in_english_and_russian(file: Path, word: str) -> None:
    run(file, f"name;active\nAnna;{word}\n")
    assert Subscriber.objects.get().is_active


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("31.01.2027", datetime(2027, 2, 1, tzinfo=UTC)),
        ("1.2.2027", datetime(2027, 2, 2, tzinfo=UTC)),
        ("2027/01/31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027.1.31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("20270131", datetime(2027, 2, 1, tzinfo=UTC)),
        ("31.01.2027 12:30", datetime(2027, 1, 31, 12, 30, tzinfo=UTC)),
        ("31.01.2027 9:30:15", datetime(2027, 1, 31, 9, 30, 15, tzinfo=UTC)),
        ("1801353600", datetime(2027, 1, 31, tzinfo=UTC)),
        ("1801353600000", datetime(2027, 1, 31, tzinfo=UTC)),
        ("253402300799", None),
        ("253402300799000", None),
        ("0", None),
    ],
)
def test_dates_are_read_as_spreadsheets_and_other_panels_write_them(
    file: Path, written: str, end: datetime | None
) -> None:
    run(file, f"name;expires\nAnna;{written}\n")
    assert Subscriber.objects.get().expires_at == end


@pytest.mark.parametrize(
    "written",
    ["31/01/2027", "01/31/2027", "31.01.27", "31.13.2027", "30.02.2027", "31-01-2027", "46418", "1,80135E+09",
     "-1801353600", "١٨٠١٣٥٣٦٠٠", "31.01.2027x"],
)  # fmt: skip
def test_a_date_that_may_mean_another_is_refused(file: Path, written: str) -> None:
    assert "is not a date" in refused(file, f"name;expires\nAnna;{written}\n")


def test_lines_are_counted_with_the_line_that_names_the_separator(file: Path) -> None:
    assert refused(file, "sep=;\nname;active\nAnna;perhaps\n").startswith("line 3: active")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",two words,,,,,,", "token: 1 to 255 characters"),
        (",global,,,,,,", "token: 1 to 255 characters"),
        (",,,,,,,", None),
        (",,a note,,,,,", "Expected a name or a token."),
        ("Anna,,,fifty,,,,", "data_limit: “fifty” is not a size"),
        ("Anna,,,-5GB,,,,", "data_limit: “-5GB” is not a size"),
        ("Anna,,,1025PB,,,,", "data_limit: Expected at most 1024 PB."),
        ("Anna,,,50,,,,", "data_limit: Is “50” in GB? Write the unit, for example 50 GB."),
        ("Anna,,,53687091200,,,,", "data_limit: Is “53687091200” in GB? Write the unit"),
        ("Anna,,,0.5B,,,,", "data_limit: “0.5B” is not a size"),
        ("Anna,,,,soon,,,", "expires: “soon” is not a date. Write for example 2027-01-31."),
        ("Anna,,,,2027-02-30,,,", "expires: “2027-02-30” is not a date"),
        (
            "Anna,,,,,hourly,,",
            "limit_reset: Expected one of never, daily, weekly, monthly, yearly, interval.",
        ),
        ("Anna,,,,,,32,", "reset_day: Expected a day from 1 to 31."),
        ("Anna,,,,,,x,", "reset_day: Expected a day from 1 to 31."),
        ("Anna,,,,,,,perhaps", "active: Expected yes or no."),
        ("An\x07na,,,,,,,", "name: Expected visible characters."),
        ("Anna,,a\x00b,,,,,", "note: Expected text."),
        (f"{'n' * 201},,,,,,,", "name: Ensure this value has at most 200 characters"),
        ("Anna,anna", "2 cells instead of 8."),
        ("Anna,,,,,,,,more", "9 cells instead of 8."),
        ("Anna,good,,,,,,", "token: Line 2 has the same token."),
        ("Anna,taken,,,,,,", "token: Another subscriber has this token."),
        ("Anna,deleted,,,,,,", "token: Another subscriber has this token."),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_made(
    file: Path, line: str, message: str | None
) -> None:
    Subscriber.objects.create(token="taken")
    Subscriber.objects.create(token="deleted", hidden_at=NOW)
    header = FULL.partition("\n")[0]
    content = f"{header}\nGood,good,,,,,,\n{line}\n"
    if message is None:
        assert run(file, content)[0] == "Imported 1 subscribers; 0 lines were bad."
        return
    assert refused(file, content).startswith(f"line 3: {message}")
    assert run(file, content, "--skip-bad")[0] == "Imported 1 subscribers; 1 lines were bad."
    assert Subscriber.objects.filter(token="good").exists()


def test_the_largest_limit_is_taken(file: Path) -> None:
    run(file, "name,data_limit\nAnna,1024PB\nBob,1B\n")
    assert set(Subscriber.objects.values_list("data_limit", flat=True)) == {MAX_COUNTER, 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: The first line must name the columns"),
        ("Anna,anna\n", "line 1: Unknown columns: anna, anna. Known columns: name, token, note"),
        (
            "name,phone\nAnna,1\n",
            "line 1: Unknown columns: phone. Known columns: name, token, note",
        ),
        ("name,phone,\nAnna,1,\n", "line 1: Unknown columns: phone. Known columns"),
        ("sep=;\nname;phone\nAnna;1\n", "line 2: Unknown columns: phone."),
        ("sep=;\n", "line 1: The first line must name the columns"),
        ("name,\nAnna,x\n", "line 2: 2 cells instead of 1."),
        ("name,,active\nAnna,x,yes\n", "line 2: A cell is in a column without a name."),
        ("name,Name\nAnna,Anna\n", "line 1: Duplicate columns: name."),
        ("note\nhello\n", "line 1: The first line must name the columns"),
        ('name\nAnna\n"Bob\n', "line 3: This is not a CSV file"),
        (b"name\nAnna\n\xff\xfe\n", "line 3: The file is not UTF-8 text"),
        (b"name\n" + b"x" * csv_import.MAX_BYTES, "The file is larger than 16 MiB."),
    ],
)
def test_an_unreadable_file_is_refused_with_the_line(
    file: Path, content: str | bytes, message: str
) -> None:
    assert refused(file, content).startswith(message)


def test_a_file_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_import, "MAX_ROWS", 2)
    assert run(file, "name\na\nb\n")[0] == "Imported 2 subscribers; 0 lines were bad."
    assert refused(file, "name\na\nb\nc\n") == "line 4: The file has more than 2 lines."


def test_lines_are_counted_as_an_editor_counts_them(file: Path) -> None:
    assert (
        refused(file, 'name,note,active\na,"1\n2\n3",yes\n\nb,,perhaps\n')
        == "line 6: active: Expected yes or no."
    )


def test_all_bad_lines_are_named(file: Path) -> None:
    complaints = refused(file, "name,active\na,1\nb,x\nc,0\nd,y\n").splitlines()
    assert [complaint.partition(":")[0] for complaint in complaints] == ["line 3", "line 5"]


def test_all_faults_of_a_line_are_named(file: Path) -> None:
    Subscriber.objects.create(token="taken")
    content = (
        f"{FULL.partition(chr(10))[0]}\n"
        "Good,twice,,,,,,\n"
        "An\x07na,two words,no\x00te,50,soon,hourly,32,perhaps\n"
        f"{'n' * 201},taken,,much,,,,\n"
        "Bob,twice,,,,,,x\n"
        ",,,50,,,,\n"
        "Cat,,\n"
    )
    first, second, third, fourth, fifth = refused(file, content).splitlines()
    assert first.startswith(
        "line 3: name: Expected visible characters. note: Expected text. data_limit: Is “50”"
    )
    for column in ("expires: ", "limit_reset: ", "reset_day: ", "active: ", "token: 1 to 255"):
        assert first.count(column) == 1
    assert second.startswith("line 4: data_limit: “much” is not a size")
    assert "name: Ensure this value has at most 200 characters" in second
    assert second.endswith("token: Another subscriber has this token.")
    assert third == "line 5: active: Expected yes or no. token: Line 2 has the same token."
    assert fourth.startswith("line 6: data_limit: Is “50” in GB?")
    assert fourth.endswith("Expected a name or a token.")
    assert fifth == "line 7: 3 cells instead of 8."


def test_a_line_with_many_faults_is_one_bad_line(file: Path) -> None:
    content = "name,data_limit,active\nAnna,50,perhaps\nBob,50GB,yes\n"
    assert run(file, content, "--skip-bad")[0] == "Imported 1 subscribers; 1 lines were bad."


def test_a_token_of_a_bad_line_is_in_use_as_well(file: Path) -> None:
    content = "token,active\nsame,perhaps\nsame,yes\n"
    assert refused(file, content).splitlines() == [
        "line 2: active: Expected yes or no.",
        "line 3: token: Line 2 has the same token.",
    ]


def test_a_dry_run_makes_nothing(file: Path) -> None:
    assert run(file, FULL, "--dry-run")[0] == "Would import 2 subscribers; 0 lines are bad."
    assert not Subscriber.objects.exists()
    refused(file, "name,active\na,x\n", "--dry-run")


def test_a_file_of_bad_lines_only_makes_nothing_even_when_they_are_skipped(file: Path) -> None:
    assert (
        refused(file, "name,active\na,x\n", "--skip-bad") == "line 2: active: Expected yes or no."
    )


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
    found: list[Any] = list(
        AuditEntry.objects.order_by("id").values_list("target_name", "action", "author", "at")
    )
    assert found == [(name, "added", "import_subscribers", NOW) for name in ("Anna", "Bob")]


def test_a_token_that_was_taken_meanwhile_stops_all(file: Path) -> None:
    parsed = csv_import.read(FULL.encode())
    Subscriber.objects.create(token="anna-token")
    with pytest.raises(IntegrityError):
        csv_import.store(parsed.subscribers.values(), By("me", NOW))


def test_reading_writes_nothing_and_asks_once_for_many(django_assert_num_queries: Any) -> None:
    content = "name,token\n" + "".join(f"n{n},t{n}\n" for n in range(1200))
    with django_assert_num_queries(3):
        parsed = csv_import.read(content.encode())
    assert len(parsed.subscribers) == 1200


def test_a_limit_of_devices_is_imported(file: Path) -> None:
    run(file, "name,device_limit\nAnna,3\nBob,\nCecil,100\n")
    found = Subscriber.objects.order_by("pk").values_list("device_limit", flat=True)
    assert list(found) == [3, None, 100]


@pytest.mark.parametrize("devices", ["0", "101", "two"])
def test_a_limit_of_devices_that_cannot_be_is_refused(file: Path, devices: str) -> None:
    complaints = refused(file, f"name,device_limit\nAnna,{devices}\n")
    assert complaints == "line 2: device_limit: Expected a number of devices from 1 to 100."


def test_they_are_given_to_a_reseller_within_the_quota(file: Path) -> None:
    ivan = Reseller.objects.create(name="Ivan", people_limit=1)
    with pytest.raises(CommandError, match="at most 1 subscribers"):
        run(file, "name\nAnna\nBob\n", "--reseller", "Ivan")
    assert not Subscriber.objects.exists()
    run(file, "name\nAnna\n", "--reseller", "Ivan")
    assert Subscriber.objects.get().reseller == ivan
    with pytest.raises(CommandError, match="there is no reseller named 'Olga'"):
        run(file, "name\nEva\n", "--reseller", "Olga")

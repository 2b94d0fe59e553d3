from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from tests.subscriptions.examples import subscriber
from traffic.models import MAX_COUNTER, Reseller, Subscriber

pytestmark = pytest.mark.django_db


@pytest.fixture
def create(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command and gives the last line of what it printed."""

    def run(*arguments: str) -> str:
        call_command("create_subscriber", *arguments)
        return capsys.readouterr().out.splitlines()[-1]

    return run


def test_the_url_is_alone_on_the_last_line(create: Any, settings: Settings) -> None:
    settings.XPERT_DOMAIN = "panel.example.com"
    url = create("Anna")
    person = Subscriber.objects.get()
    assert person.name == "Anna"
    assert len(person.token) >= 32
    assert url == f"https://panel.example.com/api/xpert/sub?user_token={person.token}"


def test_without_a_domain_the_url_is_the_panels_own(create: Any, settings: Settings) -> None:
    settings.HOST, settings.PORT = "127.0.0.1", 8123
    assert (
        create("Anna", "--token", "a+b") == "http://127.0.0.1:8123/api/xpert/sub?user_token=a%2Bb"
    )


def test_the_url_works(create: Any) -> None:
    path = create("Anna").partition("8000")[2]
    assert Client().get(path).status_code == 200


def test_a_limit_is_read_with_its_unit(create: Any) -> None:
    create("Anna", "--limit", "50GB")
    assert Subscriber.objects.get().data_limit == 50 * 2**30


@pytest.mark.parametrize(
    ("arguments", "reset"),
    [
        ([], ("never", 1)),
        (["--reset", "weekly"], ("weekly", 1)),
        (["--reset", "monthly"], ("monthly", 1)),
        (["--reset", "monthly", "--reset-day", "31"], ("monthly", 31)),
    ],
)
def test_a_limit_may_reset(create: Any, arguments: list[str], reset: tuple[str, int]) -> None:
    create("Anna", *arguments)
    person = Subscriber.objects.get()
    assert (person.limit_reset, person.reset_day) == reset


def test_a_day_counts_to_its_end_in_the_panels_zone(create: Any, settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    create("Anna", "--expires", "2100-01-31")
    assert Subscriber.objects.get().expires_at == datetime(2100, 1, 31, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2100-01-31T12:00:00+03:00", datetime(2100, 1, 31, 9, tzinfo=UTC)),
        ("2100-01-31 00:00", datetime(2100, 1, 31, tzinfo=UTC)),
        ("2100-01-31T00:00Z", datetime(2100, 1, 31, tzinfo=UTC)),
    ],
)
def test_a_moment_is_that_moment(create: Any, text: str, moment: datetime) -> None:
    create("Anna", "--expires", text)
    assert Subscriber.objects.get().expires_at == moment


def test_today_is_still_to_come(create: Any) -> None:
    with time_machine.travel(datetime(2027, 1, 31, 23, 59, tzinfo=UTC)):
        create("Anna", "--expires", "2027-01-31")
    assert Subscriber.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "NAME must contain visible characters"),
        (["a\nb"], "NAME must contain visible characters"),
        (["\udcff"], "NAME must contain visible characters"),
        (["x" * 201], "name: "),
        (["Anna", "--token", "a b"], "token: "),
        (["Anna", "--token", ""], "token: "),
        (["Anna", "--token", "global"], "token: "),
        (["Anna", "--token", "taken"], "token: "),
        (["Anna", "--limit", "much"], "--limit: 'much' is not a size"),
        (["Anna", "--limit", "0"], "--limit takes"),
        (["Anna", "--limit", f"{MAX_COUNTER + 1}B"], "--limit takes"),
        (["Anna", "--limit", "50"], "--limit: '50' has no unit; write 50GB, or 50B for bytes."),
        (["Anna", "--limit", "53687091200"], "--limit: '53687091200' has no unit"),
        (["Anna", "--reset", "hourly"], "Error: argument --reset: invalid choice"),
        (["Anna", "--reset-day", "5"], "--reset-day goes with --reset monthly."),
        (
            ["Anna", "--reset", "weekly", "--reset-day", "5"],
            "--reset-day goes with --reset monthly.",
        ),
        (["Anna", "--reset", "monthly", "--reset-day", "0"], "reset_day: "),
        (["Anna", "--reset", "monthly", "--reset-day", "32"], "reset_day: "),
        (["Anna", "--expires", "tomorrow"], "--expires takes a date like"),
        (["Anna", "--expires", "9999-12-31"], "--expires takes a date like"),
        (["Anna", "--expires", "2001-01-01"], "--expires 2001-01-01 has passed."),
    ],
)
def test_a_bad_argument_is_reported_and_nothing_is_created(
    create: Any, arguments: list[str], message: str
) -> None:
    subscriber("taken")
    with pytest.raises(CommandError) as caught:
        create(*arguments)
    assert str(caught.value).startswith(message)
    assert Subscriber.objects.count() == 1


def test_all_errors_are_reported_at_once(create: Any) -> None:
    with pytest.raises(CommandError) as caught:
        create(
            "x" * 201, "--token", "a b", "--limit", "50", "--expires", "soon", "--reset-day", "5"
        )
    message = str(caught.value)
    for part in (
        "--limit: '50' has no unit",
        "--reset-day goes",
        "--expires takes",
        "name: ",
        "token: ",
    ):
        assert message.count(part) == 1
    assert not Subscriber.objects.exists()


def test_devices_and_the_reseller_are_given(create: Any) -> None:
    ivan = Reseller.objects.create(name="Ivan", people_limit=1)
    create("Anna", "--devices", "3", "--reseller", "Ivan")
    person = Subscriber.objects.get()
    assert (person.device_limit, person.reseller) == (3, ivan)
    with pytest.raises(CommandError, match="The quota of reseller Ivan is used up"):
        create("Bob", "--reseller", "Ivan")
    assert Subscriber.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--devices", "0"], "--devices takes 1 to 100"),
        (["--devices", "101"], "--devices takes 1 to 100"),
        (["--reseller", "Nobody"], "there is no reseller named 'Nobody'"),
    ],
)
def test_wrong_devices_and_resellers_create_nobody(
    arguments: list[str], sentence: str, create: Any
) -> None:
    with pytest.raises(CommandError, match=sentence):
        create("Anna", *arguments)
    assert not Subscriber.objects.exists()

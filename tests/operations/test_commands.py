import io
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from operations.extension import Extension, register
from operations.models import ApiKey
from tests.traffic.examples import DAY, NOW, STATISTICS, a_report, assert_sums_agree, stored
from traffic.intake import simulation
from traffic.ledger import retention
from traffic.models import ReceivedEvent, Subscriber, Usage

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> str:
    """The output of the command without the final newline."""
    output = io.StringIO()
    call_command(name, *arguments, stdout=output, no_color=True)
    return output.getvalue().removesuffix("\n")


# --- cleanup_traffic ---------------------------------------------------------


@pytest.fixture
def _old(only_traffic: None) -> None:
    """Records that are 0, 10, 40, 41 and 100 days old, and an expired event."""
    stored(
        *[a_report(NOW - age * DAY) for age in (0, 10, 40, 41)],
        a_report(NOW - 100 * DAY, event_id="x"),
        now=NOW - 35 * DAY,
    )


@pytest.mark.usefixtures("_old")
@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("arguments", "days", "sentence", "left"),
    [
        (
            [],
            0,
            (
                "Deleted 0 records (retention is off), folded 3 hours into days, dropped 1 expired event ids, "
                "dropped 0 old notifications, dropped 0 old idempotency keys."
            ),
            5,
        ),
        (
            [],
            90,
            (
                "Deleted 1 records older than 90 days, folded 2 hours into days, dropped 1 expired event ids, "
                "dropped 0 old notifications, dropped 0 old idempotency keys."
            ),
            4,
        ),
        (
            ["--days", "20"],
            90,
            (
                "Deleted 3 records older than 20 days, folded 0 hours into days, dropped 1 expired event ids, "
                "dropped 0 old notifications, dropped 0 old idempotency keys."
            ),
            2,
        ),
        (
            ["--days", "3650"],
            0,
            (
                "Deleted 0 records older than 3650 days, folded 3 hours into days, dropped 1 expired event ids, "
                "dropped 0 old notifications, dropped 0 old idempotency keys."
            ),
            5,
        ),
        (
            ["--days", "0"],
            0,
            (
                "Deleted 5 records, folded 0 hours into days, dropped 1 expired event ids, "
                "dropped 0 old notifications, dropped 0 old idempotency keys."
            ),
            0,
        ),
    ],
)
def test_cleanup_prints_one_sentence_about_its_work(
    settings: Settings, arguments: list[str], days: int, sentence: str, left: int
) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = days
    assert run("cleanup_traffic", *arguments) == sentence
    assert Usage.objects.count() == left
    assert not ReceivedEvent.objects.exists()
    assert_sums_agree()


@pytest.mark.usefixtures("_old")
@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("arguments", "days", "sentence"),
    [
        ([], 0, "Would delete 0 records (retention is off)."),
        ([], 90, "Would delete 1 records older than 90 days."),
        (["--days", "20"], 0, "Would delete 3 records older than 20 days."),
        (["--days", "0"], 0, "Would delete 5 records."),
    ],
)
def test_a_dry_run_only_reports_what_would_be_deleted(
    settings: Settings, arguments: list[str], days: int, sentence: str
) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = days
    before = list(Usage.objects.values())
    assert run("cleanup_traffic", "--dry-run", *arguments) == sentence
    assert list(Usage.objects.values()) == before
    assert ReceivedEvent.objects.exists()


@pytest.mark.usefixtures("only_traffic")
def test_cleanup_tells_of_other_apps_too() -> None:
    register(Extension(name="x", cleanup={"hits": lambda now: 7}))
    assert run("cleanup_traffic").endswith(
        "dropped 0 expired event ids, dropped 0 old notifications, "
        "dropped 0 old idempotency keys, dropped 7 old hits."
    )


@pytest.mark.parametrize("days", ["-1", "3651"])
def test_cleanup_refuses_days_out_of_range(days: str) -> None:
    stored(a_report())
    with pytest.raises(CommandError, match="--days takes a whole number from 0 to 3650"):
        run("cleanup_traffic", "--days", days)
    assert Usage.objects.exists()


@pytest.mark.parametrize("days", ["x", "1.5", ""])
def test_cleanup_refuses_days_that_are_not_a_number(days: str) -> None:
    with pytest.raises(CommandError, match="--days"):
        run("cleanup_traffic", "--days", days)


# --- create_api_key ----------------------------------------------------------


@pytest.mark.parametrize("scope", ["report", "read", "manage"])
def test_a_new_key_is_alone_on_the_last_line(scope: str) -> None:
    first, secret = run("create_api_key", "billing", "--scope", scope).split("\n")
    assert "billing" in first
    assert scope in first
    assert secret not in first
    assert len(secret) >= 32
    found = ApiKey.objects.get()
    assert (found.name, found.scope, found.expires_at) == ("billing", scope, None)


def test_a_new_key_works_and_is_stored_hashed() -> None:
    secret = run("create_api_key", "billing", "--scope", "read").split("\n")[-1]
    assert Client(headers={"x-api-key": secret}).get(f"{STATISTICS}/global").status_code == 200
    row = ApiKey.objects.values().get()
    assert secret not in str(row)
    assert row["hint"] == secret[:4]


def test_a_new_key_may_expire() -> None:
    run("create_api_key", "billing", "--scope", "read", "--expires-in", "30")
    expires_at = ApiKey.objects.get().expires_at
    assert expires_at is not None
    assert timedelta(days=29) < expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["billing"], ["--scope", "read"], ["billing", "--scope", "admin"], [" ", "--scope", "read"],
        ["n" * 101, "--scope", "read"], ["billing", "--scope", "read", "--expires-in", "0"],
        ["billing", "--scope", "read", "--expires-in", "3651"], ["billing", "--scope", "read", "--expires-in", "x"],
    ],
)  # fmt: skip
def test_a_key_is_not_made_of_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("create_api_key", *arguments)
    assert not ApiKey.objects.exists()


def test_names_may_repeat_and_keys_do_not() -> None:
    secrets = {
        run("create_api_key", "n" * 100, "--scope", "read").split("\n")[-1] for _ in range(3)
    }
    assert len(secrets) == ApiKey.objects.count() == 3


# --- simulate_traffic --------------------------------------------------------


def test_simulation_fills_a_panel_through_recording() -> None:
    sentence = run("simulate_traffic", "--subscribers", "4", "--servers", "3", "--days", "40")
    assert sentence.startswith("Recorded ")
    assert "4 subscribers on 3 servers over 40 days" in sentence
    assert sorted(Subscriber.objects.values_list("token", "name")) == [
        (f"demo-{n:05}", f"Demo {n}") for n in range(1, 5)
    ]
    hours = set(Usage.objects.values_list("hour", flat=True))
    assert max(hours) <= timezone.now()
    assert {hour.hour for hour in hours if hour < timezone.now() - 34 * DAY} == {0}, (
        "old hours are folded"
    )
    assert_sums_agree()


def test_simulation_of_one_seed_is_always_the_same() -> None:
    sums: list[Any] = []
    for seed in ("1", "1", "2"):
        retention.delete_records(0, timezone.now())
        with time_machine.travel(NOW, tick=False):
            run(
                "simulate_traffic",
                "--subscribers",
                "2",
                "--servers",
                "1",
                "--days",
                "3",
                "--seed",
                seed,
            )
        sums.append(sorted(Usage.objects.values_list("hour", "upload", "download")))
    assert sums[0] == sums[1] != sums[2]


@pytest.mark.parametrize("batch", [1, 7, 100_000])
def test_simulation_records_in_batches_and_tells_of_each(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "BATCH", batch)
    stored_each = list(simulation.simulate(simulation.Plan(subscribers=2, servers=2, days=3), NOW))
    assert sum(stored_each) == sum(Usage.objects.values_list("reports", flat=True)) > 10
    assert set(stored_each[:-1]) <= {batch}
    assert 1 <= stored_each[-1] <= batch


@pytest.mark.parametrize(
    "arguments",
    [
        ["--subscribers", "0"],
        ["--subscribers", "100001"],
        ["--servers", "0"],
        ["--servers", "10001"],
        ["--days", "0"],
        ["--days", "3651"],
    ],
)
def test_simulation_refuses_numbers_out_of_range(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match=f"{arguments[0]} takes a whole number from 1 to"):
        run("simulate_traffic", *arguments)
    assert not Subscriber.objects.exists()

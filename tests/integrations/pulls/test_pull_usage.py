"""``manage.py pull_usage``."""

import functools
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from integrations.pulls import pulling
from integrations.pulls.models import Panel
from operations.models import CommandRun
from tests.integrations.pulls.stand_in import StandIn
from traffic.models import Subscriber


@pytest.fixture(autouse=True)
def network(there: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pulling.pull
    monkeypatch.setattr(pulling, "pull", functools.partial(real, network=there.network))


def run(*options: str) -> str:
    out = StringIO()
    call_command("pull_usage", *options, stdout=out)
    return out.getvalue()


def test_a_table_says_what_was_booked(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    there.has("alice", 0)
    run()
    there.has("alice", 3 * 2**29)
    head, row = run("--panel", str(panel.pk)).splitlines()
    assert head.split() == ["id", "name", "state", "people", "grew", "upload", "download", "ms"]
    assert row.split()[:-1] == [str(panel.pk), "Friend", "read", "1", "1", "0", "B", "1.50", "GB"]


def test_a_panel_that_fails_is_named_and_makes_the_exit_code_1(panel: Panel) -> None:
    Panel.objects.update(url="https://nowhere.example.com")
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 1 panels could not be read"):
        call_command("pull_usage", stdout=out)
    assert "The host name was not found." in out.getvalue()


def test_due_reads_those_alone_whose_pause_is_over(panel: Panel, there: StandIn) -> None:
    Panel.objects.update(next_read=timezone.now() + timedelta(minutes=1))
    assert run("--due") == "No panel is due.\n"
    assert there.asked == []


def test_without_panels_there_is_nothing_to_read(transactional_db: None) -> None:
    assert run() == "There is no panel to read.\n"


def test_a_panel_that_is_switched_off_is_read_by_its_number_alone(
    panel: Panel, there: StandIn
) -> None:
    Panel.objects.update(enabled=False)
    assert run() == "There is no panel to read.\n"
    assert "Friend" in run("--panel", str(panel.pk))


def test_an_unknown_number_is_refused_with_those_that_are_known(panel: Panel) -> None:
    with pytest.raises(
        CommandError, match=rf"There is no panel 999. Panels: {panel.pk} \(Friend\)"
    ):
        run("--panel", "999")


def test_its_run_is_remembered_for_doctor(panel: Panel) -> None:
    run()
    assert CommandRun.objects.get(command="pull_usage").error == ""


def test_names_do_not_break_the_table(panel: Panel, there: StandIn) -> None:
    Panel.objects.update(name="a\nb" + "c" * 60)
    lines: list[Any] = run().splitlines()
    assert len(lines) == 2
    assert "a?bccc" in lines[1]

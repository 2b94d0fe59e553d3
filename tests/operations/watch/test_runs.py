from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import OperationalError

from operations.models import CommandRun
from operations.watch import command_runs

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_command_of_cron_leaves_behind_when_it_ran() -> None:
    with time_machine.travel(NOW, tick=False):
        call_command("cleanup_traffic", verbosity=0)
    (run,) = command_runs.all_runs()
    assert (run.command, run.began_at, run.ended_at, run.succeeded_at, run.error) == (
        "cleanup_traffic", NOW, NOW, NOW, "",
    )  # fmt: skip


def test_a_dry_run_is_none() -> None:
    call_command("cleanup_traffic", dry_run=True)
    assert command_runs.last_run("cleanup_traffic") is None


def test_a_failure_keeps_the_last_success_and_says_what_was_wrong() -> None:
    with time_machine.travel(NOW, tick=False):
        call_command("cleanup_traffic", verbosity=0)
    with time_machine.travel(NOW + timedelta(days=1), tick=False), pytest.raises(CommandError):
        call_command("cleanup_traffic", days=-1)
    run = command_runs.last_run("cleanup_traffic")
    assert run is not None
    assert (run.succeeded_at, run.ended_at) == (NOW, NOW + timedelta(days=1))
    assert run.error == "--days takes a whole number from 0 to 3650."
    with time_machine.travel(NOW + timedelta(days=2), tick=False):
        call_command("cleanup_traffic", verbosity=0)
    assert CommandRun.objects.get().error == ""


def test_only_the_type_of_an_unexpected_error_is_kept() -> None:
    with pytest.raises(ValueError, match="s3cr3t"), command_runs.remembered("backup_traffic"):
        raise ValueError("s3cr3t")
    assert CommandRun.objects.get().error == "ValueError"


def test_a_long_sentence_is_cut() -> None:
    with pytest.raises(CommandError), command_runs.remembered("backup_traffic"):
        raise CommandError("word " * 1000)
    assert len(CommandRun.objects.get().error) == 300


def test_a_database_that_cannot_note_the_run_does_not_fail_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("django.db.models.query.QuerySet.update_or_create", busy)
    with command_runs.remembered("backup_traffic"):
        pass
    assert command_runs.all_runs() == []

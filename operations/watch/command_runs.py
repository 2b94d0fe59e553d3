"""When each scheduled command last ran and how it ended, so that the panel notices when its timers stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from operations.databases.transactions import write_transaction
from operations.extension import extensions
from operations.models import CommandRun

_MAX_MESSAGE = 300
# The time after which the next run is overdue. Timers run at least daily; one missed run is tolerated.
_EXPECTED = {"backup_traffic": timedelta(days=2)}


def expected() -> dict[str, timedelta]:
    """Commands that a timer should start, and the time without a run after which each is overdue."""
    found = dict(_EXPECTED)
    for extension in extensions():
        found |= extension.commands() if extension.commands else {}
    return found


@contextmanager
def remembered(command: str) -> Iterator[None]:
    """Store how the block ended. The command does not fail if the database cannot store it."""
    begun = timezone.now()
    try:
        yield
    except BaseException as error:
        _remember(command, begun, error=_sentence(error))
        raise
    _remember(command, begun)


def all_runs() -> list[CommandRun]:
    return list(CommandRun.objects.order_by("command"))


def last_run(command: str) -> CommandRun | None:
    return CommandRun.objects.filter(pk=command).first()


def _sentence(error: BaseException) -> str:
    """The text of a CommandError. For any other error only its type, because its text may hold secrets."""
    if isinstance(error, CommandError):
        return " ".join(str(error).split())[:_MAX_MESSAGE]
    return type(error).__name__


def _remember(command: str, begun: datetime, *, error: str = "") -> None:
    now = timezone.now()
    values = {"began_at": begun, "ended_at": now, "error": error} | (
        {} if error else {"succeeded_at": now}
    )
    try:
        with write_transaction():
            CommandRun.objects.update_or_create(command=command, defaults=values)
    except (DatabaseError, InterfaceError):
        pass

"""When each command of cron last ran, and how it ended: whether cron is alive, only the panel itself can tell."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from .models import CommandRun

_MAX_MESSAGE = 300

# By command: how long after a run the next one is overdue. Timers run daily or more often; one miss is forgiven.
_expected = {"cleanup_traffic": timedelta(days=2), "backup_traffic": timedelta(days=2)}
_others: list[Callable[[], dict[str, timedelta]]] = []


def also_expect(commands: Callable[[], dict[str, timedelta]]) -> None:
    """Register commands of another app that a timer starts, when they have something to do at all."""
    _others.append(commands)


def expected() -> dict[str, timedelta]:
    """Commands that a timer should start, and after how long without a run they are overdue."""
    found = dict(_expected)
    for commands in _others:
        found |= commands()
    return found


@contextmanager
def remembered(command: str) -> Iterator[None]:
    """Write down how the block ended. A database that cannot take it does not fail the command."""
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
    """Of what a command says itself, the words; of an accident the kind alone, for its words may hold secrets."""
    if isinstance(error, CommandError):
        return " ".join(str(error).split())[:_MAX_MESSAGE]
    return type(error).__name__


def _remember(command: str, begun: datetime, *, error: str = "") -> None:
    now = timezone.now()
    values = {"began_at": begun, "ended_at": now, "error": error} | ({} if error else {"succeeded_at": now})
    try:
        CommandRun.objects.update_or_create(command=command, defaults=values)
    except (DatabaseError, InterfaceError):
        pass

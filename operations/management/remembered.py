"""Base class of the commands that cron runs."""

from typing import Any

from django.core.management.base import BaseCommand

from operations.watch import command_runs


class RememberedCommand(BaseCommand):
    """Records its last run for ``doctor``; dry runs are not recorded."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        if options.get("dry_run"):
            return super().execute(*args, **options)
        with command_runs.remembered(self.__module__.rpartition(".")[2]):
            return super().execute(*args, **options)

"""What the commands of cron have in common."""

from typing import Any

from django.core.management.base import BaseCommand

from traffic import runs


class RememberedCommand(BaseCommand):
    """Its last run is written down, for ``doctor``; a dry run is none."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        if options.get("dry_run"):
            return super().execute(*args, **options)
        with runs.remembered(self.__module__.rpartition(".")[2]):
            return super().execute(*args, **options)

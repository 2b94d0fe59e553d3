from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations.backups import copying
from operations.management.progress import Stages


class Command(BaseCommand):
    help = (
        "Copies the whole database into another, empty one: from SQLite to PostgreSQL, or back. If it is interrupted, "
        "run it again to resume the copy. At the end every row is compared. Stop the panel first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--to",
            required=True,
            metavar="URL",
            help="postgres://user:password@host:5432/name or sqlite:////path/of/a.db",
        )
        parser.add_argument(
            "--start-over",
            action="store_true",
            help="delete what an unfinished copy left in the target, and start again",
        )

    def handle(self, *_: Any, to: str, start_over: bool, **options: Any) -> None:
        try:
            with Stages() as stages:
                copied = copying.copy(to, stages, start_over=start_over)
        except copying.CopyError as error:
            raise CommandError(f"Not copied: {error}") from None
        went_on = f" ({copied.resumed} were already there)" if copied.resumed else ""
        self.stdout.write(
            f"Copied {copied.rows} rows{went_on} of {copied.tables} tables; every row was compared and is equal."
        )

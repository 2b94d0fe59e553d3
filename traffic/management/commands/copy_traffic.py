from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from traffic import copying
from traffic.management.progress import Stages


class Command(BaseCommand):
    help = (
        "Copies the whole database into another, empty one: SQLite into PostgreSQL, or back. Killed, it goes on where "
        "it was when it is run again. At the end every row is compared. Stop the panel first."
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
            help="empty what an unfinished copy has left in the target, and begin anew",
        )

    def handle(self, *_: Any, to: str, start_over: bool, **options: Any) -> None:
        try:
            with Stages() as stages:
                copied = copying.copy(to, stages, start_over=start_over)
        except copying.CopyError as error:
            raise CommandError(f"Not copied: {error}") from None
        went_on = f" ({copied.resumed} were there from before)" if copied.resumed else ""
        self.stdout.write(
            f"Copied {copied.rows} rows{went_on} of {copied.tables} tables; every row was compared and is equal."
        )

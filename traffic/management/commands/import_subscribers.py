import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError
from django.utils import timezone

from traffic import subscriber_import
from traffic.audit import By


class Command(BaseCommand):
    help = (
        "Makes subscribers of a CSV file whose first line names its columns: "
        f"{', '.join(subscriber_import.COLUMNS)}. Every bad line is named, and nothing is made when there is one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE.csv", help="in UTF-8, with commas or semicolons; - = standard input")
        parser.add_argument("--dry-run", action="store_true", help="only say what is in it, and what is wrong")
        parser.add_argument("--skip-bad", action="store_true", help="make the others in spite of bad lines")

    def handle(self, *_: Any, file: str, dry_run: bool, skip_bad: bool, **options: Any) -> None:
        parsed = subscriber_import.read(_content(file))
        for line, message in parsed.errors:
            self.stderr.write(f"line {line}: {message}" if line else message)
        good, bad = len(parsed.subscribers), len(parsed.errors)
        if bad and not (skip_bad and good):
            raise CommandError(f"Nothing was made: {good} lines are good, {bad} are bad.")
        if dry_run:
            self.stdout.write(f"Would make {good} subscribers; {bad} lines are bad.")
            return
        try:
            made = subscriber_import.store(parsed.subscribers.values(), By("import_subscribers", timezone.now()))
        except IntegrityError:
            raise CommandError("Nothing was made: a token was taken meanwhile. Run it again.") from None
        self.stdout.write(f"Made {made} subscribers; {bad} lines were bad.")


def _content(file: str) -> bytes:
    try:
        with Path(file).open("rb") if file != "-" else sys.stdin.buffer as stream:
            return stream.read(subscriber_import.MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None

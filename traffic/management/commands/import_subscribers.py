import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError
from django.utils import timezone

from operations.audit import By
from operations.refusals import Refused
from traffic.models import Reseller
from traffic.people import csv_import


class Command(BaseCommand):
    help = (
        "Imports subscribers from a CSV file whose first line names its columns: "
        f"{', '.join(csv_import.COLUMNS)}. Every bad line is reported, and nothing is imported if there is one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE.csv",
            help="in UTF-8, with commas, semicolons or tabs; - = standard input",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only report what the file holds and what is wrong with it",
        )
        parser.add_argument(
            "--skip-bad", action="store_true", help="import the good lines even if others are bad"
        )

        parser.add_argument(
            "--reseller", metavar="NAME", help="who sees and manages them; default: nobody but you"
        )

    def handle(self, *_: Any, file: str, dry_run: bool, skip_bad: bool, **options: Any) -> None:
        reseller = _reseller(options["reseller"])
        parsed = csv_import.read(_content(file))
        for line, message in parsed.errors:
            self.stderr.write(f"line {line}: {message}" if line else message)
        good, bad = len(parsed.subscribers), len(parsed.errors)
        if bad and not (skip_bad and good):
            raise CommandError(f"Nothing was imported: {good} lines are good, {bad} are bad.")
        if dry_run:
            self.stdout.write(f"Would import {good} subscribers; {bad} lines are bad.")
            return
        try:
            made = csv_import.store(
                parsed.subscribers.values(), By("import_subscribers", timezone.now()), reseller
            )
        except Refused as refused:
            raise CommandError(str(refused)) from None
        except IntegrityError:
            raise CommandError(
                "Nothing was imported: one of the tokens is already in use. Run the command again."
            ) from None
        self.stdout.write(f"Imported {made} subscribers; {bad} lines were bad.")


def _reseller(name: str | None) -> Reseller | None:
    found = None if name is None else Reseller.objects.filter(name=name).first()
    if name is not None and found is None:
        raise CommandError(f"--reseller: there is no reseller named {name!r}.")
    return found


def _content(file: str) -> bytes:
    try:
        with Path(file).open("rb") if file != "-" else sys.stdin.buffer as stream:
            return stream.read(csv_import.MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from operations.management.progress import Stages
from traffic.intake.imports import xpert
from traffic.ledger import retention


class Command(BaseCommand):
    help = (
        "Imports the usage of the original Xpert panel from its table traffic_usage, in one transaction. It can be run "
        "again: only new usage is added. Refused rows are reported with the reason."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            help="its traffic_stats.db, or a URL as its XPERT_TRAFFIC_DB_PATH may hold: sqlite:///…, postgresql://…",
        )

    def handle(self, *_: Any, file: str, **options: Any) -> None:
        now = timezone.now()
        try:
            with Stages() as stages:
                found = xpert.take_over(file, now, stages)
        except xpert.ImportRefusedError as error:
            raise CommandError(f"Nothing was imported: {error}") from None
        retention.fold(now)
        for reason, count in found.refused.most_common():
            example = found.examples.get(reason)
            self.stderr.write(
                f"Refused {count}: {reason}" + (f" For example {example}." if example else "")
            )
        self.stdout.write(
            f"Read {found.read} rows: {found.recorded} counted, {found.known} were counted before, "
            f"{found.refused.total()} refused."
        )
        if found.read and not found.recorded and not found.known:
            raise CommandError("Nothing was imported: every row was refused.")

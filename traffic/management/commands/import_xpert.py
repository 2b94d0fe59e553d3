from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from traffic import retention, xpert_import
from traffic.management.progress import Stages


class Command(BaseCommand):
    help = (
        "Takes over the usage of the original Xpert panel from its table traffic_usage, in one transaction. May be run "
        "again: only what has grown since is added. Names what was refused, and why."
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
                found = xpert_import.take_over(file, now, stages)
        except xpert_import.ImportRefusedError as error:
            raise CommandError(f"Nothing was imported: {error}") from None
        retention.fold(now)
        for reason, count in found.refused.most_common():
            example = found.examples.get(reason)
            self.stderr.write(f"Refused {count}: {reason}" + (f" For example {example}." if example else ""))
        self.stdout.write(
            f"Read {found.read} rows: {found.recorded} counted, {found.known} were counted before, "
            f"{found.refused.total()} refused."
        )
        if found.read and not found.recorded and not found.known:
            raise CommandError("Nothing was imported: every row was refused.")

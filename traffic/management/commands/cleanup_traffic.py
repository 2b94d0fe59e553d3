from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from tqdm import tqdm

from traffic import retention
from traffic.conf import conf
from traffic.management.remembered import RememberedCommand

MAX_DAYS = 3650


class Command(RememberedCommand):
    help = (
        "Deletes records older than the retention, folds old hours into days, and drops expired event ids and "
        "old hits. Safe to run at any time, also twice at once; made for cron."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            help="delete records older than this many days; 0 = all; default: XPERT_TRAFFIC_RETENTION_DAYS (0 there = none)",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say how many records would be deleted")

    def handle(self, *_: Any, days: int | None, dry_run: bool, **options: Any) -> None:
        if days is not None and not 0 <= days <= MAX_DAYS:
            raise CommandError(f"--days takes a whole number from 0 to {MAX_DAYS}.")
        if days is None:
            days = conf.retention_days or None
        now = timezone.now()
        expected = retention.count_records(days, now) if days is not None else 0
        if dry_run:
            self.stdout.write(f"Would delete {expected} records{_older_than(days)}.")
            return
        # disable=None: a bar on a terminal, nothing in cron's mail.
        with tqdm(total=expected, unit=" records", disable=None, leave=False) as bar:
            deleted = retention.delete_records(days, now, bar.update) if days is not None else 0
            tidied = retention.tidy(now, bar.update)
        others = "".join(f", dropped {count} old {name}" for name, count in tidied.others.items())
        self.stdout.write(
            f"Deleted {deleted} records{_older_than(days)}, folded {tidied.folded} hours into days, "
            f"dropped {tidied.events} expired event ids{others}."
        )


def _older_than(days: int | None) -> str:
    if days is None:
        return " (retention is off)"
    return f" older than {days} days" if days else ""

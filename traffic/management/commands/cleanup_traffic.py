from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from tqdm import tqdm

from operations.conf import MAX_DAYS
from operations.management.remembered import RememberedCommand
from traffic.conf import conf
from traffic.ledger import retention
from traffic.people import lapsed, tidying


class Command(RememberedCommand):
    help = (
        "Deletes records older than the retention, folds old hours into days, and drops expired event ids and "
        "old hits; switches off and deletes subscribers whose subscription is over "
        "(XPERT_SWITCH_OFF_AFTER_DAYS, XPERT_DELETE_AFTER_DAYS). It can run at any time, even twice at once; run it from cron."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            help="delete records older than this many days; 0 = all; default: XPERT_TRAFFIC_RETENTION_DAYS (0 there = none)",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only report how many records would be deleted, and how many subscribers switched off or deleted",
        )
        parser.add_argument(
            "--clock-is-right",
            action="store_true",
            help="go on although the last cleanup and the traffic before this week are long ago",
        )

    def handle(
        self, *_: Any, days: int | None, dry_run: bool, clock_is_right: bool, **options: Any
    ) -> None:
        if days is not None and not 0 <= days <= MAX_DAYS:
            raise CommandError(f"--days takes a whole number from 0 to {MAX_DAYS}.")
        if days is None:
            days = conf.retention_days or None
        now = timezone.now()
        expected = retention.count_records(days, now) if days is not None else 0
        if dry_run:
            people = _of_people(lapsed.count(now), "switch off", "delete")
            self.stdout.write(f"Would delete {expected} records{_older_than(days)}{people}.")
            return
        if not clock_is_right and tidying.has_jumped(now):
            raise CommandError(
                f"The clock says {now:%Y-%m-%d %H:%M} UTC, but no cleanup and no traffic is known of the 30 days before."
                " If it is right, run this once with --clock-is-right."
            )
        # disable=None: a bar on a terminal, nothing in cron's mail.
        with tqdm(total=expected, unit=" records", disable=None, leave=False) as bar:
            deleted = retention.delete_records(days, now, bar.update) if days is not None else 0
            tidied = tidying.tidy(now, bar.update)
        others = ""
        if tidied.periods:
            others = f", counted {tidied.periods} periods again that began in the future"
        others += _of_people(tidied.lapsed, "switched off", "deleted")
        others += "".join(f", dropped {count} old {name}" for name, count in tidied.others.items())
        self.stdout.write(
            f"Deleted {deleted} records{_older_than(days)}, folded {tidied.folded} hours into days, "
            f"dropped {tidied.events} expired event ids{others}."
        )


def _of_people(found: lapsed.Lapsed, off: str, deleted: str) -> str:
    """Subscribers whose subscription is over, if there are any."""
    told = f", {off} {found.switched_off} subscribers" if found.switched_off else ""
    return told + (f", {deleted} {found.deleted} subscribers" if found.deleted else "")


def _older_than(days: int | None) -> str:
    if days is None:
        return " (retention is off)"
    return f" older than {days} days" if days else ""

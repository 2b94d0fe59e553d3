from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from traffic import backups
from traffic.conf import conf
from traffic.management.progress import Stages
from traffic.management.remembered import RememberedCommand
from traffic.units import format_size

KEEP = 14


class Command(RememberedCommand):
    help = (
        "Makes a backup of the whole database while reports flow, compares it with what was stored, and puts it in "
        "place only then. It holds tokens and keys' hashes: keep it as safe as the database."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            metavar="FILE",
            help="file (replaced when it exists) or folder; default: a dated name in XPERT_BACKUP_FOLDER",
        )
        parser.add_argument(
            "--keep",
            type=int,
            metavar="N",
            help=f"how many dated backups stay in the folder, default: {KEEP}; a FILE of your own naming is never dropped",
        )

    def handle(self, *_: Any, file: str | None, keep: int | None, **options: Any) -> None:
        if keep is not None and keep < 1:
            raise CommandError("--keep takes a whole number from 1 up.")
        now = timezone.now()
        folder = conf.backup_folder if file is None else Path(file)
        is_dated = file is None or folder.is_dir()
        if keep is not None and not is_dated:
            raise CommandError("--keep is for a folder of dated backups, not for a FILE.")
        target = folder / backups.dated_name(now, backups.suffix()) if is_dated else folder
        try:
            with Stages() as stages:
                made = backups.make(target, now, stages)
        except backups.BackupError as error:
            raise CommandError(f"No backup: {error}") from None
        self.stdout.write(f"Wrote {target} ({format_size(target.stat().st_size)}): {summary(made)}.")
        for path in backups.rotate(folder, keep or KEEP) if is_dated else []:
            self.stdout.write(f"Dropped {path.name}.")
        if made.differences:
            raise CommandError(
                f"The backup equals the database, but {made.differences} sums in both disagree: run check_traffic."
            )


def summary(backup: backups.Backup) -> str:
    """What is in it, in words: ``12 subscribers, 345 records, 1.50 GB up, 2.00 GB down``."""
    held = backup.totals
    return (
        f"{held.get('traffic_subscriber', 0)} subscribers, {held.get('traffic_usage', 0)} records, "
        f"{format_size(held.get('traffic_usage.upload', 0))} up, {format_size(held.get('traffic_usage.download', 0))} down"
    )

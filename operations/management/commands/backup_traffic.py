from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from operations import backups
from operations.conf import conf
from operations.extension import extensions
from operations.management.progress import Stages
from operations.management.remembered import RememberedCommand
from operations.units import format_size

KEEP = 14


class Command(RememberedCommand):
    help = (
        "Backs up the whole database while reports keep arriving. The file appears only after it was compared with "
        "the database. It holds tokens and key hashes: protect it like the database."
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
            help=f"how many dated backups to keep in the folder, default: {KEEP}; files with other names are never deleted",
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
        self.stdout.write(
            f"Wrote {target} ({format_size(target.stat().st_size)}): {summary(made)}."
        )
        for path in backups.rotate(folder, keep or KEEP) if is_dated else []:
            self.stdout.write(f"Dropped {path.name}.")
        if made.differences:
            raise CommandError(
                f"The backup equals the database, but {made.differences} sums in both disagree: run check_traffic."
            )


def summary(backup: backups.Backup) -> str:
    """The content of a backup, as the apps describe it."""
    said = (extension.backup_summary for extension in extensions() if extension.backup_summary)
    return ", ".join(summarize(backup.totals) for summarize in said) or "nothing"

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations import backups
from operations.management.progress import Stages
from operations.management.questions import confirm

from .backup_traffic import summary


class Command(BaseCommand):
    help = (
        "Restores the database from a backup. Stop the panel first. Everything counted since the backup is lost. A "
        "damaged backup, or one from a newer version, is refused; one from an older version is upgraded to this one."
    )
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a file that backup_traffic wrote")
        parser.add_argument(
            "--dry-run", action="store_true", help="check the backup and report what would happen"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_: Any, file: str, dry_run: bool, yes: bool, **options: Any) -> None:
        path = Path(file)
        try:
            with Stages() as stages:
                found = backups.inspect(path, stages)
            self._describe(path, found)
            if dry_run:
                self.stdout.write("Nothing was changed.")
                return
            if not yes:
                confirm("Restore it?", "Nothing was restored")
            with Stages() as stages:
                restored = backups.restore(path, stages)
        except backups.BackupError as error:
            raise CommandError(f"Nothing was restored: {error}") from None
        self.stdout.write(f"Restored the state of {found.made_at:%Y-%m-%d %H:%M:%S} UTC.")
        if restored.differences:
            raise CommandError(
                f"{restored.differences} restored sums disagree with the records: run check_traffic."
            )

    def _describe(self, path: Path, found: backups.Backup) -> None:
        version = (
            "an older version, which will be upgraded to this one"
            if found.is_older
            else "this version"
        )
        self.stdout.write(
            f"{path} was made at {found.made_at:%Y-%m-%d %H:%M:%S} UTC by {version}: {summary(found)}."
        )
        self.stdout.write(
            f"It replaces {backups.database_name()}; everything counted there since then will be lost."
        )
        if found.differences:
            self.stderr.write(f"{found.differences} sums in the backup disagree with its records.")

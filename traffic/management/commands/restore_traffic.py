from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from traffic import backups
from traffic.management.progress import Stages
from traffic.management.questions import confirm

from .backup_traffic import summary


class Command(BaseCommand):
    help = (
        "Puts the database back to the moment of a backup. Stop the panel first: what was counted since then is gone "
        "afterwards. Refuses what is damaged or of a newer version; an older one is brought up to this version."
    )
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="what backup_traffic has written")
        parser.add_argument("--dry-run", action="store_true", help="check the backup and say what would happen")
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
            raise CommandError(f"{restored.differences} sums in it disagree: run check_traffic.")

    def _describe(self, path: Path, found: backups.Backup) -> None:
        version = "an older version, which will be brought up to this one" if found.is_older else "this version"
        self.stdout.write(f"{path} is of {found.made_at:%Y-%m-%d %H:%M:%S} UTC and of {version}: {summary(found)}.")
        self.stdout.write(f"It replaces {backups.database_name()}; what was counted there since then will be gone.")
        if found.differences:
            self.stderr.write(f"{found.differences} sums in it disagree with its records.")

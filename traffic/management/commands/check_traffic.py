from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from traffic.ledger import verification

# Enough to diagnose a failure without a million lines in cron's mail.
_SHOWN = 100


class Command(BaseCommand):
    help = (
        "Checks that all sums agree: server rollup = usage, life = usage + cleaned + corrected. "
        "Lists every difference; the exit code is then 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair", action="store_true", help="set the server rollup to the sums of the records"
        )

    def handle(self, *_: Any, repair: bool, **options: Any) -> None:
        steps = verification.count_steps()
        with tqdm(total=steps, unit=" rows", disable=None, leave=False) as bar:
            found = list(verification.differences(repair=repair, progress=bar.update))
        for difference in found[:_SHOWN]:
            self.stderr.write(str(difference))
        if not found:
            self.stdout.write(f"All sums agree ({steps} servers and subscribers compared).")
            return
        left = len(list(verification.differences())) if repair else len(found)
        if left:
            raise CommandError(
                f"{left} sums differ{' even after the repair' if repair else ''}; see above."
            )
        self.stdout.write(f"Repaired {len(found)} sums; all agree now.")

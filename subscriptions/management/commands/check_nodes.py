from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from tqdm import tqdm

from operations.management.remembered import RememberedCommand
from subscriptions.models import Endpoint
from subscriptions.sources import reachability

# Enough to diagnose a failure without a thousand lines in cron's mail.
_SHOWN = 50


class Command(RememberedCommand):
    help = (
        "Connects to every listed server over TCP, several times each, and records which servers answer, how fast, "
        "and since when the others do not. Private addresses are never dialled; UDP servers are skipped. The exit "
        "code is 1 only when many servers were tried and none answered, because then the panel itself is offline "
        "and nothing is recorded."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--down", action="store_true", help="also name the servers that are down"
        )

    def handle(self, *_: Any, down: bool, **options: Any) -> None:
        reachability.drop_unlisted()
        targets = reachability.targets()
        with tqdm(total=len(targets.endpoints), unit=" servers", disable=None, leave=False) as bar:
            found = reachability.check(timezone.now(), targets, bar.update)
        if found.is_offline:
            raise CommandError(
                "No server answered, so this machine seems to be offline. Nothing was changed."
            )
        missing = [
            endpoint for endpoint in found.endpoints if endpoint.state == Endpoint.State.DOWN
        ]
        for endpoint in missing[: _SHOWN if down else 0]:
            self.stdout.write(f"down since {endpoint.down_since:%Y-%m-%d %H:%M} UTC: {endpoint}")
        self.stdout.write(
            f"Checked {len(found.endpoints)} servers: {len(found.endpoints) - len(missing)} up, {len(missing)} down. "
            f"Not dialled: {found.refused} private, {found.udp} over UDP."
        )

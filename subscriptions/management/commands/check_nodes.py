from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from tqdm import tqdm

from subscriptions import reachability
from subscriptions.models import Endpoint
from traffic.management.remembered import RememberedCommand

# Enough to see what is wrong, without a thousand lines in cron's mail.
_SHOWN = 50


class Command(RememberedCommand):
    help = (
        "Connects to the servers of all lists over TCP, several times each, and keeps who answers, how fast, and since "
        "when others don't. Private addresses are never dialled; servers that speak UDP are left out. Ends with exit "
        "code 1 only when none of many answered, for then the panel itself is offline and nothing is kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--down", action="store_true", help="also name the servers that are down")

    def handle(self, *_: Any, down: bool, **options: Any) -> None:
        reachability.drop_unlisted()
        targets = reachability.targets()
        with tqdm(total=len(targets.endpoints), unit=" servers", disable=None, leave=False) as bar:
            found = reachability.check(timezone.now(), targets, bar.update)
        if found.is_offline:
            raise CommandError("Not one server answered: this machine seems to be offline. Nothing was changed.")
        missing = [endpoint for endpoint in found.endpoints if endpoint.state == Endpoint.State.DOWN]
        for endpoint in missing[: _SHOWN if down else 0]:
            self.stdout.write(f"down since {endpoint.down_since:%Y-%m-%d %H:%M} UTC: {endpoint}")
        self.stdout.write(
            f"Checked {len(found.endpoints)} servers: {len(found.endpoints) - len(missing)} up, {len(missing)} down. "
            f"Not dialled: {found.refused} private, {found.udp} over UDP."
        )

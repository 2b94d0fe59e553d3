import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from operations.conf import MAX_DAYS
from operations.databases.transactions import write_transaction
from traffic.intake.simulation import TOKEN_PREFIX, Plan, simulate, token
from traffic.ledger import retention
from traffic.models import Subscriber

_LIMITS = {"subscribers": 100_000, "servers": 10_000, "days": MAX_DAYS}


class Command(BaseCommand):
    help = "Fills the panel with realistic usage of made-up subscribers (demo-00001 …), recorded like real reports."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--subscribers", type=int, default=50, help="default: 50")
        parser.add_argument("--servers", type=int, default=10, help="default: 10")
        parser.add_argument("--days", type=int, default=30, help="how far back, default: 30")
        parser.add_argument("--seed", type=int, default=1, help="another number gives other usage")

    def handle(
        self, *_: Any, subscribers: int, servers: int, days: int, seed: int, **options: Any
    ) -> None:
        for name, value in (("subscribers", subscribers), ("servers", servers), ("days", days)):
            if not 1 <= value <= _LIMITS[name]:
                raise CommandError(f"--{name} takes a whole number from 1 to {_LIMITS[name]}.")
        now, begun, reports = timezone.now(), time.monotonic(), 0
        # About six reports per subscriber and day.
        with tqdm(total=subscribers * days * 6, unit=" reports", disable=None, leave=False) as bar:
            for stored in simulate(Plan(subscribers, servers, days, seed), now):
                reports += stored
                bar.update(stored)
        retention.fold(now)
        self._name(subscribers)
        seconds = max(time.monotonic() - begun, 0.001)
        self.stdout.write(
            f"Recorded {reports} reports of {subscribers} subscribers on {servers} servers over {days} days "
            f"in {seconds:.1f} s ({reports / seconds:.0f} per second)."
        )

    def _name(self, subscribers: int) -> None:
        tokens = [token(number) for number in range(1, subscribers + 1)]
        nameless = Subscriber.objects.filter(token__startswith=TOKEN_PREFIX, name="")
        named = [subscriber for subscriber in nameless if subscriber.token in set(tokens)]
        for subscriber in named:
            subscriber.name = f"Demo {int(subscriber.token.removeprefix(TOKEN_PREFIX))}"
        with write_transaction():
            Subscriber.objects.bulk_update(named, ["name"], batch_size=500)

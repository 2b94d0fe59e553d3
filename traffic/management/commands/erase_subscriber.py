from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from operations.audit import By
from operations.management.questions import confirm
from traffic.models import Subscriber, Usage
from traffic.people import erasure


class Command(BaseCommand):
    help = (
        "Permanently erases one person: subscriber, events, subscription requests and audit entries. The sums move to "
        "one anonymous subscriber, so totals do not change. Older backups still hold the person's data."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("token", nargs="?", help="the subscriber's token")
        who.add_argument(
            "--id", type=int, help="or the subscriber's id, as in the address of the admin's page"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only report who would be erased"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_: Any, token: str | None, dry_run: bool, yes: bool, **options: Any) -> None:
        found = (
            Subscriber.objects.filter(token=token)
            if token
            else Subscriber.objects.filter(pk=options["id"])
        )
        subscriber = found.first()
        if subscriber is None:
            raise CommandError("There is no such subscriber.")
        records = Usage.objects.filter(subscriber=subscriber).count()
        if dry_run:
            self.stdout.write(
                f"Would erase #{subscriber.pk} {subscriber.name!r}, and keep the sums of {records} records."
            )
            return
        if not yes:
            confirm(
                f"Erase #{subscriber.pk} {subscriber.name!r} ({records} records) for good?",
                "Nobody was erased",
            )
        try:
            erased = erasure.erase(subscriber, By("erase_subscriber", timezone.now()))
        except erasure.ErasureError as error:
            raise CommandError(f"Not erased: {error}") from None
        dropped = ", ".join(f"{count} {name}" for name, count in erased.dropped.items())
        self.stdout.write(
            f"Erased #{subscriber.pk}: {erased.records} records moved to the anonymous subscriber; dropped {dropped}."
        )

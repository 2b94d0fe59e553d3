from typing import Any

from django.utils import timezone

from operations.management.remembered import RememberedCommand
from operations.notifications import outbox


class Command(RememberedCommand):
    help = (
        "Looks for events that receivers want to know about, and sends every notification that is not confirmed yet. "
        "It can run at any time, even twice at once; run it from cron."
    )

    def handle(self, *_: Any, **options: Any) -> None:
        now = timezone.now()
        noticed = outbox.notice(now)
        sent = outbox.deliver(now)
        self.stdout.write(
            f"Noticed {noticed} events, delivered {sent.delivered} notifications, "
            f"{sent.failed} failed and are tried again, {sent.given_up} given up."
        )

from typing import Any

from django.utils import timezone

from traffic.management.remembered import RememberedCommand
from traffic.notifications import outbox


class Command(RememberedCommand):
    help = (
        "Notices what receivers of notifications want to hear of, and sends what they have not confirmed yet. "
        "Safe to run at any time, also twice at once; made for cron."
    )

    def handle(self, *_: Any, **options: Any) -> None:
        now = timezone.now()
        noticed = outbox.notice(now)
        sent = outbox.deliver(now)
        self.stdout.write(
            f"Noticed {noticed} events, delivered {sent.delivered} notifications, "
            f"{sent.failed} failed and are tried again, {sent.given_up} given up."
        )

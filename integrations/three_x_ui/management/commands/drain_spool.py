from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.three_x_ui import draining


class Command(BaseCommand):
    help = (
        "Books the messages of 3x-ui that wait on this machine's disk for the database. The panel does so by itself; "
        "this is for a panel that is stopped. It can run at any time. The exit code is 1 when some still wait."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        booked = draining.drain()
        left = len(draining.current().paths())
        self.stdout.write(f"Booked: {booked}. Waiting: {left}.")
        if left:
            raise CommandError(
                "The database does not take them now, or another process books them."
            )

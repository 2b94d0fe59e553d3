import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.telegram import lease, running
from integrations.telegram.conf import conf


class Command(BaseCommand):
    help = (
        "Is the Telegram bot for subscribers and operators: usage, links and messages; search, extend and switch off. "
        "Asks Telegram for updates until SIGTERM. Without XPERT_TELEGRAM_TOKEN it ends at once."
    )

    def handle(self, *_: Any, **options: Any) -> None:
        if not conf.telegram_token:
            self.stdout.write("There is no bot: XPERT_TELEGRAM_TOKEN is empty.")
            return
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        try:
            running.run(stopping)
        except lease.HeldError as error:
            raise CommandError(f"The bot runs already, in process {error}.") from None
        except lease.LostError:
            raise CommandError("Another process runs the bot now.") from None
        except running.WrongTokenError:
            raise CommandError("Telegram does not know XPERT_TELEGRAM_TOKEN.") from None
        self.stdout.write("Stopped.")

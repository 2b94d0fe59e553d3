from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from subscriptions.public_urls import local_origin, public_origin, subscription_url
from traffic.conf import conf
from traffic.models import MAX_COUNTER, Subscriber
from traffic.periods import parse_expiry
from traffic.units import parse_size


class Command(BaseCommand):
    help = "Makes a subscriber and prints the subscription URL, alone on the last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who it is, for the admin's lists")
        parser.add_argument("--token", help="default: a random one")
        parser.add_argument("--limit", metavar="SIZE", help="data limit: 50GB, 1.5TB; default: none")
        parser.add_argument(
            "--reset",
            choices=Subscriber.Reset.values,
            default=Subscriber.Reset.NEVER,
            help="when what counts towards the limit starts again from nothing, in XPERT_TIME_ZONE; default: never",
        )
        parser.add_argument(
            "--reset-day",
            type=int,
            metavar="DAY",
            help="day of the month for --reset monthly, 1 to 31; a shorter month takes its last day; default: 1",
        )
        parser.add_argument(
            "--expires",
            metavar="DATE",
            help="last day (2027-01-31, in XPERT_TIME_ZONE) or ISO 8601 moment; default: never",
        )

    def handle(
        self, *_: Any, name: str, token: str | None, limit: str | None, expires: str | None, **options: Any
    ) -> None:
        """Of ``options``: ``reset`` and ``reset_day``."""
        if not name.strip() or not name.isprintable():
            raise CommandError("NAME takes visible characters.")
        subscriber = Subscriber(name=name.strip(), data_limit=_limit(limit), expires_at=_expiry(expires))
        subscriber.limit_reset, subscriber.reset_day = options["reset"], _day(options["reset"], options["reset_day"])
        if token is not None:
            subscriber.token = token
        try:
            subscriber.full_clean()
        except ValidationError as error:
            raise CommandError(_sentence(error)) from None
        subscriber.save()
        self.stdout.write(f"Subscriber {subscriber.name!r} was created; this is the subscription URL:")
        self.stdout.write(subscription_url(subscriber.token, public_origin(local_origin())))


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        raise CommandError(f"--limit: {error}") from None
    if not 1 <= size <= MAX_COUNTER:
        raise CommandError("--limit takes 1 byte to 1024 PB; leave it out for no limit.")
    return size


def _day(reset: str, day: int | None) -> int:
    if day is not None and reset != Subscriber.Reset.MONTHLY:
        raise CommandError("--reset-day goes with --reset monthly.")
    return 1 if day is None else day


def _expiry(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_expiry(text, conf.time_zone)
    except ValueError:
        raise CommandError(f"--expires takes a date like 2027-01-31, not {text!r}.") from None
    if moment <= timezone.now():
        raise CommandError(f"--expires {text} has passed.")
    return moment


def _sentence(error: ValidationError) -> str:
    """The first thing wrong, with the name of its argument."""
    field, messages = next(iter(error.message_dict.items()))
    return f"{field}: {messages[0]}"

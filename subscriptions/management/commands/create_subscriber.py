from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from operations.audit import By
from operations.refusals import Refused
from operations.units import parse_size
from subscriptions.conf import conf
from subscriptions.serving.public_urls import local_origin, public_url, subscription_url
from traffic.models import MAX_COUNTER, MAX_DEVICES, Reseller, Subscriber
from traffic.people import changes
from traffic.periods import parse_expiry


class Command(BaseCommand):
    help = "Creates a subscriber and prints the subscription URL on the last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the name that the admin shows")
        parser.add_argument("--token", help="default: a random one")
        parser.add_argument(
            "--limit", metavar="SIZE", help="data limit: 50GB, 1.5TB; default: none"
        )
        parser.add_argument(
            "--reset",
            choices=Subscriber.Reset.values,
            default=Subscriber.Reset.NEVER,
            help="when the usage that counts towards the limit starts again from zero, in XPERT_TIME_ZONE; default: never",
        )
        parser.add_argument(
            "--reset-day",
            type=int,
            metavar="DAY",
            help="day of the month for --reset monthly, 1 to 31; a shorter month takes its last day; default: 1",
        )
        parser.add_argument(
            "--reset-days",
            type=int,
            metavar="N",
            help="days of a period for --reset interval, counted from now; default: 30",
        )
        parser.add_argument(
            "--expires",
            metavar="DATE",
            help="last day (2027-01-31, in XPERT_TIME_ZONE) or ISO 8601 moment; default: never",
        )
        parser.add_argument(
            "--devices",
            type=int,
            metavar="N",
            help=f"how many devices get the list, 1 to {MAX_DEVICES}; default: any number",
        )
        parser.add_argument(
            "--reseller", metavar="NAME", help="who sees and manages the subscriber; default: none"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        values, faults = _values(options)
        subscriber = Subscriber(**values)
        try:
            subscriber.full_clean(exclude=faults.keys())
        except ValidationError as error:
            faults |= {
                field: f"{field}: {' '.join(messages)}"
                for field, messages in error.message_dict.items()
            }
        if faults:
            raise CommandError(" ".join(faults.values()))
        try:
            changes.add(subscriber, By("create_subscriber", timezone.now()))
        except Refused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(
            f"Subscriber {subscriber.name!r} was created; this is the subscription URL:"
        )
        self.stdout.write(subscription_url(subscriber.token, public_url(local_origin())))


def _values(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the arguments hold, and what is wrong with those that cannot be read, by field."""
    found: dict[str, Any] = {"limit_reset": options["reset"]}
    faults: dict[str, str] = {}
    if options["token"] is not None:
        found["token"] = options["token"]
    for field, read in _READERS.items():
        try:
            found[field] = read(options)
        except ValueError as error:
            faults[field] = str(error)
    return found, faults


def _name(options: dict[str, Any]) -> str:
    name: str = options["name"]
    if not name.strip() or not name.isprintable():
        raise ValueError("NAME must contain visible characters.")
    return name.strip()


def _limit(options: dict[str, Any]) -> int | None:
    if options["limit"] is None:
        return None
    try:
        size = parse_size(options["limit"])
    except ValueError as error:
        raise ValueError(f"--limit: {error}") from None
    if not 1 <= size <= MAX_COUNTER:
        raise ValueError("--limit takes 1 byte to 1024 PB; leave it out for no limit.")
    return size


def _day(options: dict[str, Any]) -> int:
    day: int | None = options["reset_day"]
    if day is not None and options["reset"] != Subscriber.Reset.MONTHLY:
        raise ValueError("--reset-day goes with --reset monthly.")
    return 1 if day is None else day


def _days(options: dict[str, Any]) -> int:
    days: int | None = options["reset_days"]
    if days is not None and options["reset"] != Subscriber.Reset.INTERVAL:
        raise ValueError("--reset-days goes with --reset interval.")
    return 30 if days is None else days


def _expiry(options: dict[str, Any]) -> datetime | None:
    text: str | None = options["expires"]
    if text is None:
        return None
    try:
        moment = parse_expiry(text, conf.time_zone)
    except ValueError:
        raise ValueError(f"--expires takes a date like 2027-01-31, not {text!r}.") from None
    if moment <= timezone.now():
        raise ValueError(f"--expires {text} has passed.")
    return moment


def _devices(options: dict[str, Any]) -> int | None:
    number: int | None = options["devices"]
    if number is not None and not 1 <= number <= MAX_DEVICES:
        raise ValueError(f"--devices takes 1 to {MAX_DEVICES}; leave it out for any number.")
    return number


def _reseller(options: dict[str, Any]) -> Reseller | None:
    name: str | None = options["reseller"]
    if name is None:
        return None
    found = Reseller.objects.filter(name=name).first()
    if found is None:
        raise ValueError(f"--reseller: there is no reseller named {name!r}.")
    return found


_READERS = {
    "name": _name,
    "data_limit": _limit,
    "reset_day": _day,
    "reset_days": _days,
    "expires_at": _expiry,
    "device_limit": _devices,
    "reseller": _reseller,
}

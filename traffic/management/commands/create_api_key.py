from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from traffic.authentication import create_api_key
from traffic.models import ApiKey


class Command(BaseCommand):
    help = "Makes an API key. It is shown once, alone on the last line, and stored only as a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who or what will use it")
        parser.add_argument("--scope", required=True, choices=ApiKey.Scope.values)
        parser.add_argument("--expires-in", type=int, metavar="DAYS", help="days until it expires; default: never")

    def handle(self, *args: Any, name: str, scope: str, expires_in: int | None, **options: Any) -> None:
        name = name.strip()
        if not 1 <= len(name) <= 100:
            raise CommandError("NAME takes 1 to 100 characters.")
        if expires_in is not None and not 1 <= expires_in <= 3650:
            raise CommandError("--expires-in takes 1 to 3650 days.")
        expires_at = timezone.now() + timedelta(days=expires_in) if expires_in else None
        _, secret = create_api_key(name, scope, expires_at)
        self.stdout.write(f"API key {name!r} with scope {scope}; keep it, it is shown only now:")
        self.stdout.write(secret)

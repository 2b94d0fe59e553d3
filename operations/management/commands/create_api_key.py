from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from operations import audit
from operations.api.authentication import create_api_key
from operations.audit import Action, By
from operations.conf import MAX_DAYS
from operations.databases.transactions import write_transaction
from operations.extension import KeyOption, as_stored, key_options
from operations.models import ApiKey


class Command(BaseCommand):
    help = "Creates an API key and prints it on the last line. It is shown only once and stored only as a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who or what will use it")
        parser.add_argument("--scope", required=True, choices=ApiKey.GENERAL_SCOPES)
        parser.add_argument(
            "--expires-in", type=int, metavar="DAYS", help="days until it expires; default: never"
        )
        for option in key_options():
            _add(parser, option)

    def handle(
        self, *args: Any, name: str, scope: str, expires_in: int | None, **options: Any
    ) -> None:
        name = name.strip()
        if not 1 <= len(name) <= 100:
            raise CommandError("NAME takes 1 to 100 characters.")
        if expires_in is not None and not 1 <= expires_in <= MAX_DAYS:
            raise CommandError(f"--expires-in takes 1 to {MAX_DAYS} days.")
        expires_at = timezone.now() + timedelta(days=expires_in) if expires_in else None
        with write_transaction():
            key, secret = create_api_key(name, scope, expires_at, _chosen(scope, options))
            audit.note(Action.ADDED, key, By("create_api_key", timezone.now()))
        self.stdout.write(f"API key {name!r} with scope {scope}; keep it, it is shown only now:")
        self.stdout.write(secret)


def _add(parser: ArgumentParser, option: KeyOption) -> None:
    if option.offered is not None:
        words = f"{option.label}; default: any"
        parser.add_argument(f"--{option.name}", nargs="+", metavar="NAME", default=[], help=words)
        return
    known = [value for value, _text in option.choices if value]
    default = option.default or ("any" if known or option.is_limit else "none")
    parser.add_argument(
        f"--{option.name}",
        choices=known or None,
        default=option.default,
        help=f"{option.label}; default: {default}",
    )


def _chosen(scope: str, options: dict[str, Any]) -> dict[str, str]:
    """A key that only reads has no options but its limits."""
    suitable = [option for option in key_options() if option.is_limit or scope != ApiKey.Scope.READ]
    return as_stored({option.name: _cleaned(option, options[option.name]) for option in suitable})


def _cleaned(option: KeyOption, value: Any) -> str:
    if option.offered is not None:
        return _by_text(option.name, option.offered(), value)
    try:
        return option.clean(value) if value else ""
    except ValueError as error:
        raise CommandError(f"--{option.name}: {error}") from None


def _by_text(name: str, offered: Iterable[tuple[str, str]], texts: list[str]) -> str:
    values = {text: value for value, text in offered}
    for text in texts:
        if text not in values:
            raise CommandError(f"--{name}: there is nothing named {text!r}.")
    return ",".join(sorted({values[text] for text in texts}))

"""Confirmation before something that cannot be undone."""

import sys

from django.core.management.base import CommandError


def confirm(question: str, refusal: str) -> None:
    """Return only if a person at a terminal types yes; otherwise raise a CommandError that begins with ``refusal``."""
    if not sys.stdin.isatty():
        raise CommandError(f"{refusal}: there is no terminal to ask on; use --yes.")
    if input(f"{question} Type yes: ").strip().lower() != "yes":
        raise CommandError(f"{refusal}.")

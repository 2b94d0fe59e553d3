"""Asking before something that cannot be undone."""

import sys

from django.core.management.base import CommandError


def confirm(question: str, refusal: str) -> None:
    """Go on only when a person at a terminal types yes; else CommandError begins with ``refusal``."""
    if not sys.stdin.isatty():
        raise CommandError(f"{refusal}: without a terminal to ask on, say --yes.")
    if input(f"{question} Type yes: ").strip().lower() != "yes":
        raise CommandError(f"{refusal}.")

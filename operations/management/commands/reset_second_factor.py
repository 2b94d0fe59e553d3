from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from operations import second_factor
from operations.audit import By


class Command(BaseCommand):
    help = "Takes the second factor of a staff user away who has lost phone and recovery codes. The password stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        users = get_user_model()._default_manager  # noqa: SLF001  Django's own name for it
        user = users.filter(**{get_user_model().USERNAME_FIELD: username}).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        if not second_factor.take_away(user, By("reset_second_factor", timezone.now())):
            raise CommandError(f"{username!r} has no second factor.")
        self.stdout.write(f"The second factor of {username!r} is gone; the password lets them in.")

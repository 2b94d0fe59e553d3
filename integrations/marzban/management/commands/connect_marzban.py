import getpass
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from integrations.marzban import linking
from integrations.marzban.link_errors import LinkError
from integrations.marzban.linking import Account, Wanted
from operations.audit import By


class Command(BaseCommand):
    help = (
        "Links a Marzban or PasarGuard: its users become subscribers, and external traffic counts there. Asks for an admin's "
        "name and password, which are used once and kept nowhere. The service marzban_node must be running. Run again it "
        "changes nothing; --remove undoes it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="address of the panel, like https://marzban.example.com")
        parser.add_argument("--username", help="a sudo admin of the panel")
        parser.add_argument("--password-file", type=Path, help="its first line is the password")
        parser.add_argument(
            "--node-address",
            default="",
            metavar="HOST",
            help="how the panel reaches this machine; default: where the node listens",
        )
        parser.add_argument("--remove", action="store_true", help="remove the node and the link")

    def handle(
        self,
        *_: Any,
        url: str,
        username: str | None,
        password_file: Path | None,
        node_address: str,
        remove: bool,
        **options: Any,
    ) -> None:
        by = By("connect_marzban", timezone.now())
        try:
            linking.address_of(url)  # before anybody types a password
            account = Account(username or _asked(input, "Admin: "), _password(password_file))
            if remove:
                link = linking.disconnect(url, account, by)
                self.stdout.write(f"{link.url} is no longer linked.")
                return
            wanted = Wanted(url=url, account=account, node_address=node_address)
            self._tell(linking.connect(wanted, by))
        except LinkError as error:
            raise CommandError(str(error)) from None

    def _tell(self, found: linking.Linked) -> None:
        name, url = found.node.name, found.link.url
        if found.is_new:
            self.stdout.write(f"{url} is linked: its node “{name}” is connected.")
        else:
            self.stdout.write(f"{url} was linked already: its node “{name}” is connected.")


def _password(file: Path | None) -> str:
    if file is None:
        return _asked(getpass.getpass, "Password: ")
    try:
        return file.read_text().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The password file cannot be read: {error}") from None


def _asked(ask: Any, prompt: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("Give --username and --password-file: there is no terminal to ask on.")
    return str(ask(prompt))

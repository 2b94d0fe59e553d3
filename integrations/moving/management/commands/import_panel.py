import getpass
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from integrations.moving import moving_in, planning, preview, reading, words
from integrations.moving.accounts import People
from integrations.moving.panels import PANELS
from integrations.moving.planning import Fate, Step, Wanted
from integrations.moving.preview import Line
from integrations.pulls.adapters.asking import Access, Way
from operations.audit import By
from operations.management.progress import Stages
from operations.management.questions import confirm

_ROW = "{:<24}  {:<8}  {:>10}  {:>10}  {:<24}  {:<14}  {:<13}  {}"
_HEADS = ("name", "state", "used", "limit", "ends", "reset", "link", "")
# People whom the question shows; --dry-run shows all.
_SHOWN = 50


class Command(BaseCommand):
    help = (
        "Moves people in from a Marzban, PasarGuard, 3x-ui or Remnawave panel: name, limit, usage of the current period, end, "
        "reset, note, state, and the token where there is one. Shows them before and asks. The panel is only read. Run again, "
        "it makes nobody twice and changes nobody who has moved in before."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=PANELS, help="the kind of the panel")
        parser.add_argument(
            "source",
            metavar="SOURCE",
            help="the address of the running panel, like https://panel.example.com, or its SQLite database: db.sqlite3 of "
            "Marzban and PasarGuard, x-ui.db of 3x-ui",
        )
        parser.add_argument("--username", help="of an admin of the running panel")
        parser.add_argument("--password-file", type=Path, help="its first line is the password")
        parser.add_argument(
            "--token-file",
            type=Path,
            help="its first line is an API token; for Remnawave, PasarGuard and 3x-ui 3",
        )
        parser.add_argument(
            "--secret-file",
            type=Path,
            help="its first line is secret_key of the table jwt of Marzban or PasarGuard, so that old links work; the SQLite "
            "database holds it already",
        )
        parser.add_argument(
            "--name", help="what to call the panel; for a second one of the same kind"
        )
        parser.add_argument(
            "--same-names",
            action="store_true",
            help="also move in people whose name a subscriber has already, as other people",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show who would move in, and who not"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_: Any, kind: str, source: str, **options: Any) -> None:
        name = options["name"] or PANELS[kind].name
        if len(name) > 100 or not name.isprintable():
            raise CommandError("--name: Expected at most 100 visible characters.")
        wanted = Wanted(kind, name, options["same_names"])
        people = self._read(kind, source, options)
        steps = self._planned(wanted, people)
        dry_run, yes = options["dry_run"], options["yes"]
        self._show(kind, people, steps, None if dry_run else _SHOWN)
        new = sum(step.fate is Fate.NEW for step in steps)
        if dry_run:
            self.stdout.write(f"Would move in {_counted(new)}; {_rest(steps, people)}.")
            return
        if new and not yes:
            confirm(f"Move in {_counted(new)}?", "Nobody was moved in")
        self._move(wanted, people)

    def _read(self, kind: str, source: str, options: dict[str, Any]) -> People:
        secret = _first_line(options["secret_file"]) if options["secret_file"] else ""
        try:
            people = _people(kind, source, options)
        except reading.ReadingError as error:
            raise CommandError(f"Nobody was moved in: {words.error(error.code)}") from None
        return msgspec.structs.replace(people, secret=secret) if secret else people

    def _planned(self, wanted: Wanted, people: People) -> list[Step]:
        try:
            moving_in.require_same(wanted, people.secret)
        except moving_in.AnotherPanelError:
            raise CommandError(f"{words.OTHER_PANEL} (--name)") from None
        return list(planning.plan(wanted, people.accounts))

    def _show(self, kind: str, people: People, steps: list[Step], most: int | None) -> None:
        lines = list(preview.lines(kind, people, steps, timezone.now()))
        if lines:
            self.stdout.write(_ROW.format(*_HEADS).rstrip())
        for line in lines[:most]:
            self.stdout.write(_row(line))
        if most is not None and len(lines) > most:
            self.stdout.write(f"… and {len(lines) - most} more; --dry-run shows all")
        for one in preview.left_out(people, steps):
            self.stderr.write(f"{one.name}: {one.why}")

    def _move(self, wanted: Wanted, people: People) -> None:
        try:
            with Stages() as stages:
                moved = moving_in.move_in(
                    wanted, people, By("import_panel", timezone.now()), stages
                )
        except moving_in.AnotherPanelError:
            raise CommandError(f"{words.OTHER_PANEL} (--name)") from None
        new = len(moved.subscribers)
        rest = _told(moved.fates, len(people.unreadable))
        self.stdout.write(
            f"Moved in {_counted(new)} from {wanted.name}; {rest}."
            if new
            else f"Nothing new: nobody was moved in from {wanted.name}; {rest}."
        )


def _people(kind: str, source: str, options: dict[str, Any]) -> People:
    if "://" not in source:
        return reading.from_file(kind, Path(source))
    address = reading.Address(source, _access(kind, options), is_private=True)
    return reading.over_api(kind, address)


def _access(kind: str, options: dict[str, Any]) -> Access:
    offered = reading.ways(kind)
    if options["token_file"]:
        return _offered(Access(Way.KEY, secret=_first_line(options["token_file"])), kind)
    if Way.LOGIN not in offered:
        return Access(Way.KEY, secret=_asked(getpass.getpass, "API token: ", "--token-file"))
    username = options["username"] or _asked(input, "Admin: ", "--username")
    file = options["password_file"]
    password = (
        _first_line(file) if file else _asked(getpass.getpass, "Password: ", "--password-file")
    )
    return Access(Way.LOGIN, username, password)


def _offered(access: Access, kind: str) -> Access:
    if access.way not in reading.ways(kind):
        raise CommandError(f"{PANELS[kind].name} has no API tokens: give --username.")
    return access


def _asked(ask: Any, prompt: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"Give {option}: there is no terminal to ask on.")
    return str(ask(prompt))


def _first_line(file: Path) -> str:
    try:
        return file.read_text().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None


def _row(line: Line) -> str:
    name = line.name if len(line.name) <= 24 else f"{line.name[:23]}…"
    cells = (name, line.state, line.used, line.limit, line.term, line.reset, line.link)
    return _ROW.format(*map(str, cells), line.remarks).rstrip()


def _counted(number: int) -> str:
    return "1 person" if number == 1 else f"{number} people"


def _rest(steps: Sequence[Step], people: People) -> str:
    return _told(Counter(step.fate for step in steps), len(people.unreadable))


def _told(fates: Counter[Fate], unreadable: int) -> str:
    moved = fates[Fate.MOVED]
    others = fates.total() - fates[Fate.NEW] - moved + unreadable
    return f"{moved} had moved in before, {others} were left out"

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from subscriptions.direct_configs import add_many, numbered_lines
from traffic.logs import masked

# A list of ten thousand long links has 40 MB.
_MAX_BYTES = 64 * 2**20


class Command(BaseCommand):
    help = "Adds a list of share links, one a line, behind those that are there. Bad lines are named; the good ones are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="text file in UTF-8; - = standard input")

    def handle(self, *_: Any, file: str, **options: Any) -> None:
        lines = numbered_lines(_read(file))
        added = add_many(lines.values())
        numbers = list(lines)
        for index, error in added.errors.items():
            number = numbers[index]
            self.stderr.write(f"line {number}: {masked(lines[number].strip())} {error}")
        summary = f"Direct configurations: {len(added.configs)} added, {len(added.errors)} refused."
        if not added.configs:
            raise CommandError(summary)
        self.stdout.write(summary)


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read(_MAX_BYTES + 1) if file == "-" else _read_file(Path(file))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    if len(content) > _MAX_BYTES:
        raise CommandError(f"{file} is larger than {_MAX_BYTES // 2**20} MiB.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text (byte {error.start}).") from None


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_MAX_BYTES + 1)

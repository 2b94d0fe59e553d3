import codecs
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from operations.audit import By
from operations.masks import masked
from subscriptions.direct_configs import add_many
from subscriptions.sources.source_lists import decoded_text, numbered_lines

# Ten thousand long links take 40 MB.
_MAX_BYTES = 64 * 2**20


class Command(BaseCommand):
    help = (
        "Adds a list of share links, one per line, or such a list in base64, after the existing links. "
        "Bad lines are reported; good ones are kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="text file; - = standard input")

    def handle(self, *_: Any, file: str, **options: Any) -> None:
        lines = numbered_lines(_read(file))
        added = add_many((link for _, link in lines), By("add_direct_configs", timezone.now()))
        for index, error in added.errors.items():
            number, link = lines[index]
            self.stderr.write(f"line {number}: {masked(link)} {error}")
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
    if b"\0" in content and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CommandError(f"{file} is not text (byte {content.index(0)}).")
    return decoded_text(content)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_MAX_BYTES + 1)

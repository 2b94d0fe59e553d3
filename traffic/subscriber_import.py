"""Subscribers from a CSV file: read as a whole before anything is stored, every bad line named.

``read`` serves a preview as well: it asks the database which tokens are taken, and writes nothing.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from . import audit
from .audit import Action, By
from .conf import conf
from .models import MAX_COUNTER, Subscriber, new_token
from .periods import parse_expiry
from .turns import writers_turn
from .units import parse_size

MAX_BYTES = 16 * 2**20
MAX_ROWS = 100_000
COLUMNS = ("name", "token", "note", "data_limit", "expires", "limit_reset", "reset_day", "active")
_STEP = 500
# With one of these a spreadsheet begins a formula (OWASP: CSV injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FLAGS = {
    "": True, "true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False,
    "да": True, "нет": False,
}  # fmt: skip


class BadLine(NamedTuple):
    """Why a line cannot be taken. ``line`` counts from 1, the header included; 0: the file as a whole."""

    line: int
    message: str


class Parsed(msgspec.Struct):
    """``subscribers``: unsaved, by their line. ``errors``: in the order of the file, one a line."""

    subscribers: dict[int, Subscriber] = msgspec.field(default_factory=dict)
    errors: list[BadLine] = msgspec.field(default_factory=list)


TokenOf = Callable[[int], str]
"""A new token for whoever stands in this line."""


def read(content: bytes, token_of: TokenOf = lambda _: new_token()) -> Parsed:
    """Subscribers from CSV in UTF-8 with a header row; commas or semicolons. ``token_of``: for lines that name none."""
    parsed = Parsed()
    try:
        _read(_decoded(content), parsed, token_of)
    except _BadFileError as error:
        parsed.errors.append(BadLine(error.line, str(error)))
    _refuse_taken(parsed)
    parsed.errors.sort()
    return parsed


def store(subscribers: Iterable[Subscriber], by: By) -> int:
    """Save what ``read`` has found, all or nothing; IntegrityError when a token has been taken since."""
    rows = list(subscribers)
    with writers_turn(), transaction.atomic():
        Subscriber.objects.bulk_create(rows, batch_size=_STEP)
        audit.note_many(Action.ADDED, [(row, {}) for row in rows], by)
    return len(rows)


class _BadFileError(ValueError):
    """Nothing of the file, or nothing from this line on, can be read."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


def _decoded(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _BadFileError(_("The file is larger than %(limit)d MiB.") % {"limit": MAX_BYTES // 2**20})
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _BadFileError(_("The file is not UTF-8 text: save it as “CSV UTF-8”."), line) from None


def _read(text: str, parsed: Parsed, token_of: TokenOf) -> None:
    first = text.partition("\n")[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    lines = _numbered(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    columns = _header(next(lines, (1, []))[1])
    seen: dict[str, int] = {}
    for line, cells in lines:
        if len(parsed.subscribers) + len(parsed.errors) == MAX_ROWS:
            raise _BadFileError(_("The file has more than %(limit)d lines.") % {"limit": MAX_ROWS}, line)
        try:
            subscriber = _subscriber(columns, cells, token_of(line))
        except ValueError as error:
            parsed.errors.append(BadLine(line, str(error)))
            continue
        if (first_line := seen.setdefault(subscriber.token, line)) == line:
            parsed.subscribers[line] = subscriber
        else:
            parsed.errors.append(BadLine(line, _("token: line %(line)d has the same.") % {"line": first_line}))


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line they begin in; a note may go over several. Empty lines are none."""
    begun = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begun, cells
            begun = reader.line_num + 1
    except csv.Error as error:
        raise _BadFileError(_("This is no CSV: %(reason)s.") % {"reason": error}, begun) from None


def _header(cells: Sequence[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    known = _("Known are: %(columns)s.") % {"columns": ", ".join(COLUMNS)}
    if unknown := [column or "“”" for column in columns if column not in COLUMNS]:
        raise _BadFileError(_("Unknown columns: %(columns)s.") % {"columns": ", ".join(unknown)} + " " + known, 1)
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise _BadFileError(_("Columns that come twice: %(columns)s.") % {"columns": ", ".join(twice)}, 1)
    if not {"name", "token"} & set(columns):
        raise _BadFileError(_("The first line must name the columns, “name” or “token” among them.") + " " + known, 1)
    return columns


def _subscriber(columns: Sequence[str], cells: Sequence[str], token: str) -> Subscriber:
    """One unsaved subscriber, with ``token`` unless a cell names another; ValueError says which cell is wrong, and why."""
    if len(cells) != len(columns):
        counts = {"found": len(cells), "expected": len(columns)}
        raise ValueError(_("%(found)d cells instead of %(expected)d.") % counts)
    texts = {column: _text(cell) for column, cell in zip(columns, cells, strict=True)}
    if not (texts.get("name") or texts.get("token")):
        raise ValueError(_("Neither a name nor a token."))
    subscriber = Subscriber(**{"token": token} | _values(texts))
    try:
        subscriber.clean_fields()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise ValueError(f"{_COLUMN_OF.get(field, field)}: {messages[0]}") from None
    return subscriber


def _text(cell: str) -> str:
    """Without the apostrophe that our own download puts before what a spreadsheet would take for a formula."""
    text = cell.strip()
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA) else text


_COLUMN_OF = {"is_active": "active", "expires_at": "expires"}


def _values(texts: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, text in texts.items():
        field, parse = _PARSERS[column]
        try:
            value = parse(text)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{column}: {error}") from None
        if value is not None:
            found[field] = value
    return found


def _words(text: str) -> str:
    if not text.isprintable():
        raise ValueError(_("Expected visible characters."))
    return text


def _note(text: str) -> str:
    if "\x00" in text:
        raise ValueError(_("Expected text."))
    return text


def _token(text: str) -> str | None:
    """Nothing: a new one is made."""
    return text or None


def _limit(text: str) -> int | None:
    """Nothing, or 0 as other panels write it: unlimited."""
    try:
        size = parse_size(text) if text else 0
    except ValueError:
        message = _("“%(value)s” is not a size. Write for example 50 GB, 1.5 TB or 700 MB.")
        raise ValueError(message % {"value": text}) from None
    if size > MAX_COUNTER:
        raise ValueError(_("Expected 1024 PB at most."))
    return size or None


def _expiry(text: str) -> datetime | None:
    try:
        return None if text in {"", "0"} else parse_expiry(text, conf.time_zone)
    except ValueError:
        raise ValueError(_("“%(value)s” is not a date. Write for example 2027-01-31.") % {"value": text}) from None


def _reset(text: str) -> str | None:
    if text.lower() not in {"", *Subscriber.Reset.values}:
        raise ValueError(_("Expected one of %(choices)s.") % {"choices": ", ".join(Subscriber.Reset.values)})
    return text.lower() or None


def _day(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and 1 <= int(text) <= 31):
        raise ValueError(_("Expected a day from 1 to 31."))
    return int(text) if text else None


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(_("Expected yes or no."))
    return _FLAGS[text.lower()]


_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("name", _words),
    "token": ("token", _token),
    "note": ("note", _note),
    "data_limit": ("data_limit", _limit),
    "expires": ("expires_at", _expiry),
    "limit_reset": ("limit_reset", _reset),
    "reset_day": ("reset_day", _day),
    "active": ("is_active", _flag),
}


def _refuse_taken(parsed: Parsed) -> None:
    """Tokens of subscribers that are here already, deleted ones too."""
    lines = {subscriber.token: line for line, subscriber in parsed.subscribers.items()}
    tokens = list(lines)
    for start in range(0, len(tokens), _STEP):
        taken = Subscriber.objects.filter(token__in=tokens[start : start + _STEP])
        for token in taken.values_list("token", flat=True):
            del parsed.subscribers[lines[token]]
            parsed.errors.append(BadLine(lines[token], _("token: Another subscriber has it.")))

"""Subscribers from a CSV file. The whole file is read before anything is stored, and every bad line is named.

``read`` also makes the preview: it looks up tokens that are in use and writes nothing.
"""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from operations import audit
from operations.audit import Action, By
from operations.conf import MAX_DAYS
from operations.databases.transactions import write_transaction
from operations.tables import FORMULA
from operations.units import UnitMissing, parse_size
from traffic.conf import conf
from traffic.models import MAX_COUNTER, MAX_DEVICES, Reseller, Subscriber, new_token
from traffic.periods import parse_expiry, unix_end
from traffic.reports import is_token

from . import resellers

MAX_BYTES = 16 * 2**20
MAX_ROWS = 100_000
COLUMNS = (
    "name",
    "token",
    "note",
    "data_limit",
    "expires",
    "limit_reset",
    "reset_day",
    "reset_days",
    "active",
    "hold_days",
    "device_limit",
)
_STEP = 500
_FLAGS = {
    "": True, "true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False,
    "да": True, "нет": False, "истина": True, "ложь": False,
}  # fmt: skip
# Spreadsheets and web pages put these between a number and its unit, or into a name.
_BLANKS = str.maketrans("\u00a0\u202f", "  ")
_DELIMITERS = ",;\t"
# This line tells Excel the delimiter; it is not a row.
_SEPARATOR = re.compile(r'"?sep=([^\w\s"]|\t)"?[ \t,;]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_FIRST_LINE = re.compile(r"[^\r\n]*[^\r\n\t ,;][^\r\n]*")
# Dates as spreadsheets write them: 31.01.2027 with the day first, 2027/01/31 with the year first.
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(.*)", re.ASCII | re.DOTALL)
_YEAR_FIRST = re.compile(r"(\d{4})[./](\d{1,2})[./](\d{1,2})(.*)", re.ASCII | re.DOTALL)
_HOUR = re.compile(r"[ T]+(\d):", re.ASCII)
# A number with fewer digits is a date without dashes.
_UNIX = re.compile(r"\d{9,18}", re.ASCII)


class BadLine(NamedTuple):
    """Why a line is refused. ``line`` counts from 1, including the header; 0: the whole file."""

    line: int
    message: str


class Parsed(msgspec.Struct, frozen=True):
    """``subscribers``: unsaved, by line. ``errors``: in the order of the file, one per line with all its faults."""

    subscribers: dict[int, Subscriber]
    errors: list[BadLine]


class _Lines(msgspec.Struct):
    """The result so far. It keeps the subscriber of a bad line, because its token may be in use too."""

    subscribers: dict[int, Subscriber] = msgspec.field(default_factory=dict)
    faults: dict[int, list[str]] = msgspec.field(default_factory=dict)

    def blame(self, line: int, *faults: str) -> None:
        self.faults.setdefault(line, []).extend(faults)

    def parsed(self) -> Parsed:
        good = {line: found for line, found in self.subscribers.items() if line not in self.faults}
        bad = [BadLine(line, " ".join(faults)) for line, faults in sorted(self.faults.items())]
        return Parsed(good, bad)


TokenOf = Callable[[int], str]
"""A function that makes a new token for a line."""


def read(
    content: bytes,
    token_of: TokenOf = lambda _: new_token(),
    known: Collection[str] = COLUMNS,
) -> Parsed:
    """Read subscribers from CSV in UTF-8 with a header row. ``token_of`` makes tokens for lines without one.

    ``known``: the columns that the file may have.

    Accepts commas, semicolons or tabs, and dates and booleans as English and Russian spreadsheets write them.
    """
    lines = _Lines()
    try:
        _read(_decoded(content), lines, token_of, known)
    except _BadFileError as error:
        lines.blame(error.line, str(error))
    _blame_twice(lines)
    _blame_taken(lines)
    return lines.parsed()


def store(subscribers: Iterable[Subscriber], by: By, reseller: Reseller | None = None) -> int:
    """Save the result of ``read``, all or nothing, as subscribers of this reseller.

    Raises IntegrityError if a token is in use by now, Refused if the reseller's quota does not allow it.
    """
    rows = list(subscribers)
    for row in rows:
        row.reseller = reseller
    with write_transaction(), resellers.kept(rows, by.now):
        Subscriber.objects.bulk_create(rows, batch_size=_STEP)
        audit.note_many(Action.ADDED, [(row, {}) for row in rows], by)
    return len(rows)


class _BadFileError(ValueError):
    """The file cannot be read at all, or not beyond this line."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


def _decoded(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _BadFileError(
            _("The file is larger than %(limit)d MiB.") % {"limit": MAX_BYTES // 2**20}
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _BadFileError(
            _("The file is not UTF-8 text: save it as “CSV UTF-8”."), line
        ) from None


def _read(text: str, lines: _Lines, token_of: TokenOf, known: Collection[str]) -> None:
    rows = _numbered(text)
    header_line, header = next(rows, (1, []))
    columns = _header(header, header_line, known)
    for count, (line, cells) in enumerate(rows):
        if count == MAX_ROWS:
            raise _BadFileError(
                _("The file has more than %(limit)d lines.") % {"limit": MAX_ROWS}, line
            )
        try:
            texts = _texts(columns, cells)
        except ValueError as error:
            lines.blame(line, str(error))
            continue
        lines.subscribers[line], faults = _subscriber(texts, token_of(line))
        if faults:
            lines.blame(line, *faults)


def _numbered(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their first line, because a note may span several lines. Empty lines are skipped."""
    separator = _SEPARATOR.match(text)
    skipped = 1 if separator else 0
    text = text[separator.end() :] if separator else text
    delimiter = separator[1] if separator else _delimiter(text)
    begun = 1 + skipped
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begun, cells
            begun = reader.line_num + 1 + skipped
    except (csv.Error, ValueError) as error:
        raise _BadFileError(
            _("This is not a CSV file: %(reason)s.") % {"reason": error}, begun
        ) from None


def _delimiter(text: str) -> str:
    """The most frequent delimiter in the header."""
    found = _FIRST_LINE.search(text)
    return max(_DELIMITERS, key=found[0].count) if found else _DELIMITERS[0]


def _header(cells: Sequence[str], line: int, known: Collection[str]) -> list[str]:
    """The column names. A column without a name, which spreadsheets leave at the edge, is empty."""
    columns = [cell.strip().lower() for cell in cells]
    told = _("Known columns: %(columns)s.") % {"columns": ", ".join(known)}
    if unknown := [column for column in columns if column and column not in known]:
        raise _BadFileError(
            _("Unknown columns: %(columns)s.") % {"columns": ", ".join(unknown)} + " " + told, line
        )
    if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise _BadFileError(
            _("Duplicate columns: %(columns)s.") % {"columns": ", ".join(twice)}, line
        )
    if not {"name", "token"} & set(columns):
        raise _BadFileError(
            _("The first line must name the columns and include “name” or “token”.") + " " + told,
            line,
        )
    while not columns[-1]:
        columns.pop()
    return columns


def _subscriber(texts: Mapping[str, str], token: str) -> tuple[Subscriber, list[str]]:
    """One unsaved subscriber and its faults. ``token`` is used unless a cell holds another."""
    values, faults = _values(texts)
    subscriber = Subscriber(**{"token": token} | values)
    try:
        subscriber.clean_fields(exclude=faults.keys())
    except ValidationError as error:
        faults |= {field: " ".join(messages) for field, messages in error.message_dict.items()}
    found = [f"{_COLUMN_OF.get(field, field)}: {message}" for field, message in faults.items()]
    if not (texts.get("name") or texts.get("token")):
        found.append(_("Expected a name or a token."))
    return subscriber, found


def _texts(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The cell of each named column. Cells beyond them must be empty."""
    beyond = cells[len(columns) :]
    if len(cells) < len(columns) or any(cell.strip() for cell in beyond):
        counts = {"found": len(cells), "expected": len(columns)}
        raise ValueError(_("%(found)d cells instead of %(expected)d.") % counts)
    texts = dict(zip(columns, map(_text, cells), strict=False))
    if any(cell.strip() for column, cell in zip(columns, cells, strict=False) if not column):
        raise ValueError(_("A cell is in a column without a name."))
    texts.pop("", None)
    return texts


def _text(cell: str) -> str:
    """Remove the apostrophe that our download puts before text that a spreadsheet would read as a formula."""
    text = cell.translate(_BLANKS).strip()
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA) else text


_COLUMN_OF = {"is_active": "active", "expires_at": "expires"}


def _values(texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the cells and the errors of unreadable cells, by field."""
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for column, text in texts.items():
        field, parse = _PARSERS[column]
        try:
            value = parse(text)
        except (ValueError, OverflowError) as error:
            faults[field] = str(error)
            continue
        if value is not None:
            found[field] = value
    return found, faults


def _words(text: str) -> str:
    if not text.isprintable():
        raise ValueError(_("Expected visible characters."))
    return text


def _note(text: str) -> str:
    if "\x00" in text:
        raise ValueError(_("Expected text."))
    return text


def _token(text: str) -> str | None:
    """Empty is None: a new token is made."""
    return text or None


def _limit(text: str) -> int | None:
    """Empty is unlimited, and so is 0, which other panels write."""
    try:
        size = parse_size(text) if text else 0
    except UnitMissing:
        message = _("Is “%(value)s” in GB? Write the unit, for example %(value)s GB.")
        raise ValueError(message % {"value": text}) from None
    except ValueError:
        message = _("“%(value)s” is not a size. Write for example 50 GB, 1.5 TB or 700 MB.")
        raise ValueError(message % {"value": text}) from None
    if size > MAX_COUNTER:
        raise ValueError(_("Expected at most 1024 PB."))
    return size or None


def _expiry(text: str) -> datetime | None:
    try:
        if _UNIX.fullmatch(text):
            seconds = unix_end(int(text))
            return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return None if text in {"", "0"} else parse_expiry(_iso(text), conf.time_zone)
    except ValueError:
        raise ValueError(
            _("“%(value)s” is not a date. Write for example 2027-01-31.") % {"value": text}
        ) from None


def _iso(text: str) -> str:
    """The date in ISO 8601 order, followed by its time."""
    if found := _DAY_FIRST.fullmatch(text):
        day, month, year, rest = found.groups()
    elif found := _YEAR_FIRST.fullmatch(text):
        year, month, day, rest = found.groups()
    else:
        return text
    # ISO 8601 requires two digits for the hour.
    return f"{year}-{int(month):02}-{int(day):02}" + _HOUR.sub(r" 0\1:", rest)


def _reset(text: str) -> str | None:
    if text.lower() not in {"", *Subscriber.Reset.values}:
        raise ValueError(
            _("Expected one of %(choices)s.") % {"choices": ", ".join(Subscriber.Reset.values)}
        )
    return text.lower() or None


def _day(text: str) -> int | None:
    return _whole(text, 31, _("Expected a day from 1 to 31."))


def _days(text: str) -> int | None:
    sentence = _("Expected a number of days from 1 to %(most)d.") % {"most": MAX_DAYS}
    return _whole(text, MAX_DAYS, sentence)


def _devices(text: str) -> int | None:
    sentence = _("Expected a number of devices from 1 to %(most)d.") % {"most": MAX_DEVICES}
    return _whole(text, MAX_DEVICES, sentence)


def _whole(text: str, most: int, sentence: str) -> int | None:
    """A number from 1 to ``most``; None for an empty cell."""
    if not text:
        return None
    digits = text.lstrip("0")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= most):
        raise ValueError(sentence)
    return int(digits)


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
    "reset_days": ("reset_days", _days),
    "active": ("is_active", _flag),
    "hold_days": ("hold_days", _days),
    "device_limit": ("device_limit", _devices),
}


def _blame_twice(lines: _Lines) -> None:
    first: dict[str, int] = {}
    for line, subscriber in lines.subscribers.items():
        if (before := first.setdefault(subscriber.token, line)) != line:
            lines.blame(line, _("token: Line %(line)d has the same token.") % {"line": before})


def _blame_taken(lines: _Lines) -> None:
    """Add errors for tokens that existing subscribers have, including deleted ones."""
    found = {subscriber.token: line for line, subscriber in reversed(lines.subscribers.items())}
    tokens = [token for token in found if is_token(token)]
    for start in range(0, len(tokens), _STEP):
        taken = Subscriber.objects.filter(token__in=tokens[start : start + _STEP])
        for token in taken.values_list("token", flat=True):
            lines.blame(found[token], _("token: Another subscriber has this token."))

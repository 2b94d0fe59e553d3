"""Tables as downloads: streamed, so that a million rows need little memory, and safe to open in a spreadsheet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from django.http import StreamingHttpResponse

# A spreadsheet treats a cell that begins with one of these as a formula (OWASP: CSV injection), also in full width,
# and what follows a separator, which is another one than ours in many countries.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠", ";", ",", "|")

Format = Literal["csv", "json"]
FORMATS: tuple[Format, ...] = ("csv", "json")
_TYPES: dict[str, str] = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class Table(msgspec.Struct, frozen=True):
    """``name``: file name without date and extension. ``rows``: values in the order of ``columns``."""

    name: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


def download(table: Table, kind: Format, now: datetime) -> StreamingHttpResponse:
    """CSV with a header (UTF-8 with a byte order mark, for spreadsheets), or a JSON array of objects. Times are ISO 8601."""
    lines: Callable[[Table], Iterator[str]] = _csv if kind == "csv" else _json
    name = f"{table.name}-{now.astimezone(UTC):%Y-%m-%d}.{kind}"
    return StreamingHttpResponse(
        lines(table),
        content_type=_TYPES[kind],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


class _Echo:
    """A file for ``csv.writer`` that makes ``writerow`` return the line."""

    def write(self, line: str) -> str:
        return line


def _csv(table: Table) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield "\ufeff"
    yield writer.writerow(table.columns)
    for row in table.rows:
        yield writer.writerow([_cell(value) for value in row])


def _json(table: Table) -> Iterator[str]:
    separator = "["
    for row in table.rows:
        found = dict(zip(table.columns, map(_plain, row), strict=True))
        yield f"{separator}\n{json.dumps(found, ensure_ascii=False)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return value if value is None or isinstance(value, int | str) else str(value)


def _cell(value: Any) -> Any:
    """Text that looks like a formula gets an apostrophe, which marks it as text in spreadsheets."""
    found = _plain(value)
    if isinstance(found, str) and found.startswith(FORMULA):
        return f"'{found}"
    return found

"""Imports the traffic table of the original Xpert panel.

Its table ``traffic_usage`` holds one row per token, server, port and day: ``user_token``, ``config_server``,
``config_port``, ``protocol``, ``bytes_uploaded``, ``bytes_downloaded``, ``date_collected`` (a day, UTC in its first
version, the server's local day later) and ``timestamp`` (UTC, of the row's last change). Later versions store it in
any database that a URL names, so both a URL and a file are accepted.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from operations.masks import masked
from traffic.ledger.imported import Imported, record_imported
from traffic.ledger.recording import Outcome
from traffic.periods import EPOCH
from traffic.reports import InvalidReport, Report, from_fields

BATCH = 1000
_COLUMNS = (
    "user_token", "config_server", "config_port", "protocol", "bytes_uploaded", "bytes_downloaded", "date_collected",
    "timestamp",
)  # fmt: skip
_KEY = "user_token, config_server, config_port, date_collected"
_ROWS = f"SELECT {', '.join(_COLUMNS)} FROM traffic_usage ORDER BY {_KEY}"  # noqa: S608  constants
_COUNT = "SELECT count(*) FROM traffic_usage"
_TWICE = f"SELECT 1 FROM traffic_usage GROUP BY {_KEY} HAVING count(*) > 1 LIMIT 1"  # noqa: S608  constants

Row = tuple[Any, ...]
Progress = Callable[[str, int, int], object]
"""Called with the stage, the number of finished rows and the number of all rows."""


class ImportRefusedError(Exception):
    """The reason why nothing was imported, as a sentence."""


class Summary(msgspec.Struct):
    """``refused``: number of rows by reason; ``examples``: one row per reason, with its token masked."""

    read: int = 0
    recorded: int = 0
    known: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    examples: dict[str, str] = msgspec.field(default_factory=dict)


def take_over(source: str, now: datetime, progress: Progress) -> Summary:
    """Count the rows of ``source``, a SQLite file or the URL of a database, in one transaction: all valid ones, or none.

    A second run adds only the growth since the first. Raises ImportRefusedError.
    """
    with _opened(source) as query:
        total = _checked_count(source, query)
        summary = Summary()

        def batches() -> Iterator[list[Imported]]:
            nonlocal summary
            summary = Summary()
            rows = iter(query(_ROWS))
            while chunk := list(islice(rows, BATCH)):
                yield _readable(chunk, now, summary)
                progress("importing", summary.read, total)

        outcomes = record_imported(batches, now)
    summary.recorded = outcomes[Outcome.RECORDED]
    summary.known = outcomes[Outcome.DUPLICATE]
    for outcome, reason in _REASONS.items():
        if outcomes[outcome]:
            summary.refused[reason] = outcomes[outcome]
    return summary


_REASONS = {
    Outcome.UNKNOWN_TOKEN: "user_token: This subscriber was deleted here.",
    Outcome.COUNTER_FULL: "A counter would pass 1024 PB.",
}

Query = Callable[[str], Iterable[Row]]


@contextmanager
def _opened(source: str) -> Iterator[Query]:
    kind, is_url, rest = source.partition("://")
    try:
        if not is_url:
            with _sqlite(Path(source)) as query:
                yield query
        elif kind == "sqlite":
            with _sqlite(Path(rest.removeprefix("/"))) as query:
                yield query
        elif kind.partition("+")[0] in {"postgres", "postgresql"}:
            with psycopg.connect(f"postgresql://{rest}") as database:
                yield lambda sql: _fetched(database, sql)
        else:
            raise ImportRefusedError(
                f"{kind}:// cannot be read: copy its table traffic_usage into a SQLite file first."
            )
    except (sqlite3.Error, psycopg.Error) as error:
        # A URL contains a password, and the driver's message may contain the URL.
        words = (
            " ".join(str(error).split()) if not is_url or kind == "sqlite" else type(error).__name__
        )
        raise ImportRefusedError(f"The database cannot be read: {words}.") from None


@contextmanager
def _sqlite(path: Path) -> Iterator[Query]:
    if not path.is_file():
        raise ImportRefusedError(f"{path} is not a file.")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = lambda text: text.decode(errors="replace")
        database.execute("BEGIN")  # so that the count matches the rows
        yield lambda sql: database.execute(sql)


def _fetched(database: psycopg.Connection[Row], sql: str) -> Iterator[Row]:
    with database.cursor("import_xpert") as cursor:
        yield from cursor.execute(sql.encode())


def _checked_count(source: str, query: Query) -> int:
    try:
        next(iter(query(f"{_ROWS} LIMIT 1")), None)
    except (
        sqlite3.OperationalError,
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
    ):
        raise ImportRefusedError(
            "It has no table traffic_usage as the original panel makes it. A database of this panel is put back by "
            "restore_traffic."
        ) from None
    if list(query(_TWICE)):
        raise ImportRefusedError(
            "It names a day of one token, server and port twice: not as the original panel makes it."
        )
    return int(next(iter(query(_COUNT)))[0])


def _readable(rows: Iterable[Row], now: datetime, summary: Summary) -> list[Imported]:
    found = []
    for row in rows:
        summary.read += 1
        try:
            found.append(Imported(_key(row), _report(row, now)))
        except InvalidReport as error:
            field, messages = next(iter(error.errors.items()))
            reason = f"{field}: {messages[0]}"
            summary.refused[reason] += 1
            summary.examples.setdefault(reason, _shown(row))
    return found


def _key(row: Row) -> str:
    """The key of a row in the original, beside the token. It has no protocol, because the original overwrites it."""
    _, server, port, _, _, _, day, _ = row
    return hashlib.sha256(f"{server}\n{port}\n{day}".encode(errors="replace")).hexdigest()[:32]


def _report(row: Row, now: datetime) -> Report:
    token, server, port, protocol, upload, download, day, changed = row
    fields = {
        "user_token": token,
        "server": server,
        "port": port,
        "protocol": protocol,
        "bytes_uploaded": 0 if upload is None else upload,
        "bytes_downloaded": 0 if download is None else download,
        "timestamp": _moment(day, changed),
    }
    return from_fields(fields, now, max_age=now - EPOCH)


def _moment(day: Any, changed: Any) -> float:
    """Unix seconds of the row's last change, or of the beginning of its day if the last change is implausible."""
    begun = _parsed(day)
    if begun is None:
        raise InvalidReport("date_collected", "Expected a date.")
    last = _parsed(changed)
    # A local day begins or ends at most 14 hours outside the UTC day with the same date.
    is_likely = last is not None and begun - timedelta(days=1) <= last < begun + timedelta(days=2)
    return (last if last is not None and is_likely else begun).timestamp()


def _parsed(value: Any) -> datetime | None:
    """A moment from SQLite's text or PostgreSQL's date; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(row: Row) -> str:
    token, server, port, protocol, upload, download, day, _ = row
    return f"{masked(str(token))} on {str(server)[:60]!r}:{port!r} {str(protocol)[:40]!r}, {upload!r} up, {download!r} down, {day}"

"""Copies the whole database from SQLite to PostgreSQL or back: in steps, resumable, compared at the end.

The target has a mark in its list of migrations until the copy is complete, so that an interrupted
copy can be resumed and unrelated data is never touched. The copied rows of a table are a prefix in
the order of its key, so their number says where to resume.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import environ
import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.sql import InsertQuery
from psycopg import IsolationLevel

from operations.databases.substitution import as_default, beside_default, like_default, sqlite_file

from .totals import measure, stored_models

# Rows per transaction.
STEP = 2000
TARGET = "copy_target"
_ENGINES = {"django.db.backends.postgresql", "django.db.backends.sqlite3"}
# These marks are rows in the target's list of migrations, under the name of an app that does not exist.
_MARK = ("copy_traffic", "unfinished")
_EMPTIED = ("copy_traffic", "emptied")
# Tables that migrations fill.
_FILLED = frozenset(
    {"django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
)

Progress = Callable[[str, int, int], object]
"""Called with the table, the number of copied rows and the number of all rows."""


class CopyError(Exception):
    """Why the copy failed, as a sentence without credentials."""


class Copied(msgspec.Struct, frozen=True):
    """``resumed``: rows that an earlier run copied."""

    tables: int
    rows: int
    resumed: int


def copy(url: str, progress: Progress, *, start_over: bool = False) -> Copied:
    """Copy all tables of all apps to the database of ``url`` and compare every row; raises CopyError.

    It reads the state of one moment and blocks nobody. ``start_over``: first delete what an
    unfinished copy left in the target.
    """
    try:
        with beside_default(TARGET, _settings(url)), _one_moment():
            before = measure()
            _prepare(start_over=start_over)
            found = _copy_tables(progress)
            _compare(progress)
            _finish()
    except DatabaseError as error:
        raise CopyError(" ".join(str(error).split())) from None
    if measure() != before:
        raise CopyError(
            "The copy is complete, but the panel kept counting meanwhile: stop it, and copy to an empty database."
        )
    return found


def _settings(url: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # our message is clearer and does not show the password
            found = dict(environ.Env.db_url_config(url))
    except (ImproperlyConfigured, ValueError, KeyError, TypeError):
        found = {}
    if found.get("ENGINE") not in _ENGINES or not found.get("NAME"):
        raise CopyError(
            "--to takes postgres://user:password@host:5432/name, or sqlite:////path/of/a.db."
        )
    if _is_own(found):
        raise CopyError("The target is the database that the panel already uses.")
    if found["ENGINE"].endswith("sqlite3"):
        found |= _new_file(Path(found["NAME"]))
    return dict(connections.configure_settings({DEFAULT_DB_ALIAS: found})[DEFAULT_DB_ALIAS])


def _is_own(found: dict[str, Any]) -> bool:
    """Asked before the file is opened: closing it again would take away the locks of this process's connections."""
    if found["ENGINE"].endswith("sqlite3"):
        own, other = sqlite_file(), Path(found["NAME"])
        return own is not None and other.exists() and own.samefile(other)
    same = ("ENGINE", "NAME", "HOST", "PORT")
    return all(
        str(found.get(key) or "") == str(connection.settings_dict.get(key) or "") for key in same
    )


def _new_file(path: Path) -> dict[str, Any]:
    path = path.absolute()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise CopyError(f"{path} cannot be written: {error.strerror}.") from None
    return {"NAME": str(path), "OPTIONS": {"transaction_mode": "IMMEDIATE"}}


@contextmanager
def _one_moment() -> Iterator[None]:
    """Read the current state of the source over a separate connection, while others write."""
    options = dict(connection.settings_dict["OPTIONS"])
    if connection.vendor == "sqlite":
        options = {"transaction_mode": "DEFERRED", "timeout": 5}
    else:
        options["isolation_level"] = IsolationLevel.REPEATABLE_READ
    with as_default(like_default(OPTIONS=options)), transaction.atomic():
        if MigrationExecutor(connection).migration_plan(_leaves()):
            raise CopyError("The panel's own database is not up to date: run migrate first.")
        yield


def _leaves() -> list[tuple[str, str]]:
    return list(MigrationExecutor(connection).loader.graph.leaf_nodes())


def _prepare(*, start_over: bool) -> None:
    """Create empty tables, or reuse those of an unfinished copy."""
    target = connections[TARGET]
    recorder = MigrationRecorder(target)
    applied = set(recorder.applied_migrations())
    if _MARK not in applied:
        _refuse_other_data()
        recorder.record_applied(*_MARK)
    if _EMPTIED in applied and not start_over:
        if MigrationExecutor(target).migration_plan(_leaves()):
            raise CopyError("The unfinished copy was made by an older version: use --start-over.")
        return
    recorder.record_unapplied(*_EMPTIED)
    call_command("migrate", database=TARGET, interactive=False, verbosity=0)
    tables = [_table(model) for model in stored_models()]
    with transaction.atomic(using=TARGET):
        target.ops.execute_sql_flush(
            target.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=True)
        )
    recorder.record_applied(*_EMPTIED)


def _refuse_other_data() -> None:
    ours = {_table(model): model for model in stored_models()}
    existing = set(connections[TARGET].introspection.table_names()) - {"django_migrations"}
    if strangers := sorted(existing - ours.keys()):
        raise CopyError(
            f"The target holds other tables ({', '.join(strangers[:3])}…): copy to an empty database."
        )
    filled = [table for table in sorted(existing - _FILLED) if _rows(ours[table], TARGET).exists()]
    if filled:
        raise CopyError(
            f"The target holds data ({', '.join(filled[:3])}): copy to an empty database."
        )


def _copy_tables(progress: Progress) -> Copied:
    copied = resumed = 0
    ordered = _parents_first(stored_models())
    for model in ordered:
        table = _table(model)
        done, total = _rows(model, TARGET).count(), _rows(model, DEFAULT_DB_ALIAS).count()
        resumed += done
        for step in _steps(model, done):
            _insert(model, step)
            done += len(step)
            copied += len(step)
            progress(table, done, total)
    return Copied(len(ordered), copied, resumed)


def _parents_first(found: Sequence[type[models.Model]]) -> list[type[models.Model]]:
    """Models in an order in which every foreign key refers to a row that was copied before."""
    parents = {
        model: {
            field.related_model
            for field in model._meta.local_concrete_fields  # noqa: SLF001
            if field.is_relation and field.related_model is not model
        }
        for model in found
    }
    return [model for model in TopologicalSorter(parents).static_order() if model in parents]


def _steps(model: type[models.Model], skipped: int) -> Iterator[list[models.Model]]:
    rows = _rows(model, DEFAULT_DB_ALIAS).order_by("pk")[skipped:].iterator(chunk_size=STEP)
    step: list[models.Model] = []
    for row in rows:
        step.append(row)
        if len(step) == STEP:
            yield step
            step = []
    if step:
        yield step


def _insert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Insert rows unchanged; ``save`` would set creation times again."""
    fields = _fields(model)
    size = connections[TARGET].ops.bulk_batch_size(fields, rows)
    with transaction.atomic(using=TARGET):
        for start in range(0, len(rows), size):
            query = InsertQuery(model)
            query.insert_values(fields, list(rows[start : start + size]), raw=True)
            query.get_compiler(using=TARGET).execute_sql()


def _compare(progress: Progress) -> None:
    """Compare every value of every row in any order, because the databases sort text differently."""
    wrong = []
    for model in stored_models():
        table = _table(model)
        if _digest(model, DEFAULT_DB_ALIAS, progress) != _digest(model, TARGET, progress):
            wrong.append(table)
    if wrong:
        raise CopyError(
            f"The copy differs in {', '.join(wrong)}: stop the panel and run the command again with --start-over."
        )


def _digest(model: type[models.Model], alias: str, progress: Progress) -> tuple[int, int]:
    names = [field.attname for field in _fields(model)]
    count = total = 0
    for values in _rows(model, alias).values_list(*names).iterator(chunk_size=STEP):
        text = json.dumps(values, sort_keys=True, default=str).encode()
        total += int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())
        count += 1
        if count % STEP == 0:
            progress("comparing", count, 0)
    return count, total % 2**128


def _finish() -> None:
    """Set the sequences after the copied ids, and remove the marks."""
    target = connections[TARGET]
    with transaction.atomic(using=TARGET), target.cursor() as cursor:
        for sql in target.ops.sequence_reset_sql(no_style(), stored_models()):
            cursor.execute(sql)
        recorder = MigrationRecorder(target)
        for mark in (_EMPTIED, _MARK):
            recorder.record_unapplied(*mark)


def _rows(model: type[models.Model], alias: str) -> models.QuerySet[Any]:
    return model._base_manager.using(alias).order_by()  # noqa: SLF001  includes rows that a manager hides


def _fields(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.local_concrete_fields if not field.generated]  # noqa: SLF001


def _table(model: type[models.Model]) -> str:
    return model._meta.db_table  # noqa: SLF001

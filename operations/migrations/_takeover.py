"""Converts a database from before ``operations`` was split out of ``traffic``.

The old tables are moved aside before the new ones are created, and copied into them right afterwards: in the
transactions of the first three migrations, so that a failed migration changes nothing. A database that never had
those tables is not touched.
"""

from collections.abc import Callable
from typing import Any

from django.core.management.color import no_style
from django.db import models

OLD_APPS = ("traffic", "subscriptions")
OLD_MIGRATIONS = frozenset(
    {
        ("traffic", "0001_initial"),
        ("traffic", "0002_reset_day"),
        ("traffic", "0003_corrections_and_audit"),
        ("traffic", "0004_commandrun"),
        ("traffic", "0005_imported_usage"),
        ("traffic", "0006_state_of_the_panel"),
        ("traffic", "0007_notifications"),
        ("subscriptions", "0001_initial"),
        ("subscriptions", "0002_sources"),
    }
)
# Tables that only the old layout has.
_MARK = "traffic_apikey"
_MOVED = ("apikey", "auditentry", "commandrun", "receiver", "notification", "delivery")
# Old tables that the SQL below also reads.
_READ = ("subscriber", "server", "apikey", "importedusage", "balance")
# PostgreSQL keeps the old tables in a separate schema, SQLite under other names.
_SCHEMA = "xpert_before"
_PREFIX = "before_"
_RENAMED = {"traffic_meter": "traffic_importedusage"}
# Columns whose name or meaning changed: by new table and column, the SQL over the old row.
_ABOUT_SUBSCRIBER = "CASE WHEN subscriber_id IS NULL THEN '' ELSE 'traffic.subscriber' END"
_COLUMNS = {
    "operations_auditentry": {
        "target_kind": "CASE WHEN subscriber_id IS NOT NULL THEN 'traffic.subscriber' "
        "WHEN server_id IS NOT NULL THEN 'traffic.server' ELSE 'operations.apikey' END",
        "target_id": "COALESCE(subscriber_id, server_id, api_key_id)",
        "target_name": "COALESCE((SELECT name FROM {subscriber} WHERE id = subscriber_id), "
        "(SELECT name FROM {server} WHERE id = server_id), "
        "(SELECT name FROM {apikey} WHERE id = api_key_id), '')",
    },
    "operations_notification": {
        "target_kind": _ABOUT_SUBSCRIBER,
        "target_id": "subscriber_id",
    },
    "traffic_usage": {"reports": "connections"},
    "traffic_serverusage": {"reports": "connections", "slot": "0"},
    "traffic_balance": {
        "life_reports": "life_connections",
        "cleaned_reports": "cleaned_connections",
        # Counted by imports; the meters prove it.
        "metered_upload": "COALESCE((SELECT SUM(upload) FROM {importedusage} "
        "WHERE {importedusage}.subscriber_id = {balance}.subscriber_id), 0)",
        "metered_download": "COALESCE((SELECT SUM(download) FROM {importedusage} "
        "WHERE {importedusage}.subscriber_id = {balance}.subscriber_id), 0)",
    },
    # Each row of an import becomes a meter with one reading.
    "traffic_meter": {
        "counted_upload": "upload",
        "counted_download": "download",
        "run": "0",
        "read_at": "0",
    },
}


def set_aside(apps: Any, schema_editor: Any) -> None:
    """Move the old tables aside, and delete the record of their migrations."""
    connection = schema_editor.connection
    tables = connection.introspection.table_names()
    if _MARK not in tables:
        return
    old = [table for table in tables if table.startswith(tuple(f"{app}_" for app in OLD_APPS))]
    move = _to_schema if connection.vendor == "postgresql" else _to_prefix
    move(schema_editor, old)
    for app, name in sorted(OLD_MIGRATIONS):
        schema_editor.execute(
            "DELETE FROM django_migrations WHERE app = %s AND name = %s", [app, name]
        )
    if "django_content_type" in tables:
        for model in _MOVED:
            schema_editor.execute(
                "UPDATE django_content_type SET app_label = 'operations' "
                "WHERE app_label = 'traffic' AND model = %s",
                [model],
            )


def _to_schema(schema_editor: Any, tables: list[str]) -> None:
    schema_editor.execute(f"CREATE SCHEMA {_SCHEMA}")
    for table in tables:
        schema_editor.execute(f'ALTER TABLE "{table}" SET SCHEMA {_SCHEMA}')


def _to_prefix(schema_editor: Any, tables: list[str]) -> None:
    """Indexes keep their names, which the new tables need."""
    for table in tables:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = %s AND sql IS NOT NULL",
                [table],
            )
            indexes = [name for (name,) in cursor.fetchall()]
        for name in indexes:
            schema_editor.execute(f'DROP INDEX "{name}"')
        schema_editor.execute(f'ALTER TABLE "{table}" RENAME TO "{_PREFIX}{table}"')


def copy(app: str) -> Callable[[Any, Any], None]:
    """For ``RunPython``: fill the new tables of an app from the old ones, then drop the old ones."""

    def run(apps: Any, schema_editor: Any) -> None:
        found = apps.get_app_config(app).get_models(include_auto_created=True)
        copied = [model for model in found if _copy(model, schema_editor)]
        for model in copied:
            _drop(model, schema_editor)
        if copied:
            reset = schema_editor.connection.ops.sequence_reset_sql(no_style(), copied)
            for statement in reset:
                schema_editor.execute(statement, params=None)
            _drop_empty_schema(schema_editor)

    return run


def _copy(model: type[models.Model], schema_editor: Any) -> bool:
    table = model._meta.db_table  # noqa: SLF001
    old = _old_name(model)
    source, columns = _place(schema_editor.connection, old), _columns(schema_editor.connection, old)
    if not columns:
        return False
    connection = schema_editor.connection
    others = {name: _place(connection, f"traffic_{name}") for name in _READ}
    renamed = {name: sql.format(**others) for name, sql in _COLUMNS.get(table, {}).items()}
    pairs = [
        (field.column, renamed.get(field.column) or f'"{field.column}"')
        for field in model._meta.local_concrete_fields  # noqa: SLF001
        if field.column in renamed or field.column in columns
    ]
    names = ", ".join(f'"{name}"' for name, _ in pairs)
    values = ", ".join(value for _, value in pairs)
    schema_editor.execute(f'INSERT INTO "{table}" ({names}) SELECT {values} FROM {source}')  # noqa: S608
    return True


def _drop(model: type[models.Model], schema_editor: Any) -> None:
    cascade = " CASCADE" if schema_editor.connection.vendor == "postgresql" else ""
    place = _place(schema_editor.connection, _old_name(model))
    schema_editor.execute(f"DROP TABLE {place}{cascade}")


def _drop_empty_schema(schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_tables WHERE schemaname = %s", [_SCHEMA])
        is_empty = cursor.fetchone() is None
    if is_empty:
        schema_editor.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA}")


def _old_name(model: type[models.Model]) -> str:
    table = model._meta.db_table  # noqa: SLF001
    app, _, name = table.partition("_")
    return _RENAMED.get(table) or f"{'traffic' if app == 'operations' else app}_{name}"


def _place(connection: Any, old: str) -> str:
    """The name of an old table after ``set_aside``."""
    return f'{_SCHEMA}."{old}"' if connection.vendor == "postgresql" else f'"{_PREFIX}{old}"'


def _columns(connection: Any, old: str) -> set[str]:
    """The columns of an old table; none if it does not exist."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = %s AND table_name = %s",
                [_SCHEMA, old],
            )
        else:
            cursor.execute("SELECT name FROM pragma_table_info(%s)", [f"{_PREFIX}{old}"])
        return {name for (name,) in cursor.fetchall()}

"""What must be equal in a database and its copy: the number of rows per table and the sum of every counter."""

from django.apps import apps
from django.db import connection, models

from operations.databases.exact_sum import ExactSum

Totals = dict[str, int]
"""Number of rows by table, and sums by ``table.column``."""


def summed_columns(model: type[models.Model]) -> tuple[str, ...]:
    """Counters to compare: the model's ``summed``."""
    return getattr(model, "summed", ())


def summed_by_table() -> dict[str, tuple[str, ...]]:
    return {model._meta.db_table: summed_columns(model) for model in stored_models()}  # noqa: SLF001


def stored_models() -> list[type[models.Model]]:
    """All models that have a table, including many-to-many tables."""
    found = apps.get_models(include_auto_created=True)
    options = [(model, model._meta) for model in found]  # noqa: SLF001
    return [
        model for model, meta in options if meta.managed and not meta.proxy and not meta.swapped
    ]


def measure() -> Totals:
    """The totals of the default database, as the transaction sees it."""
    existing = set(connection.introspection.table_names())
    found: Totals = {}
    for model in stored_models():
        table = model._meta.db_table  # noqa: SLF001
        if table in existing:
            rows = model._base_manager.order_by()  # noqa: SLF001  includes rows that a manager hides
            found[table] = rows.count()
            sums = {column: ExactSum(column) for column in _existing(table, summed_columns(model))}
            for column, value in (rows.aggregate(**sums) if sums else {}).items():
                found[f"{table}.{column}"] = int(value or 0)
    return found


def _existing(table: str, columns: tuple[str, ...]) -> list[str]:
    """A backup of an older version may lack columns."""
    if not columns:
        return []
    with connection.cursor() as cursor:
        there = {
            found.name for found in connection.introspection.get_table_description(cursor, table)
        }
    return [column for column in columns if column in there]


def difference(expected: Totals, found: Totals) -> str:
    """The differences in words for an operator; empty if there are none."""
    wrong = [
        name for name in sorted(expected | found) if expected.get(name, 0) != found.get(name, 0)
    ]
    return ", ".join(
        f"{name} {found.get(name, 0)} instead of {expected.get(name, 0)}" for name in wrong
    )

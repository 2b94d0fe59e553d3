"""What must be equal in a database and in its copy: rows of every table, and sums of every counter."""

from django.apps import apps
from django.db import connection, models

from traffic.models import Balance, ServerUsage, Usage
from traffic.querysets import ExactSum

Totals = dict[str, int]
"""Rows by table, and sums by ``table.column``."""

SUMMED: dict[type[models.Model], tuple[str, ...]] = {
    Usage: ("upload", "download", "connections"),
    ServerUsage: ("upload", "download", "connections", "records"),
    Balance: (
        "period_upload", "period_download", "life_upload", "life_download", "life_connections",
        "cleaned_upload", "cleaned_download", "cleaned_connections", "corrected_upload", "corrected_download",
    ),
}  # fmt: skip
SUMMED_COLUMNS = {model._meta.db_table: columns for model, columns in SUMMED.items()}  # noqa: SLF001


def stored_models() -> list[type[models.Model]]:
    """All that have a table of their own, many-to-many tables too."""
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy and not model._meta.swapped]  # noqa: SLF001


def measure() -> Totals:
    """Of the default database, as the transaction sees it."""
    existing = set(connection.introspection.table_names())
    found: Totals = {}
    for model in stored_models():
        table = model._meta.db_table  # noqa: SLF001
        if table in existing:
            rows = model._base_manager.order_by()  # noqa: SLF001  without what a manager leaves out
            found[table] = rows.count()
            sums = {column: ExactSum(column) for column in SUMMED.get(model, ())}
            for column, value in (rows.aggregate(**sums) if sums else {}).items():
                found[f"{table}.{column}"] = int(value or 0)
    return found


def difference(expected: Totals, found: Totals) -> str:
    """What is not equal, for an operator; empty when all is."""
    wrong = [name for name in sorted(expected | found) if expected.get(name, 0) != found.get(name, 0)]
    return ", ".join(f"{name} {found.get(name, 0)} instead of {expected.get(name, 0)}" for name in wrong)

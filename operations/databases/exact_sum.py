"""Exact sums of counters of any size, on every engine."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler


class ExactSum(models.Aggregate):
    """A sum in whole bytes that cannot overflow.

    PostgreSQL adds bigints into a numeric. SQLite adds into 64 bits and fails beyond
    2**63, so there the upper and the lower 30 bits are added separately.
    """

    function = "SUM"
    output_field = models.TextField()
    allow_distinct = False

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[Any, ...]]:
        argument, params = compiler.compile(self.source_expressions[0])
        sql = f"SUM(({argument}) >> 30) || ':' || SUM(({argument}) & 1073741823)"
        return sql, (*params, *params)

    def convert_value(self, value: Any, *_: Any) -> int:
        if isinstance(value, str) and ":" in value:
            high, low = value.split(":")
            return (int(high) << 30) + int(low)
        return int(value or 0)

"""What the filters of the lists share."""

from typing import Any

from django.contrib import admin
from django.db import models


class CountingFilter(admin.SimpleListFilter):
    """Counts each choice by a query of its own.

    Django counts all of them in one, with a subquery per choice, which Citus cannot plan for rows with their balances.
    """

    def get_facet_queryset(self, changelist: Any) -> dict[str, int]:
        rows = changelist.get_queryset(self.request, exclude_parameters=self.expected_parameters())
        return {
            f"{number}__c": self._of(str(value), rows).order_by().count()
            for number, (value, _label) in enumerate(self.lookup_choices)
        }

    def _of(self, value: str, rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
        name = self.parameter_name or ""
        chosen = dict(self.used_parameters)
        self.used_parameters[name] = value
        found = self.queryset(self.request, rows)
        self.used_parameters = chosen
        return rows if found is None else found

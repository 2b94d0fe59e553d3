"""Parsers for the bodies of reports and meter readings."""

from datetime import timedelta

from django.utils import timezone
from rest_framework.exceptions import ValidationError

from operations.api.parsers import JSONParser
from traffic import readings, reports
from traffic.conf import conf

_LIMIT = 4 * 1024 * 1024


class ReportParser(JSONParser):
    """Parses a body with reports, up to 4 MiB, into ``reports.Decoded``."""

    limit = _LIMIT

    def decode(self, body: bytes) -> reports.Decoded:
        try:
            return reports.decode(body, timezone.now(), max_age=_max_age())
        except reports.InvalidReport as error:
            raise ValidationError(error.errors) from None


class ReadingParser(JSONParser):
    """Parses a body with meter readings, up to 4 MiB, into ``readings.Message``."""

    limit = _LIMIT

    def decode(self, body: bytes) -> readings.Message:
        try:
            return readings.decode(body, timezone.now(), max_age=_max_age())
        except reports.InvalidReport as error:
            field, messages = next(iter(error.errors.items()))
            errors = {field: messages[0]} if field == "detail" else error.errors
            raise ValidationError(errors) from None


def _max_age() -> timedelta:
    days = conf.retention_days
    return min(reports.MAX_AGE, timedelta(days=days)) if days else reports.MAX_AGE

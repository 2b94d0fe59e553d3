"""The parameter ``days`` of all statistics endpoints."""

import re

from django.utils import timezone
from rest_framework.exceptions import ValidationError

from operations.api.viewsets import ApiViewSet
from operations.conf import MAX_DAYS
from traffic.periods import Window, window

_DAYS = re.compile(r"[0-9]{1,4}", re.ASCII)


def checked_days(value: object, *, least: int = 1) -> int:
    """``days`` from a query or a JSON body; raises ValidationError for that field."""
    days = int(value) if isinstance(value, str) and _DAYS.fullmatch(value) else value
    if isinstance(days, bool) or not isinstance(days, int) or not least <= days <= MAX_DAYS:
        raise ValidationError({"days": [f"Expected a whole number from {least} to {MAX_DAYS}."]})
    return days


class WindowMixin(ApiViewSet):
    """Reads the requested window of time."""

    def days(self) -> int:
        return checked_days(self.request.query_params.get("days", "30"))

    def window(self) -> Window:
        return window(self.days(), timezone.now())

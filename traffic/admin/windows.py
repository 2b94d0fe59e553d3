"""The time window of a usage page, chosen by ``?days=``."""

from django import forms
from django.http import HttpRequest
from django.utils import timezone

from operations.conf import MAX_DAYS
from traffic.periods import Window, window

DEFAULT_DAYS = 30


# The choices on a usage page; the URL may give any other number.
DAYS = (1, 7, 30, 90, 365)


class _DaysForm(forms.Form):
    days = forms.IntegerField(min_value=1, max_value=MAX_DAYS)


def chosen_window(request: HttpRequest, default: int = DEFAULT_DAYS) -> Window:
    """The window of ``?days=``. An invalid number selects the default."""
    form = _DaysForm(request.GET)
    return window(form.cleaned_data["days"] if form.is_valid() else default, timezone.now())

"""Tests that a plain ``script/test`` skips and lists: slow tests, and tests whose program is missing."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
# By marker: the program that a test needs, and how to install it.
_NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "browser": (lambda: CHROMIUM is not None, "Chromium: apt-get install chromium"),
}


def leave_out(items: Iterable[pytest.Item], *, everything: bool) -> None:
    """Skip slow tests unless all are requested. With ``everything`` a missing program is a failure, not a skip."""
    for item in items:
        for marker, (is_here, advice) in _NEEDS.items():
            if item.get_closest_marker(marker) and not is_here():
                _skip(item, f"which need {advice}")
        if not everything and item.get_closest_marker("slow"):
            _skip(item, "which are slow: script/test --all runs them")


def _skip(item: pytest.Item, reason: str) -> None:
    item.add_marker(pytest.mark.skip(reason=reason))


def summary(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """One sentence per reason, from the reports, because several workers may run the tests."""
    reasons = [found.longrepr[2] for found in skipped if isinstance(found.longrepr, tuple)]
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    return [
        f"Left out: {count} {'test' if count == 1 else 'tests'}, {reason.rstrip('.')}."
        for reason, count in sorted(counts.items())
    ]

"""Times functions inside this process: medians, alternating with a reference."""

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ratio(work: Callable[[], object], reference: Callable[[], object], rounds: int = 15) -> float:
    """How many times as long ``work`` takes as ``reference``; they alternate, so that other load affects both."""
    work(), reference()  # warms the caches
    pairs = [(seconds(work), seconds(reference)) for _ in range(rounds)]
    return statistics.median(mine for mine, _ in pairs) / statistics.median(
        other for _, other in pairs
    )

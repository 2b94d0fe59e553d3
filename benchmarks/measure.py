"""Times of single functions inside this process: medians, alternating with their reference."""

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ratio(work: Callable[[], object], reference: Callable[[], object], rounds: int = 15) -> float:
    """How many times as long ``work`` takes; the two take turns, so that a busy neighbour disturbs both."""
    work(), reference()  # caches warm
    pairs = [(seconds(work), seconds(reference)) for _ in range(rounds)]
    return statistics.median(mine for mine, _ in pairs) / statistics.median(other for _, other in pairs)

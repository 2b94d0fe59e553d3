"""How many servers are asked at once, and how long one is left alone after a failure. Pure."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar

_MOST_DOUBLINGS = 12

T = TypeVar("T")
R = TypeVar("R")


async def gather(
    ask: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    at_once: int,
    progress: Callable[[R], object] = lambda _: None,
) -> list[R]:
    """Like ``asyncio.gather``, with a maximum of ``at_once`` at the same time; ``progress`` is called after each."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: T) -> R:
        async with gate:
            found = await ask(item)
        progress(found)
        return found

    return list(await asyncio.gather(*map(one, items)))


def backoff(
    failures: int,
    retry_after: int | None,
    first: timedelta = timedelta(minutes=5),
    longest: timedelta = timedelta(days=1),
) -> timedelta:
    """The pause after ``failures`` in a row: ``first``, doubled each time, at most ``longest``.

    ``retry_after``: seconds that the server asks to wait; they count if they are more.
    """
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    wait = min(first * (1 << doublings), longest)
    return max(wait, timedelta(seconds=retry_after or 0))

import asyncio
from datetime import timedelta

import pytest

from operations.outbound import pacing


def test_only_so_many_are_asked_at_once_and_answers_keep_their_order() -> None:
    asked: list[int] = []
    most = 0

    async def ask(number: int) -> int:
        nonlocal most
        asked.append(number)
        most = max(most, len(asked))
        await asyncio.sleep(0)
        asked.remove(number)
        return number * 10

    told: list[int] = []
    found = asyncio.run(pacing.gather(ask, range(10), 3, told.append))
    assert found == [number * 10 for number in range(10)]
    assert sorted(told) == found
    assert most == 3


@pytest.mark.parametrize(
    ("failures", "retry_after", "minutes"),
    [(1, None, 5), (2, None, 10), (3, None, 20), (9, None, 1280), (10, None, 1440), (10**6, None, 1440), (1, 3600, 60), (3, 5, 20)],
)  # fmt: skip
def test_the_pause_doubles_up_to_a_day(
    failures: int, retry_after: int | None, minutes: int
) -> None:
    assert pacing.backoff(failures, retry_after) == timedelta(minutes=minutes)


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 2), (6, 32), (7, 60), (99, 60)])
def test_the_first_pause_and_the_longest_can_be_chosen(failures: int, minutes: int) -> None:
    pause = pacing.backoff(failures, None, timedelta(minutes=1), timedelta(hours=1))
    assert pause == timedelta(minutes=minutes)

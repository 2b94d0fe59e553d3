"""A request under a key is carried out once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from operations import idempotency
from operations.idempotency import KEPT, STEP, Asked, Done, Reused
from operations.models import CommandRun, IdempotentRequest

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 29, 17, 0, tzinfo=UTC)
ASKED = Asked("key 1", "order-1", "digest of the body")


class Work:
    """Counts how often it was done, and writes a row each time."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Any:
        self.times += 1
        CommandRun.objects.create(command=f"run {self.times}", began_at=NOW, ended_at=NOW)
        return {"id": self.times}


def test_a_repeat_changes_nothing_and_is_told_the_first_outcome() -> None:
    work = Work()
    assert idempotency.once(ASKED, work, NOW) == Done({"id": 1}, is_repeat=False)
    assert idempotency.once(ASKED, work, NOW) == Done({"id": 1}, is_repeat=True)
    assert CommandRun.objects.count() == 1


def test_a_key_with_another_body_is_refused() -> None:
    work = Work()
    idempotency.once(ASKED, work, NOW)
    with pytest.raises(Reused):
        idempotency.once(Asked("key 1", "order-1", "another"), work, NOW)
    assert work.times == 1


def test_two_callers_may_use_the_same_key() -> None:
    work = Work()
    idempotency.once(ASKED, work, NOW)
    assert not idempotency.once(Asked("key 2", "order-1", "another"), work, NOW).is_repeat


def test_without_a_key_everything_is_done() -> None:
    work = Work()
    assert [idempotency.once(None, work, NOW).outcome["id"] for _ in range(2)] == [1, 2]
    assert not IdempotentRequest.objects.exists()


def test_work_that_fails_changes_nothing_and_leaves_the_key_unused() -> None:
    def fails() -> None:
        Work()()
        raise ValueError("a wrong field")

    with pytest.raises(ValueError, match="a wrong field"):
        idempotency.once(ASKED, fails, NOW)
    assert not CommandRun.objects.exists()
    assert not idempotency.once(ASKED, Work(), NOW).is_repeat


def test_a_key_is_forgotten_after_seven_days_and_not_before() -> None:
    idempotency.once(ASKED, Work(), NOW)
    assert idempotency.drop_old(NOW + KEPT) == 0
    assert idempotency.drop_old(NOW + KEPT.resolution + KEPT) == 1
    assert not IdempotentRequest.objects.exists()


class Steps:
    """Remembers whom it was done to; fails when it is told to."""

    def __init__(self, fails_at: int = 0) -> None:
        self.done: list[int] = []
        self.fails_at = fails_at

    def __call__(self, ids: list[int]) -> list[Any]:
        if self.fails_at in ids:
            raise OSError("the disk is full")
        self.done += ids
        return [{"id": pk} for pk in ids]


MANY = list(range(1, 2 * STEP + 6))


def test_many_are_done_in_steps_and_a_repeat_changes_nothing() -> None:
    steps = Steps()
    first, second = (idempotency.in_steps(ASKED, lambda: MANY, steps, NOW) for _ in range(2))
    assert (first.is_repeat, second.is_repeat) == (False, True)
    assert first.outcome == second.outcome == [{"id": pk} for pk in MANY]
    assert steps.done == MANY


def test_a_repeat_goes_on_where_an_interrupted_request_has_stopped() -> None:
    with pytest.raises(OSError, match="the disk is full"):
        idempotency.in_steps(ASKED, lambda: MANY, Steps(fails_at=STEP + 1), NOW)
    steps = Steps()
    done = idempotency.in_steps(ASKED, lambda: [0], steps, NOW)
    assert done.outcome == [{"id": pk} for pk in MANY]
    assert steps.done == MANY[STEP:]


def test_many_without_a_key_are_done_each_time() -> None:
    steps = Steps()
    for _ in range(2):
        idempotency.in_steps(None, lambda: MANY, steps, NOW)
    assert steps.done == MANY * 2


def test_a_choice_that_is_refused_leaves_the_key_unused() -> None:
    def refuse() -> list[int]:
        raise ValueError("too many")

    with pytest.raises(ValueError, match="too many"):
        idempotency.in_steps(ASKED, refuse, Steps(), NOW)
    assert not IdempotentRequest.objects.exists()

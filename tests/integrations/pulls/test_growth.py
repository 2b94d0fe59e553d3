"""What has grown: counters that begin again, fall, or belong to somebody new under an old name."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.pulls.adapters.asking import Account
from integrations.pulls.growth import Change, Last, What, compare

READ_AT = 1_790_000_000
OLD, YOUNG = READ_AT - 10**7, READ_AT - 60


def change(account: Account, last: Last | None) -> tuple[What, int, int]:
    known = {} if last is None else {account.key: last}
    (found,) = compare([account], known, READ_AT)
    return found.what, found.upload, found.download


def lifetime(total: int, born: int = 0) -> Account:
    return Account("a", "a", 0, total, is_lifetime=True, born=born)


@pytest.mark.parametrize(
    ("account", "last", "expected"),
    [
        (lifetime(7), None, (What.FIRST, 0, 0)),
        (lifetime(7), Last(0, 7), (What.UNCHANGED, 0, 0)),
        (lifetime(9), Last(0, 7), (What.GREW, 0, 2)),
        (lifetime(6), Last(0, 7), (What.RESTORED, 0, 0)),
        (lifetime(6, YOUNG), Last(0, 7, OLD), (What.RESTARTED, 0, 6)),
        (lifetime(9, YOUNG), Last(0, 7, OLD), (What.RESTARTED, 0, 9)),
        # Born at another time, but long ago: a clock was set.
        (lifetime(9, OLD + 3600), Last(0, 7, OLD), (What.GREW, 0, 2)),
        # The panel did not tell it before, or does not now.
        (lifetime(9, YOUNG), Last(0, 7), (What.GREW, 0, 2)),
        (lifetime(9), Last(0, 7, OLD), (What.GREW, 0, 2)),
        (Account("a", "a", 1, 6), Last(0, 7), (What.RESTARTED, 1, 6)),
        (Account("a", "a", 0, 9), Last(5, 7), (What.RESTARTED, 0, 9)),
        (Account("a", "a", 6, 9), Last(5, 7), (What.GREW, 1, 2)),
        (Account("a", "a", 0, 98, noise=2), Last(0, 100), (What.UNCHANGED, 0, 0)),
        (Account("a", "a", 0, 97, noise=2), Last(0, 100), (What.RESTARTED, 0, 97)),
    ],
)
def test_a_reading_is_compared_with_the_last(
    account: Account, last: Last | None, expected: tuple[What, int, int]
) -> None:
    assert change(account, last) == expected


def test_an_unchanged_account_is_not_written_again() -> None:
    assert not Change(lifetime(1), What.UNCHANGED).is_to_be_kept
    assert Change(lifetime(1), What.FIRST).is_to_be_kept


@given(st.lists(st.integers(0, 2**50), max_size=30), st.integers(0, 2**32))
def test_over_any_resets_exactly_what_the_panel_told_is_counted(
    flows: list[int], seed: int
) -> None:
    """Each period's counter is read several times; only what flowed between the last reading and a reset is unknown."""
    chance = random.Random(seed)
    last, counter, counted, told = Last(0, 0), 0, 0, 0
    for flow in flows:
        if chance.random() < 0.3 and flow < counter:
            counter = 0
        counter += flow
        told += flow
        found = change(Account("a", "a", 0, counter), last)
        counted += found[2]
        last = Last(0, counter)
    assert counted == told

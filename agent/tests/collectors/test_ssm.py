from __future__ import annotations

from typing import Any

import pytest

from xpert_agent.sources.base import SourceError
from xpert_agent.sources.tally import THIS_SERVER

from .fakes import Core, Journal, MemoryStore, opened


def stats(**users: tuple[int, int]) -> dict[str, Any]:
    listed = [
        {"username": name, "uplinkBytes": up, "downlinkBytes": down, "tcpSessions": 1}
        for name, (up, down) in users.items()
    ]
    return {"uplinkBytes": 1, "downlinkBytes": 1, "users": listed}


def test_users_are_counted_by_name_and_nothing_is_ever_cleared(
    core: Core, journal: Journal
) -> None:
    source = opened("ssm", url=core.url)
    core.body = stats(alice=(0, 0))
    journal.read(source)
    core.body = stats(alice=(200178, 700164))
    sums = journal.read(source)
    assert sums == {("alice", THIS_SERVER): (200178, 700164)}
    assert {path for path, _ in core.asked} == {"/server/v1/stats"}


def test_a_killed_core_that_goes_back_to_its_cache_is_not_counted_twice(
    core: Core, store: MemoryStore, journal: Journal
) -> None:
    source = opened("ssm", store, url=core.url)
    core.body = stats(alice=(0, 0))
    journal.read(source)
    for value in (1000, 700, 750):
        core.body = stats(alice=(value, value))
        sums = journal.read(source)
    assert sums == {("alice", THIS_SERVER): (1050, 1050)}


def test_without_a_cache_a_restart_counts_from_zero(core: Core, journal: Journal) -> None:
    source = opened("ssm", url=core.url, cache="no")
    core.body = stats(alice=(0, 0))
    journal.read(source)
    for value in (1000, 700):
        core.body = stats(alice=(value, value))
        sums = journal.read(source)
    assert sums == {("alice", THIS_SERVER): (1700, 1700)}


def test_no_users_yet_is_no_error(core: Core) -> None:
    core.body = {"users": None}
    assert opened("ssm", url=core.url).read().counters == {}


@pytest.mark.parametrize("answer", [{}, [], {"users": [{"username": "a"}]}, {"users": 5}])
def test_an_answer_of_another_shape_is_an_error(core: Core, answer: Any) -> None:
    core.body = answer
    with pytest.raises(SourceError):
        opened("ssm", url=core.url).read()


def test_cache_is_yes_or_no() -> None:
    with pytest.raises(SourceError, match="yes or no"):
        opened("ssm", url="http://127.0.0.1:1", cache="maybe")

from __future__ import annotations

from typing import Any

import pytest

from xpert_agent.sources.base import SourceError
from xpert_agent.sources.tally import THIS_SERVER

from .fakes import Core, Journal, MemoryStore, opened


def test_tx_is_what_the_person_sends(core: Core, journal: Journal) -> None:
    source = opened("hysteria2", url=core.url)
    journal.read(source)
    core.body = {"alice": {"tx": 514, "rx": 4017}}
    sums = journal.read(source)
    assert sums == {("alice", THIS_SERVER): (514, 4017)}


def test_the_secret_is_sent_bare_and_nothing_is_ever_cleared(core: Core) -> None:
    opened("hysteria2", url=core.url + "/", secret="S3cret").read()
    path, headers = core.asked[0]
    assert (path, headers["Authorization"]) == ("/traffic", "S3cret")


def test_without_a_secret_no_header_is_sent(core: Core) -> None:
    opened("hysteria2", url=core.url).read()
    assert "Authorization" not in core.asked[0][1]


def test_a_wrong_secret_is_said_without_showing_it(core: Core) -> None:
    core.status, core.body = 401, "unauthorized"
    with pytest.raises(SourceError, match="refuses the secret") as caught:
        opened("hysteria2", url=core.url, secret="S3cret").read()
    assert "S3cret" not in str(caught.value)


def test_a_restart_counts_everybody_from_zero_even_who_has_passed_the_old_value(
    core: Core, store: MemoryStore, journal: Journal
) -> None:
    core.body = {"alice": {"tx": 100, "rx": 100}, "bob": {"tx": 100, "rx": 100}}
    journal.read(opened("hysteria2", store, url=core.url))
    core.body = {"alice": {"tx": 150, "rx": 150}, "bob": {"tx": 1, "rx": 1}}
    sums = journal.read(opened("hysteria2", store, url=core.url))
    assert sums == {("alice", THIS_SERVER): (150, 150), ("bob", THIS_SERVER): (1, 1)}


def test_a_restart_is_seen_by_who_is_missing(
    core: Core, store: MemoryStore, journal: Journal
) -> None:
    core.body = {"alice": {"tx": 100, "rx": 100}, "bob": {"tx": 100, "rx": 100}}
    source = opened("hysteria2", store, url=core.url)
    journal.read(source)
    core.body = {"alice": {"tx": 150, "rx": 150}}
    assert journal.read(source) == {("alice", THIS_SERVER): (150, 150)}


@pytest.mark.parametrize(
    "answer", [[], {"alice": 1}, {"alice": {"tx": 1}}, {"alice": {"tx": "x", "rx": 1}}, "<html>"]
)
def test_an_answer_of_another_shape_is_an_error(core: Core, answer: Any) -> None:
    core.body = answer
    with pytest.raises(SourceError):
        opened("hysteria2", url=core.url).read()


def test_a_server_that_does_not_run_is_an_error_and_recovers_by_itself(
    core: Core, journal: Journal
) -> None:
    source = opened("hysteria2", url=core.url)
    core.status = 500
    with pytest.raises(SourceError, match="answers HTTP 500"):
        source.read()
    core.status = 200
    assert journal.read(source) == {}


def test_nobody_at_the_port_is_one_sentence() -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9 does not answer"):
        opened("hysteria2", url="http://127.0.0.1:9").read()

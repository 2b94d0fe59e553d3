"""Questions about tokens: few at once, one per token, remembered for a short while."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from integrations.marzban import panel_client, token_checks
from integrations.marzban.token_checks import PARALLEL, REMEMBERED, RESTING, TokenChecks
from operations.outbound.errors import OutboundError
from tests.integrations.marzban.panel import admin_token, running_panel

URL = "http://panel.example"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Questions:
    """Answers with the token itself and the number of times that anything was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error = ""

    def __call__(self, url: str, token: str) -> str:
        self.asked.append(token)
        if self.error:
            raise OutboundError(self.error)
        return f"{token} {len(self.asked)}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def questions() -> Questions:
    return Questions()


@pytest.fixture
def checks(questions: Questions, clock: Clock) -> TokenChecks[str]:
    return TokenChecks(questions, clock)


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(OutboundError) as caught:
        action()
    return caught.value.code


def test_an_answer_is_believed_until_its_time_is_over(
    checks: TokenChecks[str], clock: Clock
) -> None:
    assert checks.verdict(URL, "a") == "a 1"
    clock.now += REMEMBERED - 0.001
    assert checks.verdict(URL, "a") == "a 1"
    clock.now += 0.001
    assert checks.verdict(URL, "a") == "a 2"


def test_no_answer_is_believed_for_longer_than_the_limit(
    checks: TokenChecks[str], clock: Clock
) -> None:
    checks.verdict(URL, "a", seconds=1e9)
    clock.now += REMEMBERED
    assert checks.verdict(URL, "a") == "a 2"
    assert REMEMBERED <= 30


def test_the_time_counts_from_the_question_not_from_the_answer(clock: Clock) -> None:
    def slow(url: str, token: str) -> float:
        clock.now += 2
        return clock.now

    checks = TokenChecks(slow, clock)
    assert checks.verdict(URL, "a") == 1002
    clock.now += REMEMBERED - 2
    assert checks.verdict(URL, "a") == 1032


def test_memory_is_bounded_and_forgets_the_longest_known_first(
    checks: TokenChecks[str], questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_checks, "_MAX_REMEMBERED", 3)
    for token in ("a", "b", "c", "d", "b", "c", "d", "a"):
        checks.verdict(URL, token)
    assert questions.asked == ["a", "b", "c", "d", "a"]
    assert len(checks._remembered) == 3


def test_no_token_is_kept(checks: TokenChecks[str]) -> None:
    checks.verdict(URL, "secret")
    assert all(isinstance(key, bytes) and len(key) == 32 for key in checks._remembered)
    assert checks._open == {}


@pytest.mark.parametrize(
    "code", ["timeout", "connect_timeout", "stalled", "connection", "dns", "tls"]
)
def test_a_panel_that_does_not_answer_is_left_alone_for_a_moment(
    checks: TokenChecks[str], questions: Questions, clock: Clock, code: str
) -> None:
    questions.error = code
    assert code_of(lambda: checks.verdict(URL, "a")) == code
    questions.error = ""
    clock.now += RESTING - 0.001
    assert code_of(lambda: checks.verdict(URL, "b")) == code
    assert questions.asked == ["a"]
    assert checks.verdict("http://other.example", "b") == "b 2"
    clock.now += 0.001
    assert checks.verdict(URL, "b") == "b 3"


def test_one_token_that_breaks_the_panel_keeps_nobody_else_out(
    checks: TokenChecks[str], questions: Questions
) -> None:
    questions.error = "http_500"
    assert code_of(lambda: checks.verdict(URL, "a")) == "http_500"
    questions.error = ""
    assert checks.verdict(URL, "b") == "b 2"


def test_what_is_known_is_answered_while_the_panel_is_down(
    checks: TokenChecks[str], questions: Questions
) -> None:
    checks.verdict(URL, "a")
    questions.error = "connection"
    assert code_of(lambda: checks.verdict(URL, "b")) == "connection"
    assert checks.verdict(URL, "a") == "a 1"


# --- at once ---------------------------------------------------------------------


def ask(url: str, token: str) -> int:
    return panel_client.get(f"{url}/api/admin", {"Authorization": f"Bearer {token}"}).status


def test_one_token_asked_many_times_at_once_is_one_question() -> None:
    with running_panel() as panel, ThreadPoolExecutor(8) as callers:
        panel.gate.clear()
        checks = TokenChecks(ask)
        token = panel.knows(admin_token(), "ann", is_sudo=True)
        found = [callers.submit(checks.verdict, panel.url, token) for _ in range(8)]
        assert panel.arrived.acquire(timeout=5)
        panel.gate.set()
        assert {answer.result(5) for answer in found} == {200}
    assert panel.asked == [token]


def test_no_more_than_a_few_questions_are_asked_at_once() -> None:
    tokens = [admin_token(f"admin{number}") for number in range(3 * PARALLEL)]
    with running_panel() as panel, ThreadPoolExecutor(len(tokens)) as callers:
        panel.gate.clear()
        checks = TokenChecks(ask)
        found = [callers.submit(checks.verdict, panel.url, token) for token in tokens]
        for _ in range(PARALLEL):
            assert panel.arrived.acquire(timeout=5)
        panel.gate.set()
        assert {answer.result(5) for answer in found} == {401}
    assert panel.most_at_once <= PARALLEL
    assert sorted(panel.asked) == sorted(tokens)


def test_questions_beyond_those_that_may_wait_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_checks, "_MAX_OPEN", 2)
    with running_panel() as panel, ThreadPoolExecutor(2) as callers:
        panel.gate.clear()
        checks = TokenChecks(ask)
        found = [callers.submit(checks.verdict, panel.url, admin_token(name)) for name in "ab"]
        for _ in found:
            assert panel.arrived.acquire(timeout=5)
        assert code_of(lambda: checks.verdict(panel.url, admin_token("c"))) == "busy"
        panel.gate.set()
        assert [answer.result(5) for answer in found] == [401, 401]
        assert checks.verdict(panel.url, admin_token("c")) == 401


def test_a_caller_does_not_wait_longer_than_the_time_of_a_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking up a name has no time limit, and a question may have to wait for its turn."""
    monkeypatch.setattr(
        panel_client, "LIMITS", msgspec.structs.replace(panel_client.LIMITS, total=0.1)
    )
    monkeypatch.setattr(token_checks, "_SLACK", 0)
    free = threading.Event()
    asked: list[str] = []

    def endless(url: str, token: str) -> None:
        asked.append(token)
        free.wait(10)

    checks = TokenChecks(endless)
    with ThreadPoolExecutor(PARALLEL) as callers:
        for code in callers.map(
            lambda number: code_of(lambda: checks.verdict(URL, str(number))), range(PARALLEL)
        ):
            assert code == "timeout"
    assert code_of(lambda: checks.verdict(URL, "waits")) == "timeout"
    free.set()
    assert checks.verdict(URL, "later") is None
    assert "waits" not in asked  # nobody was there any more to hear the answer


def test_a_child_process_begins_afresh(checks: TokenChecks[str], questions: Questions) -> None:
    checks.verdict(URL, "a")
    checks.begin_afresh()
    assert checks.verdict(URL, "a") == "a 2"
    assert questions.asked == ["a", "a"]


def test_a_panel_on_loopback_answers_over_one_connection_per_question() -> None:
    with running_panel() as panel:
        token = panel.knows(admin_token(), "ann", is_sudo=True)
        assert TokenChecks(ask).verdict(panel.url, token) == 200
    assert panel.paths == ["/api/admin"]

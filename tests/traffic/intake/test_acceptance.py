"""The way in without any HTTP: who may send how much, and what becomes of it."""

import ast
from pathlib import Path

import pytest
from django.core.cache import cache
from model_bakery import baker
from pytest_django import Settings

from operations import rate_limits
from operations.conf import Rate
from operations.models import ApiKey
from tests.traffic.examples import NOW, a_report, balance
from traffic import metrics
from traffic.intake import acceptance
from traffic.intake.acceptance import Caller, LimitExceededError, TrackingOffError, accept
from traffic.ledger.recording import Outcome
from traffic.models import Subscriber, Usage
from traffic.reports import Decoded, Report

pytestmark = pytest.mark.django_db
SOMEBODY = Caller(key=None, address="192.0.2.1")
A_KEY = Caller(key=7, address="192.0.2.2")


def message(*reports: Report) -> Decoded:
    return Decoded(dict(enumerate(reports)), {}, is_batch=True)


@pytest.fixture(autouse=True)
def _people() -> None:
    for pk in (7, 8):
        baker.make(ApiKey, pk=pk, hash=str(pk))
    for token in ("ann", "bob", "carl"):
        Subscriber.objects.create(token=token)


def of(*tokens: str) -> Decoded:
    return message(*[a_report(user_token=token) for token in tokens])


def paid(address: str) -> int:
    """What was counted against an address beside its requests: how much is missing from a rate of 100."""
    rate = Rate(100, 86_400)
    left = 100
    while left and rate_limits.spend("address", address, rate, left) is not None:
        left -= 1
    return 100 - left


def test_good_reports_are_counted_and_told_by_their_place() -> None:
    decoded = Decoded(
        {1: a_report(user_token="ann", event_id="x"), 4: a_report(user_token="ann", event_id="x"),
         5: a_report(user_token="nobody")},
        {2: {"port": ["…"]}}, is_batch=True,
    )  # fmt: skip
    assert accept(decoded, SOMEBODY, NOW) == {
        1: Outcome.RECORDED, 4: Outcome.DUPLICATE, 5: Outcome.UNKNOWN_TOKEN,
    }  # fmt: skip
    assert balance("ann").life_reports == 1


def test_what_was_rejected_is_counted_by_its_field() -> None:
    port = metrics.REPORTS_REFUSED.labels("port")
    before = port._value.get()
    assert accept(Decoded({}, {0: {"port": ["…"]}}, is_batch=False), SOMEBODY, NOW) == {}
    assert port._value.get() == before + 1


def test_while_tracking_is_off_nothing_is_taken(settings: Settings) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    with pytest.raises(TrackingOffError):
        accept(of("ann"), SOMEBODY, NOW)
    assert not Usage.objects.exists()


@pytest.mark.parametrize("may_create", [True, False])
def test_unknown_tokens_become_subscribers_of_callers_who_may_create_them(may_create: bool) -> None:
    caller = Caller(key=None, address="192.0.2.1", may_create=may_create)
    expected = Outcome.RECORDED if may_create else Outcome.UNKNOWN_TOKEN
    assert accept(of("new"), caller, NOW) == {0: expected}
    assert Subscriber.objects.filter(token="new").exists() == may_create


def test_with_a_key_a_message_is_one_request_however_many_people_it_tells_of(
    settings: Settings,
) -> None:
    settings.XPERT_RATE_REPORTS = "2/day"
    for _ in range(2):
        accept(of("ann", "bob", "carl"), A_KEY, NOW)
    with pytest.raises(LimitExceededError) as caught:
        accept(of("ann"), A_KEY, NOW)
    assert caught.value.wait > 0
    accept(of("ann"), Caller(key=8, address="192.0.2.2"), NOW)
    accept(of("ann", "bob"), SOMEBODY, NOW)
    assert balance("ann").life_reports == 4


def test_without_a_key_a_message_is_one_request_of_each_person(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS = "2/day"
    accept(of("ann", "ann", "ann", "bob"), SOMEBODY, NOW)
    accept(of("ann"), SOMEBODY, NOW)
    with pytest.raises(LimitExceededError):
        accept(of("ann", "bob"), SOMEBODY, NOW)
    accept(of("bob"), SOMEBODY, NOW)
    assert (balance("ann").life_reports, balance("bob").life_reports) == (4, 2)


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [(["ann"], 0), (["x"], 1), (["x", "x", "ann"], 1), (["x", "y", "z", "ann"], 5)],
)
def test_without_a_key_every_unknown_token_costs_its_address_double(
    settings: Settings, tokens: list[str], cost: int
) -> None:
    """The message itself was counted once by whoever carried it here."""
    settings.XPERT_RATE_ADDRESS = "100/day"
    cache.clear()
    accept(of(*tokens), SOMEBODY, NOW)
    assert paid(SOMEBODY.address) == cost


def test_a_key_pays_nothing_for_people_who_are_unknown(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "100/day"
    accept(of("x", "y"), A_KEY, NOW)
    assert paid(A_KEY.address) == 0


def test_it_knows_nothing_of_http() -> None:
    """Neither do the modules of ours below it."""
    root, seen, waiting = Path(__file__).parents[3], set[str](), ["traffic.intake.acceptance"]
    assert acceptance.__name__ == waiting[0]
    while waiting:
        name = waiting.pop()
        path = root / (name.replace(".", "/") + ".py")
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        for found in _imports(path, name):
            assert not found.startswith(("rest_framework", "django.http", "operations.api")), name
            waiting.append(found)
    assert {"traffic.ledger.recording", "traffic.reports", "operations.rate_limits"} <= seen


def _imports(path: Path, name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name.rsplit(".", node.level)[0] if node.level else ""
            base = ".".join(filter(None, (package, node.module)))
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found

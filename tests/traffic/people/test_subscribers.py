from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from model_bakery import baker

from tests.traffic.examples import DAY, NOW
from traffic.ledger import lookup
from traffic.models import MAX_COUNTER, Subscriber, new_token
from traffic.people import subscribers
from traffic.periods import EPOCH
from traffic.reports import is_token

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


# --- tokens ------------------------------------------------------------------


def test_a_subscriber_gets_a_random_token_of_32_or_more_characters() -> None:
    tokens = {Subscriber.objects.create().token for _ in range(5)} | {new_token() for _ in range(5)}
    assert len(tokens) == 10
    assert all(len(token) >= 32 and is_token(token) for token in tokens)


@pytest.mark.parametrize("token", ["", "a b", "global", "..", "a" * 256, "é"])
def test_a_token_that_nobody_could_report_for_is_refused(token: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Subscriber(token=token).full_clean()
    assert list(refusal.value.message_dict) == ["token"]


def test_two_subscribers_never_share_a_token() -> None:
    baker.make(Subscriber, token="user123")
    with pytest.raises(IntegrityError):
        baker.make(Subscriber, token="user123")


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        (None, True),
        (1, True),
        (MAX_COUNTER, True),
        (0, False),
        (-1, False),
        (MAX_COUNTER + 1, False),
    ],
)
def test_a_data_limit_is_at_least_a_byte_and_at_most_a_counter(
    limit: int | None, fits: bool
) -> None:
    made = Subscriber(token="user123", data_limit=limit)
    if fits:
        made.full_clean()
        made.save()
        return
    with pytest.raises(ValidationError):
        made.full_clean()
    with pytest.raises(IntegrityError):
        made.save()


@pytest.mark.parametrize(("day", "fits"), [(1, True), (31, True), (0, False), (32, False)])
def test_a_month_begins_on_a_day_that_some_month_has(day: int, fits: bool) -> None:
    made = Subscriber(token="user123", reset_day=day)
    if fits:
        made.full_clean()
        made.save()
        return
    with pytest.raises(ValidationError):
        made.full_clean()
    with pytest.raises(IntegrityError):
        made.save()


# --- looking up --------------------------------------------------------------


def test_a_subscriber_is_found_by_its_token() -> None:
    made = baker.make(Subscriber, token="user123")
    assert subscribers.find("user123") == made
    assert subscribers.find("User123") is None


@pytest.mark.parametrize("token", ["nobody", "", "global", "a b", "\x00", "a" * 256])
def test_a_subscriber_is_not_found_by_another_token(
    token: str, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1 if is_token(token) else 0):
        assert subscribers.find(token) is None


def test_a_deleted_subscriber_is_not_found() -> None:
    baker.make(Subscriber, token="user123", hidden_at=NOW)
    assert subscribers.find("user123") is None
    assert subscribers.find_or_create("user123") is None
    assert Subscriber.objects.count() == 1


def test_an_unknown_token_becomes_a_subscriber_once() -> None:
    made = subscribers.find_or_create("user123")
    assert made is not None
    assert subscribers.find_or_create("user123") == made
    assert Subscriber.objects.get() == made


@pytest.mark.parametrize("token", ["", "global", "a b", "a" * 256])
def test_an_ill_formed_token_becomes_nobody(token: str) -> None:
    assert subscribers.find_or_create(token) is None
    assert not Subscriber.objects.exists()


# --- periods ----------------------------------------------------------------


def test_a_period_began_by_the_calendar_or_by_hand_if_that_was_later() -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    assert lookup.current_period(Subscriber(), NOW) == EPOCH
    assert lookup.current_period(Subscriber(limit_reset="daily"), NOW) == midnight
    assert (
        lookup.current_period(Subscriber(limit_reset="daily", reset_at=NOW - SECOND), NOW)
        == NOW - SECOND
    )
    assert (
        lookup.current_period(Subscriber(limit_reset="daily", reset_at=NOW - DAY), NOW) == midnight
    )
    assert lookup.current_period(Subscriber(reset_at=NOW - DAY), NOW) == NOW - DAY


@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_search_finds_the_same_however_many_it_finds(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Ann", "Anna", "Bob"):
        baker.make(Subscriber, name=name)
    monkeypatch.setattr(subscribers, "_FEW", few)
    found = subscribers.search(Subscriber.objects.order_by("name"), "ann", may_see_tokens=False)
    assert [one.name for one in found] == ["Ann", "Anna"]


def test_a_search_for_nothing_asks_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        subscribers.search(Subscriber.objects.all(), " ", may_see_tokens=True)

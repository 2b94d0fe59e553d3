"""People whom meters know by name: whom a name means, who is kept until somebody adopts them, and what counts then."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from operations import audit
from operations.api.authentication import create_api_key
from operations.audit import By
from tests.traffic.examples import GB, HOUR, NOW, assert_sums_agree, balance, subscriber
from tests.traffic.metering import row, send
from traffic.ledger import metered_people
from traffic.models import (
    MAX_COUNTER,
    Balance,
    KnownAs,
    Meter,
    MeteredPerson,
    Reporter,
    SetAside,
    Subscriber,
    Usage,
)
from traffic.people import adoption, changes, erasure
from traffic.people.adoption import AdoptionError

pytestmark = pytest.mark.django_db
RUN = int((NOW - HOUR).timestamp())
BY = By("ada", NOW)


@pytest.fixture(autouse=True)
def _people() -> Iterator[None]:
    Subscriber.objects.create(token="ann-token", name="Ann")
    Subscriber.objects.create(token="bob-token", name="Bob")
    with time_machine.travel(NOW, tick=False):
        yield
    assert_sums_agree()


def tell(client: Client, name: str, up: int, run: int = RUN) -> dict[str, Any]:
    answer = send(client, row(up, 0, person=name), run=run)
    found: dict[str, Any] = answer.json()
    return found


def used(token: str) -> int:
    found = Balance.objects.filter(subscriber__token=token).first()
    return found.life_upload if found else 0


def unknown() -> MeteredPerson:
    return MeteredPerson.objects.get(subscriber=None)


# --- whom a name means -------------------------------------------------------------


@pytest.mark.parametrize("name", ["ann-token", "ANN-Token", "Ann", "aNN"])
def test_a_name_means_the_token_or_the_name_of_a_subscriber_letter_case_apart(
    reporter: Client, name: str
) -> None:
    assert tell(reporter, name, 5)["recorded"] == 1
    assert used("ann-token") == 5


@pytest.mark.parametrize("name", ["алиса", "АЛИСА", "Алиса"])
def test_letters_outside_ascii_have_a_case_too(reporter: Client, name: str) -> None:
    Subscriber.objects.create(token="alice", name="Алиса")
    assert tell(reporter, name, 5)["recorded"] == 1


@pytest.mark.parametrize("name", ["Ann ", "An", "Anna", "%", "ann_token"])
def test_nothing_but_the_whole_name_is_meant(reporter: Client, name: str) -> None:
    assert tell(reporter, name, 5)["recorded"] == 0


def test_a_name_that_two_living_subscribers_have_is_unknown(reporter: Client) -> None:
    twin = Subscriber.objects.create(token="other", name="ann")
    assert tell(reporter, "Ann", 5)["recorded"] == 0
    changes.hide(Subscriber, [twin.pk], BY)
    assert tell(reporter, "Ann", 7)["recorded"] == 1
    assert used("ann-token") == 2


def test_also_known_as_for_this_reporter_comes_first_then_for_all_then_token_then_name(
    reporter: Client,
) -> None:
    send(reporter, run=RUN)
    names = [Subscriber.objects.create(token=token) for token in ("one", "all", "same")]
    Subscriber.objects.create(token="named", name="same")
    for token in ("named", "same", "all", "one"):
        if token == "same":  # a token is before a name
            Subscriber.objects.filter(token="same").update(hidden_at=None)
        if token == "named":
            Subscriber.objects.filter(token="same").update(hidden_at=NOW)
        if token == "all":
            adoption.know_as(names[1], "same", BY)
        if token == "one":
            adoption.know_as(names[0], "SAME", BY, Reporter.objects.get())
        before = used(token)
        up = 10 + sum(used(name) for name in ("named", "same", "all", "one"))
        assert tell(reporter, "Same", up)["recorded"] == 1, token
        assert used(token) == before + 10, token


def test_what_is_known_for_one_reporter_is_not_for_another(
    reporter: Client, manager: Client
) -> None:
    send(reporter, run=RUN)
    adoption.know_as(subscriber("ann-token"), "a1", BY, Reporter.objects.get())
    assert tell(reporter, "a1", 5)["recorded"] == 1
    assert tell(manager, "a1", 5)["recorded"] == 0


def test_without_a_key_nobody_is_named(reporter: Client) -> None:
    answer = send(Client(), row(person="Ann"), row(user_token="ann-token"), run=RUN).json()
    assert (answer["recorded"], list(answer["rejected"][0]["errors"])) == (1, ["person"])


def test_a_row_names_a_token_or_a_person_never_both(reporter: Client) -> None:
    both = row() | {"person": "Ann"}
    answer = send(reporter, both, run=RUN)
    assert (answer.status_code, list(answer.json()["rejected"][0]["errors"])) == (400, ["person"])


def test_token_and_name_of_one_person_are_two_rows(reporter: Client) -> None:
    rows = row(person="Ann"), row(user_token="ann-token")
    assert send(reporter, *rows, run=RUN).json()["recorded"] == 2


# --- unknown people --------------------------------------------------------------


def test_unknown_people_are_kept_with_their_totals(reporter: Client) -> None:
    for up in (5, 8, 8):
        answer = tell(reporter, "carl", up)
        assert (answer["recorded"], answer["unchanged"], answer["rejected"]) == (0, 1, [])
    tell(reporter, "carl", 4, RUN + 1)
    kept = Meter.objects.get()
    assert (kept.subscriber_id, kept.person, kept.upload, kept.counted_upload) == (
        0, unknown(), 4, 12,
    )  # fmt: skip
    assert not Usage.objects.exists()


def test_who_is_adopted_counts_from_then_on(reporter: Client) -> None:
    tell(reporter, "carl", 5)
    adoption.adopt(unknown(), subscriber("ann-token"), BY)
    assert not Usage.objects.exists()
    tell(reporter, "carl", 7)
    assert used("ann-token") == 2
    assert KnownAs.objects.get().name == "carl"
    assert audit.entries(subscriber("ann-token")).count() == 1


def test_who_is_adopted_from_the_beginning_counts_whole_and_once(reporter: Client) -> None:
    tell(reporter, "carl", 5)
    tell(reporter, "carl", 4, RUN + 1)
    adoption.adopt(unknown(), subscriber("ann-token"), BY, from_beginning=True)
    assert used("ann-token") == 9
    tell(reporter, "carl", 4, RUN + 1)
    tell(reporter, "carl", 6, RUN + 1)
    assert used("ann-token") == 11
    assert balance("ann-token").metered_upload == 11


def test_a_baseline_of_an_unknown_person_is_not_adopted(reporter: Client) -> None:
    send(reporter, row(100, 0, person="carl"), run=RUN, baseline=True)
    tell(reporter, "carl", 103)
    adoption.adopt(unknown(), subscriber("ann-token"), BY, from_beginning=True)
    assert used("ann-token") == 3


def test_nobody_is_adopted_twice(reporter: Client) -> None:
    tell(reporter, "carl", 5)
    person = unknown()
    adoption.adopt(person, subscriber("ann-token"), BY, from_beginning=True)
    with pytest.raises(AdoptionError):
        adoption.adopt(person, subscriber("bob-token"), BY, from_beginning=True)
    assert (used("ann-token"), used("bob-token")) == (5, 0)


def test_the_deleted_adopt_nobody(reporter: Client) -> None:
    tell(reporter, "carl", 5)
    Subscriber.objects.filter(token="ann-token").update(hidden_at=NOW)
    with pytest.raises(AdoptionError):
        adoption.adopt(unknown(), Subscriber.objects.get(token="ann-token"), BY)
    assert not KnownAs.objects.exists()


def test_what_has_no_room_is_not_adopted_from_the_beginning(
    reporter: Client, settings: Settings
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 0
    send(reporter, row(MAX_COUNTER, 0, user_token="ann-token"), run=RUN)
    tell(reporter, "carl", 5)
    with pytest.raises(AdoptionError):
        adoption.adopt(unknown(), subscriber("ann-token"), BY, from_beginning=True)
    assert Meter.objects.get(subscriber=0).counted_upload == 5
    assert not KnownAs.objects.exists()


def test_a_name_that_is_given_by_hand_counts_from_then_on(reporter: Client) -> None:
    tell(reporter, "carl", 5)
    adoption.know_as(subscriber("ann-token"), "CARL", BY)
    tell(reporter, "carl", 7)
    assert (used("ann-token"), Meter.objects.get().upload) == (2, 7)


def test_a_name_means_one_subscriber_only() -> None:
    adoption.know_as(subscriber("ann-token"), "x", BY)
    adoption.know_as(subscriber("ann-token"), "X", BY)
    with pytest.raises(AdoptionError):
        adoption.know_as(subscriber("bob-token"), "X", BY)
    assert KnownAs.objects.count() == 1


def test_a_name_that_begins_to_mean_somebody_else_counts_for_them_from_then_on(
    reporter: Client,
) -> None:
    tell(reporter, "Ann", 5)
    Subscriber.objects.filter(token="ann-token").update(name="Anna")
    Subscriber.objects.filter(token="bob-token").update(name="Ann")
    tell(reporter, "Ann", 7)
    assert (used("ann-token"), used("bob-token")) == (5, 2)
    assert Meter.objects.count() == 1


def test_a_bounded_number_of_unknown_people_is_kept(
    reporter: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metered_people, "MAX_UNKNOWN", 2)
    rows = [row(5, 0, person=name) for name in ("a", "b", "c", "Ann")]
    answer = send(reporter, *rows, run=RUN).json()
    assert (answer["recorded"], answer["unchanged"]) == (1, 2)
    assert [bad["index"] for bad in answer["rejected"]] == [2]
    assert [tell(reporter, name, 6)["unchanged"] for name in ("a", "b")] == [1, 1]


def test_a_deleted_person_is_unknown_and_counts_again_when_brought_back(reporter: Client) -> None:
    tell(reporter, "Ann", 5)
    ann = subscriber("ann-token")
    changes.hide(Subscriber, [ann.pk], BY)
    assert tell(reporter, "Ann", 7)["recorded"] == 0
    changes.bring_back(Subscriber, [ann.pk], BY)
    assert tell(reporter, "Ann", 8)["recorded"] == 1
    assert used("ann-token") == 6


def test_an_erased_person_leaves_no_meter_and_no_name(reporter: Client) -> None:
    adoption.know_as(subscriber("ann-token"), "a1", BY)
    tell(reporter, "a1", 5)
    send(Client(), row(user_token="ann-token"), run=RUN)
    erasure.erase(subscriber("ann-token"), BY)
    for model in (Meter, KnownAs, MeteredPerson, SetAside):
        assert not model._default_manager.exists(), model
    assert Reporter.objects.get().subscriber is None


# --- amounts that were set aside -----------------------------------------------------


@pytest.fixture
def aside(settings: Settings) -> SetAside:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    client = Client(headers={"x-api-key": create_api_key("k", "report")[1]})
    send(client, row(2 * GB, 0, user_token="ann-token"), run=RUN)
    return SetAside.objects.get()


def test_an_amount_set_aside_is_counted_once(aside: SetAside) -> None:
    assert adoption.count_set_aside(aside, BY)
    assert not adoption.count_set_aside(aside, BY)
    assert not adoption.drop_set_aside(aside, BY)
    assert used("ann-token") == 2 * GB
    aside.refresh_from_db()
    assert (aside.decision, aside.decided_by, aside.decided_at) == ("counted", "ada", NOW)
    assert audit.entries(subscriber("ann-token")).count() == 1


def test_an_amount_that_is_dropped_never_counts(aside: SetAside) -> None:
    assert adoption.drop_set_aside(aside, BY)
    assert not adoption.count_set_aside(aside, BY)
    assert used("ann-token") == 0


def test_what_has_no_room_stays_to_be_decided(aside: SetAside) -> None:
    SetAside.objects.update(upload=MAX_COUNTER, download=0)
    send(Client(), row(5, 0, user_token="ann-token", port=8443), run=RUN)
    with pytest.raises(AdoptionError):
        adoption.count_set_aside(aside, BY)
    aside.refresh_from_db()
    assert (aside.decision, used("ann-token")) == ("", 5)

"""Resellers: their quota holds whoever changes what, usage stays with whom it happened, and nobody sees another's people."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from model_bakery import baker

from operations.audit import By
from operations.models import AuditEntry
from operations.refusals import Refused
from tests.traffic.examples import DAY, GB, NOW, a_report, stored
from tests.traffic.ledger.test_recording_concurrently import at_once
from traffic import conditions
from traffic.intake import acceptance
from traffic.ledger.owners import Sending
from traffic.models import (
    Correction,
    KnownAs,
    MeteredPerson,
    NextPlan,
    Plan,
    Reporter,
    Reseller,
    Subscriber,
)
from traffic.people import (
    changes,
    corrections,
    csv_import,
    erasure,
    next_plans,
    plans,
    resellers,
)
from traffic.people.resellers import Sums
from traffic.readings import Message, Row, checked_rows

pytestmark = pytest.mark.django_db
EVA = By("eva", NOW)


def a_reseller(name: str = "Ivan", **fields: Any) -> Reseller:
    return Reseller.objects.create(name=name, **fields)


def a_person(seller: Reseller | None, token: str = "user123", **fields: Any) -> Subscriber:
    return Subscriber.objects.create(token=token, reseller=seller, **fields)


def used(token: str, size: int) -> None:
    stored(a_report(user_token=token, upload=size, download=0))


def of(seller: Reseller) -> Sums:
    seller.refresh_from_db()
    return resellers.sums([seller], NOW)[seller.pk]


def added(seller: Reseller, token: str = "new", **fields: Any) -> None:
    changes.add(Subscriber(token=token, reseller=seller, **fields), EVA)


# Who may see whom


def test_resellers_see_only_their_own_and_have_no_permission_at_all() -> None:
    user = User.objects.create_user("ivan", is_staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    ivan, olga = a_reseller(account=user), a_reseller("Olga")
    own, other = a_person(ivan, "own"), a_person(olga, "other")
    nobodys = a_person(None, "nobodys")
    user = User.objects.get()
    assert list(resellers.seen_by(user, Subscriber.objects.all())) == [own]
    assert resellers.may(user, "traffic.change_subscriber", own)
    assert not resellers.may(user, "traffic.change_subscriber", other)
    assert not resellers.may(user, "traffic.change_subscriber", nobodys)
    assert not resellers.may(user, "traffic.view_server", own)
    assert not user.has_perm("traffic.view_subscriber")
    assert not user.has_module_perms("traffic")


def test_an_operator_sees_everybody() -> None:
    user = User.objects.create_user("anna", is_staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    person = a_person(a_reseller())
    assert list(resellers.seen_by(user, Subscriber.objects.all())) == [person]
    assert resellers.may(user, "traffic.change_subscriber", person)


def test_a_superuser_is_never_a_reseller() -> None:
    root = baker.make(User, is_staff=True, is_superuser=True)
    a_reseller(account=root)
    assert resellers.of(root) is None
    assert root.has_perm("traffic.view_subscriber")


def test_nobody_is_not_a_reseller() -> None:
    assert resellers.of(AnonymousUser()) is None


def test_subscribers_stay_when_the_account_is_deleted() -> None:
    user = User.objects.create_user("ivan", is_staff=True)
    ivan = a_reseller(account=user)
    person = a_person(ivan)
    user.delete()
    ivan.refresh_from_db()
    person.refresh_from_db()
    assert (ivan.account, person.reseller) == (None, ivan)


def test_subscribers_stay_when_the_reseller_is_deleted() -> None:
    ivan = a_reseller()
    person = a_person(ivan)
    ivan.delete()
    person.refresh_from_db()
    assert person.reseller is None


# What counts


def test_usage_and_what_is_left_of_the_limits_count() -> None:
    ivan = a_reseller()
    a_person(ivan, "a", data_limit=100)
    a_person(ivan, "b", data_limit=50, is_active=False)
    a_person(ivan, "c", data_limit=30, hidden_at=NOW)
    a_person(a_reseller("Olga"), "d", data_limit=1000)
    used("a", 40)
    used("b", 70)
    stored(a_report(user_token="c"))
    assert of(ivan) == Sums(people=2, active=1, total=110, used=110, promised=60, open_ended=0)


def test_the_usage_of_deleted_subscribers_counts() -> None:
    ivan = a_reseller()
    person = a_person(ivan, data_limit=100)
    used("user123", 40)
    changes.hide(Subscriber, [person.pk], EVA)
    assert of(ivan) == Sums(total=40, used=40)


def test_the_usage_of_erased_subscribers_counts() -> None:
    ivan = a_reseller()
    person = a_person(ivan, data_limit=100)
    used("user123", 40)
    erasure.erase(person, EVA)
    assert of(ivan) == Sums(total=40, used=40)


def test_plans_that_are_bought_ahead_count() -> None:
    ivan, month = a_reseller(), Plan.objects.create(name="Month", data_limit=70)
    person = a_person(ivan, data_limit=100)
    next_plans.add([person.pk], month, EVA)
    assert of(ivan).promised == 170
    NextPlan.objects.update(renews=True)
    assert of(ivan).open_ended == 1


@pytest.mark.parametrize(
    "fields", [{"data_limit": None}, {"data_limit": 5, "limit_reset": "monthly"}]
)
def test_subscribers_without_an_end_are_told(fields: dict[str, Any]) -> None:
    ivan = a_reseller()
    a_person(ivan, **fields)
    assert of(ivan).open_ended == 1


def test_a_restart_counts_usage_from_zero_and_keeps_the_total() -> None:
    ivan = a_reseller(data_limit=150)
    a_person(ivan, data_limit=100)
    used("user123", 40)
    assert resellers.restart([ivan.pk], EVA) == 1
    assert of(ivan) == Sums(people=1, active=1, total=40, used=0, promised=60)
    used("user123", 5)
    assert of(ivan).used == 5
    assert AuditEntry.objects.get().changes == {"used": [40, 0]}


def test_sums_of_many_resellers_take_two_queries(django_assert_num_queries: Any) -> None:
    found = [a_reseller(str(number)) for number in range(5)]
    for number, seller in enumerate(found):
        a_person(seller, f"token{number}", data_limit=10)
    with django_assert_num_queries(2):
        resellers.sums(found, NOW)


# Moving


def test_usage_stays_with_the_reseller_where_it_happened() -> None:
    ivan, olga = a_reseller(), a_reseller("Olga")
    person = a_person(ivan, data_limit=100)
    used("user123", 40)
    assert changes.edit([person.pk], {"reseller": olga}, EVA) == 1
    used("user123", 7)
    assert (of(ivan).total, of(olga).total, of(olga).promised) == (40, 7, 53)
    changes.edit([person.pk], {"reseller": None}, EVA)
    used("user123", 1)
    changes.edit([person.pk], {"reseller": ivan}, EVA)
    used("user123", 2)
    assert (of(ivan).total, of(olga).total) == (42, 7)
    assert AuditEntry.objects.order_by("pk")[0].changes == {"reseller": ["Ivan", "Olga"]}


def test_a_correction_counts_for_the_present_reseller() -> None:
    ivan = a_reseller()
    person = a_person(ivan)
    used("user123", 40)
    corrections.make(Correction(subscriber=person, upload=-15, download=0, reason="outage"), EVA)
    assert of(ivan).total == 25


def test_moving_keeps_the_quota_of_the_new_reseller() -> None:
    olga = a_reseller("Olga", people_limit=1)
    a_person(olga, "a")
    person = a_person(None, "b")
    with pytest.raises(Refused, match="at most 1 subscribers"):
        changes.edit([person.pk], {"reseller": olga}, EVA)
    person.refresh_from_db()
    assert person.reseller is None


# The quota of people


def test_one_more_than_the_quota_of_people_is_refused() -> None:
    ivan = a_reseller(people_limit=2)
    added(ivan, "a")
    added(ivan, "b")
    with pytest.raises(
        Refused, match="The quota of reseller Ivan is used up: at most 2 subscribers"
    ):
        added(ivan, "c")
    assert of(ivan).people == 2


def test_a_deleted_subscriber_makes_room_and_comes_back_only_where_there_is_some() -> None:
    ivan = a_reseller(people_limit=1)
    first = a_person(ivan, "a")
    changes.hide(Subscriber, [first.pk], EVA)
    added(ivan, "b")
    with pytest.raises(Refused):
        changes.bring_back(Subscriber, [first.pk], EVA)
    first.refresh_from_db()
    assert first.hidden_at


def test_people_beyond_a_lowered_quota_are_still_managed() -> None:
    ivan = a_reseller(people_limit=1)
    people = [a_person(ivan, "a", expires_at=NOW + DAY), a_person(ivan, "b", expires_at=NOW + DAY)]
    ids = [person.pk for person in people]
    assert changes.extend(ids, 3, EVA) == 2
    assert changes.switch(ids, on=False, by=EVA) == 2
    assert changes.hide(Subscriber, ids[:1], EVA) == 1


def test_an_import_keeps_the_quota_of_people() -> None:
    ivan = a_reseller(people_limit=1)
    rows = [Subscriber(token="a"), Subscriber(token="b")]
    with pytest.raises(Refused):
        csv_import.store(rows, EVA, ivan)
    assert not Subscriber.objects.exists()
    assert csv_import.store([Subscriber(token="a")], EVA, ivan) == 1
    assert Subscriber.objects.get().reseller == ivan


# The quota of traffic


@pytest.mark.parametrize(("limit", "is_refused"), [(59, False), (60, False), (61, True)])
def test_limits_are_given_up_to_the_quota(limit: int, is_refused: bool) -> None:
    ivan = a_reseller(data_limit=100)
    person = a_person(ivan, "a", data_limit=50)
    used("a", 30)
    changes.hide(Subscriber, [person.pk], EVA)
    a_person(ivan, "b", data_limit=10)
    if not is_refused:
        added(ivan, data_limit=limit)
        return
    with pytest.raises(Refused, match="is 100 B, of which 60 B is left; this needs 61 B"):
        added(ivan, data_limit=limit)


@pytest.mark.parametrize(
    "fields", [{"data_limit": None}, {"data_limit": 5, "limit_reset": "monthly"}]
)
def test_a_subscriber_without_an_end_is_refused_where_traffic_has_a_quota(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(Refused, match="need a data limit that does not start again by itself"):
        added(a_reseller(data_limit=100), **fields)
    added(a_reseller("Olga"), **fields)


def full() -> tuple[Reseller, Subscriber]:
    """A reseller who has given out everything, of which the one subscriber has used 40 of 100 bytes."""
    ivan = a_reseller(data_limit=100)
    month = Plan.objects.create(name="Month", data_limit=100, days=30)
    person = a_person(ivan, data_limit=100, plan=month, expires_at=NOW + DAY)
    used("user123", 40)
    return ivan, person


TAKING: dict[str, Callable[[int], Any]] = {
    "raise": lambda pk: changes.edit([pk], {"data_limit": 101}, EVA),
    "unlimited": lambda pk: changes.edit([pk], {"data_limit": None}, EVA),
    "reset": lambda pk: changes.edit([pk], {"limit_reset": "daily"}, EVA),
    "restart": lambda pk: changes.restart([pk], EVA),
    "renew": lambda pk: plans.renew([pk], EVA),
    "apply a plan": lambda pk: plans.apply([pk], Plan.objects.create(data_limit=200), EVA),
    "next plan": lambda pk: next_plans.add([pk], Plan.objects.get(), EVA),
}
GIVING: dict[str, Callable[[int], Any]] = {
    "lower": lambda pk: changes.edit([pk], {"data_limit": 99}, EVA),
    "name": lambda pk: changes.edit([pk], {"name": "Ann"}, EVA),
    "extend": lambda pk: changes.extend([pk], 3, EVA),
    "off": lambda pk: changes.switch([pk], on=False, by=EVA),
    "token": lambda pk: changes.renew_tokens([pk], EVA),
    "delete": lambda pk: changes.hide(Subscriber, [pk], EVA),
}


@pytest.mark.parametrize("name", TAKING)
def test_what_takes_more_than_the_quota_is_refused_and_changes_nothing(name: str) -> None:
    ivan, person = full()
    before = of(ivan), Subscriber.objects.values().get(), AuditEntry.objects.count()
    with pytest.raises(Refused):
        TAKING[name](person.pk)
    assert (of(ivan), Subscriber.objects.values().get(), AuditEntry.objects.count()) == before


@pytest.mark.parametrize("name", GIVING)
def test_what_takes_nothing_more_is_done_also_beyond_the_quota(name: str) -> None:
    ivan, person = full()
    Reseller.objects.update(data_limit=50, people_limit=0)
    assert GIVING[name](person.pk) == 1
    assert of(ivan).given_out <= 100


def test_reports_are_counted_beyond_the_quota() -> None:
    ivan, _person = full()
    used("user123", 500)
    assert of(ivan).used == 540


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_exceed_the_quota_together() -> None:
    ivan = a_reseller(people_limit=3, data_limit=100)

    def add(token: str) -> bool:
        try:
            added(ivan, token, data_limit=30)
        except Refused:
            return False
        return True

    outcomes = at_once([partial(add, f"token{number}") for number in range(6)])
    assert sorted(outcomes) == [False] * 3 + [True] * 3
    assert of(ivan).people == 3
    assert of(ivan).given_out == 90


# What the owner is told


@pytest.mark.parametrize(
    ("people", "expected"),
    [(3, []), (4, ["reseller-people-near"]), (5, ["reseller-people-reached"])],
)
def test_the_owner_is_told_at_four_fifths_and_at_the_whole_quota(
    people: int, expected: list[str]
) -> None:
    ivan = a_reseller(people_limit=5)
    for number in range(people):
        a_person(ivan, f"token{number}")
    assert [found.code for found in conditions.resellers(NOW)] == expected


def test_the_owner_is_told_of_traffic() -> None:
    ivan, _person = full()
    (found,) = conditions.resellers(NOW)
    assert (found.code, found.subject, found.target) == ("reseller-bytes-reached", "Ivan", ivan)
    assert found.figures == {"quota": "bytes", "used": 100, "limit": 100}


def test_a_reseller_without_quota_is_never_told() -> None:
    a_person(a_reseller(), data_limit=GB)
    assert list(conditions.resellers(NOW)) == []


# Names by which reporters know people


@pytest.fixture
def known() -> Subscriber:
    """Alice is Olga's, and a reporter tells her traffic by her name."""
    alice = a_person(a_reseller("Olga"), "token-of-alice", name="Alice")
    _told("alice")
    assert MeteredPerson.objects.get().subscriber == alice
    return alice


def _told(name: str, total: int = 5) -> None:
    row = Row(person=name, server="a.example", port=443, protocol="vless", upload=total)
    rows = checked_rows([row], NOW)
    acceptance.book(Message("m", int(NOW.timestamp()) - 60, False, *rows), _TELLS, NOW)


_TELLS = Sending(origin="pull:1", kind=Reporter.Kind.PULL, grade=Reporter.Grade.PROVIDER)


def refused(change: Callable[[], object]) -> bool:
    with pytest.raises(Refused, match="Somebody else's traffic is reported") as caught:
        change()
    return "Olga" not in str(caught.value)


def test_a_reseller_cannot_take_a_name_that_a_reporter_uses_for_another(known: Subscriber) -> None:
    ivan = a_reseller()
    bob = a_person(ivan, "token-of-bob", name="Bob")
    assert refused(lambda: added(ivan, name="ALICE"))
    assert refused(lambda: changes.edit([bob.pk], {"name": "alice"}, EVA))
    parsed = csv_import.read(b"name\r\nAlice\r\n")
    assert refused(lambda: csv_import.store(parsed.subscribers.values(), EVA, ivan))
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"Alice", "Bob"}
    _told("alice", 9)
    assert MeteredPerson.objects.get().subscriber == known


def test_a_deleted_subscriber_is_not_brought_back_under_such_a_name(known: Subscriber) -> None:
    other = a_person(a_reseller(), "other", name="alice", hidden_at=NOW)
    assert refused(lambda: changes.bring_back(Subscriber, [other.pk], EVA))
    other.refresh_from_db()
    assert other.hidden_at


def test_names_that_no_reporter_uses_may_occur_twice(known: Subscriber) -> None:
    ivan = a_reseller()
    a_person(a_reseller("Petr"), "one", name="Maria")
    added(ivan, name="Maria")
    assert Subscriber.objects.filter(name="Maria").count() == 2


def test_changes_that_take_no_new_name_pass_and_the_panel_itself_takes_any(
    known: Subscriber,
) -> None:
    changes.add(Subscriber(token="own", name="alice"), EVA)
    changes.extend([known.pk], 5, EVA)
    changes.edit([known.pk], {"note": "x", "name": "Alice"}, EVA)
    own = Subscriber.objects.get(token="own")
    changes.edit([own.pk], {"reseller": a_reseller()}, EVA)
    own.refresh_from_db()
    assert own.reseller is not None


def test_a_name_that_means_another_by_also_known_as_is_free(known: Subscriber) -> None:
    """It comes before names, so nothing becomes ambiguous."""
    Subscriber.objects.filter(pk=known.pk).update(name="Alisa")
    KnownAs.objects.create(name="alice", folded="alice", subscriber=known)
    added(a_reseller(), name="Alice")
    _told("alice", 9)
    assert MeteredPerson.objects.get().subscriber == known

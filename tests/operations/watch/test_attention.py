"""The number beside the menu: counted once a minute for all users, who see their own part of it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from operations.watch import attention
from tests.traffic.admin_pages import a_subscriber, operator, queries, staff
from tests.traffic.examples import DAY, NOW

pytestmark = pytest.mark.django_db
SUBSCRIBERS = "traffic.view_subscriber"


@pytest.fixture(autouse=True)
def no_badge() -> None:
    """Replaces the fixture of all tests: here the menu counts."""


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as found:
        yield found


def expiring(numbers: range) -> None:
    for number in numbers:
        a_subscriber(f"user {number}", expires_at=NOW + DAY)


def cost() -> int:
    with queries() as found:
        attention.count(NOW, lambda _: True)
    return len(found)


def test_one_count_serves_all_users_for_a_minute(clock: time_machine.Traveller) -> None:
    expiring(range(3))
    few = cost()
    assert 0 < few <= 26
    expiring(range(3, 40))
    assert cost() == 0
    clock.shift(timedelta(seconds=61))
    assert cost() == few


@pytest.mark.parametrize(
    "permission", [SUBSCRIBERS, "operations.view_commandrun", "auth.view_user"]
)
def test_each_user_has_the_number_of_the_items_that_they_may_see(permission: str) -> None:
    expiring(range(1))
    everything = attention.items(NOW, lambda _: True)
    assert attention.count(NOW, lambda _: True) == len(everything)
    own = attention.items(NOW, permission.__eq__)
    assert attention.count(NOW, permission.__eq__) == len(own) < len(everything)


def test_the_menu_shows_it() -> None:
    expiring(range(1))
    operator().get("/admin/")
    page = staff("view_subscriber").get("/admin/traffic/subscriber/")
    (overview,) = page.context["sidebar_navigation"][0]["items"]
    assert overview["badge"] == 1

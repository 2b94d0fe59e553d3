"""What a gateway has carried by the hour: made of totals, so that nothing counts twice."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine

from gateways import hours, state
from gateways.hours import Totals
from gateways.models import Gateway, GatewayHour
from tests.gateways.examples import NOW, gateway
from tests.gateways.test_state import Own
from traffic.models import MAX_COUNTER
from traffic.periods import HOUR, window

pytestmark = pytest.mark.django_db


def sums() -> tuple[int, int]:
    rows = GatewayHour.objects.values_list("upload", "download")
    return sum(up for up, _ in rows), sum(down for _, down in rows)


def told(own: Gateway, *totals: Totals) -> None:
    for one in totals:
        hours.book(own.pk, one, NOW)


def test_a_message_that_comes_twice_counts_once() -> None:
    own = Own()
    for up in (10, 10, 25, 25):
        own.tell(carried={"run": "a", "upload": up, "download": 2 * up, "unexplained": 3})
    assert sums() == (25, 50)
    assert own.reread().unexplained == 3


def test_an_older_message_that_comes_late_takes_nothing_away() -> None:
    own = gateway()
    told(own, Totals("a", 25, 25), Totals("a", 10, 10), Totals("a", 30, 30))
    assert sums() == (30, 30)


def test_a_new_run_begins_at_zero() -> None:
    own = gateway()
    told(own, Totals("a", 25, 25, 5), Totals("b", 4, 6, 1))
    own.refresh_from_db()
    assert (sums(), own.unexplained) == ((29, 31), 6)


def test_no_counter_overflows_whatever_comes() -> None:
    own = gateway()
    told(own, *(Totals(str(number), MAX_COUNTER, MAX_COUNTER, MAX_COUNTER) for number in range(9)))
    own.refresh_from_db()
    assert (sums(), own.unexplained) == ((MAX_COUNTER, MAX_COUNTER), MAX_COUNTER)


@pytest.mark.parametrize("carried", [{"upload": 1}, {"run": "a", "upload": -1}, {"run": "x" * 65}])
def test_nonsense_is_refused(carried: dict[str, object]) -> None:
    assert Own().tell(carried=carried).status_code == 400


def test_an_hour_without_a_message_is_unknown_and_not_zero() -> None:
    own = gateway()
    hours.book(own.pk, Totals("a", 10, 20), NOW - 2 * HOUR)
    hours.book(own.pk, Totals("a", 10, 20), NOW)
    points = hours.series(own, window(1, NOW), "hour", ZoneInfo("UTC")).points
    assert [(one.total, one.reports) for one in points[-3:]] == [(30, 1), (0, 0), (0, 1)]


def test_old_hours_are_dropped_and_no_others() -> None:
    own = gateway()
    hours.book(own.pk, Totals("a", 1, 1), NOW - hours.KEPT - HOUR)
    hours.book(own.pk, Totals("a", 2, 2), NOW - hours.KEPT)
    assert hours.drop_old(NOW) == 1
    assert hours.drop_old(NOW) == 0


def test_a_gateway_that_carries_nothing_yet_says_so_without_an_hour() -> None:
    own = gateway()
    with time_machine.travel(NOW, tick=False):
        state.store(own, state.State(), NOW + timedelta(minutes=1))
    assert not GatewayHour.objects.exists()

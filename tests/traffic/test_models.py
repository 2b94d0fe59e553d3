from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from model_bakery import baker

from operations.databases.exact_sum import ExactSum
from operations.models import ApiKey
from tests.traffic.examples import DAY, HOUR, NOW, UTC_ZONE, a_report, stored
from traffic.fields import HourField, SecondField
from traffic.models import (
    MAX_COUNTER,
    Balance,
    ReceivedEvent,
    Server,
    ServerUsage,
    Subscriber,
    Usage,
)
from traffic.people import quotas

pytestmark = pytest.mark.django_db
THIS_HOUR = NOW.replace(minute=0, second=0)


def test_everything_has_a_name_and_none_tells_a_token() -> None:
    stored(
        a_report(user_token="s3cr3t", event_id="x"),
        a_report(user_token="s3cr3t", server="2001:db8::1"),
    )
    named = Subscriber(name="Ann", token="s3cr3t")
    rows = [
        *Subscriber.objects.all(), *Server.objects.all(), *Usage.objects.all(), *ServerUsage.objects.all(),
        *Balance.objects.all(), *ReceivedEvent.objects.all(), ApiKey(name="billing"), named,
    ]  # fmt: skip
    names = [str(row) for row in rows]
    assert "[2001:db8::1]:443 vless" in names
    assert "vpn.example.com:443 vless" in names
    assert {"Ann", "billing"} <= set(names)
    assert all(names)
    assert not [name for name in names if "s3cr3t" in name]


@pytest.mark.parametrize(("field", "unit"), [(HourField, 3600), (SecondField, 1)])
def test_a_moment_is_stored_as_a_small_number(
    field: type[HourField[Any, Any]] | type[SecondField[Any, Any]], unit: int
) -> None:
    moment = datetime.fromtimestamp(1_700_000_000 // unit * unit, UTC)
    assert field.to_number(moment) == 1_700_000_000 // unit
    assert field.to_moment(1_700_000_000 // unit) == moment
    found = field()
    assert found.get_prep_value(moment) == 1_700_000_000 // unit
    assert found.get_prep_value(5) == 5
    assert found.to_python(1_700_000_000 // unit) == moment
    assert found.to_python(moment) == moment
    assert found.from_db_value(None) is None


def test_an_hour_takes_half_the_bytes_of_a_timestamp() -> None:
    stored(a_report())
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM traffic_usage")
        assert cursor.fetchone() == (int(NOW.timestamp()) // 3600,)
    assert Usage.objects.get(hour=THIS_HOUR).hour == THIS_HOUR
    assert Usage.objects.filter(hour__gte=THIS_HOUR, hour__lt=THIS_HOUR + HOUR).count() == 1


@pytest.mark.parametrize(
    ("model", "value"),
    [
        *[(model, value) for model in (Balance, Usage) for value in (-1, MAX_COUNTER + 1)],
        (ServerUsage, -MAX_COUNTER - 1),  # a slot may fall below zero
        (ServerUsage, MAX_COUNTER + 1),
    ],
)
def test_no_counter_exceeds_its_limits(
    model: type[Balance] | type[Usage] | type[ServerUsage], value: int
) -> None:
    stored(a_report())
    ways = ("upload", "download")
    for name in (
        [f"{kind}_{way}" for kind in ("period", "life") for way in ways]
        if model is Balance
        else ways
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            model._default_manager.update(**{name: value})
        model._default_manager.update(**{name: MAX_COUNTER})


def test_a_server_is_one_for_host_port_and_protocol() -> None:
    baker.make(Server, host="a.example", port=443, protocol="vless")
    for other in ({"port": 444}, {"protocol": "trojan"}, {"host": "b.example"}):
        Server.objects.create(**({"host": "a.example", "port": 443, "protocol": "vless"} | other))
    with pytest.raises(IntegrityError):
        Server.objects.create(host="a.example", port=443, protocol="vless")


def test_a_subscriber_with_usage_cannot_be_deleted_by_accident() -> None:
    stored(a_report())
    with pytest.raises(ProtectedError):
        Subscriber.objects.get().delete()
    with pytest.raises(ProtectedError):
        Server.objects.get().delete()


def test_a_deleted_subscriber_is_not_visible() -> None:
    for model in (Subscriber, Server):
        shown, hidden = baker.make(model), baker.make(model, hidden_at=NOW)
        assert list(model.objects.visible()) == [shown]
        assert hidden in model.objects.all()


def test_an_exact_sum_of_nothing_is_zero() -> None:
    assert Usage.objects.aggregate(total=ExactSum("upload"))["total"] == 0


def test_an_exact_sum_passes_64_bits() -> None:
    stored(
        *[
            a_report(user_token=f"user{n}", server=f"s{n}.example", upload=MAX_COUNTER - n)
            for n in range(20)
        ]
    )
    assert Usage.objects.aggregate(total=ExactSum("upload"))["total"] == 20 * MAX_COUNTER - 190


def test_usage_is_stored_in_sortable_columns() -> None:
    for token, reset in (("a", "never"), ("b", "daily"), ("c", "monthly"), ("d", "never")):
        baker.make(Subscriber, token=token, limit_reset=reset)
    stored(
        *[a_report(NOW - 3 * DAY, user_token=token, upload=10, download=0) for token in "abc"],
        now=NOW - 3 * DAY,
    )
    stored(a_report(user_token="a", upload=1, download=0))

    def used(token: str) -> tuple[int, int]:
        row: Any = quotas.with_usage(Subscriber.objects.all(), NOW, UTC_ZONE).get(token=token)
        return row.period_used, row.life_used

    assert [used(token) for token in "abcd"] == [(11, 11), (0, 10), (10, 10), (0, 0)]
    rows: Any = quotas.with_usage(Subscriber.objects.all(), NOW, UTC_ZONE)
    assert [row.token for row in rows.order_by("-period_used", "token")] == ["a", "c", "b", "d"]
    Subscriber.objects.filter(token="c").update(reset_at=NOW - DAY)
    assert used("c") == (0, 10)

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from operations.databases import engine, postgresql
from tests.traffic.examples import DAY, HOUR, NOW, a_report, stored
from traffic.ledger import retention, rollups, verification
from traffic.models import Balance, ServerUsage, Usage

pytestmark = pytest.mark.django_db


def found(*, repair: bool = False) -> list[str]:
    return [str(difference) for difference in verification.differences(repair=repair)]


def check(*arguments: str) -> str:
    out, err = StringIO(), StringIO()
    call_command("check_traffic", *arguments, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


def test_an_empty_panel_agrees_with_itself() -> None:
    assert found() == []
    assert check() == "All sums agree (0 servers and subscribers compared).\n"


def test_sums_agree_after_recording_cleaning_and_folding() -> None:
    stored(
        a_report(),
        a_report(NOW - HOUR, protocol="trojan"),
        a_report(NOW - 40 * DAY),
        a_report(user_token="other"),
    )
    stored(a_report(NOW - 40 * DAY + HOUR), a_report(NOW - 60 * DAY))
    retention.delete_records(50, NOW)
    retention.fold(NOW)
    assert found() == []
    assert check() == "All sums agree (4 servers and subscribers compared).\n"


def test_a_wrong_rollup_is_named_with_what_the_records_say() -> None:
    stored(a_report())
    ServerUsage.objects.update(upload=F("upload") + 5, records=7)
    (difference,) = found()
    assert difference.startswith("Server vpn.example.com:443 vless at 2024-02-10 19:00: ")
    assert difference.endswith("upload is 6, the records say 1, records is 7, the records say 1")


def test_a_wrong_life_is_named() -> None:
    stored(a_report())
    Balance.objects.update(life_download=0, last_used_at=None)
    (difference,) = found()
    assert "life_download is 0, the records say 2" in difference
    assert "last_used_at is 0" in difference
    assert "life_upload" not in difference


def test_records_without_any_sums_are_found() -> None:
    stored(a_report())
    ServerUsage.objects.all().delete()
    Balance.objects.all().delete()
    assert len(found()) == 2


def test_it_looks_at_every_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_CHUNK", 2)
    stored(*[a_report(user_token=f"user{n}") for n in range(5)])
    Balance.objects.filter(subscriber__token="user4").update(life_upload=9)
    steps: list[int] = []
    assert len(list(verification.differences(progress=steps.append))) == 1
    assert sum(steps) == verification.count_steps() == 6


def test_repair_sets_the_rollup_to_what_the_records_say() -> None:
    stored(a_report(), a_report(NOW - HOUR), a_report(NOW - 2 * HOUR))
    hours = list(ServerUsage.objects.order_by("hour").values_list("hour", flat=True))
    ServerUsage.objects.filter(hour=hours[0]).update(upload=100)
    ServerUsage.objects.filter(hour=hours[1]).delete()
    ServerUsage.objects.create(
        server_id=ServerUsage.objects.all()[0].server_id, hour=NOW - 9 * HOUR, records=1
    )
    assert len(found(repair=True)) == 3
    assert found() == []
    assert sorted(ServerUsage.objects.values_list("hour", "upload")) == [
        (hour, 1) for hour in hours
    ]


def test_the_slots_of_a_server_and_hour_are_one_sum() -> None:
    stored(a_report(), a_report(user_token="bob"))
    total = ServerUsage.objects.get()
    ServerUsage.objects.update(upload=F("upload") - 1, records=1)
    ServerUsage.objects.create(
        server_id=total.server_id, hour=total.hour, slot=1, upload=1, records=1
    )
    assert found() == []
    ServerUsage.objects.filter(slot=1).update(upload=5)
    assert "upload is 6, the records say 2" in found(repair=True)[0]
    assert found() == []
    assert ServerUsage.objects.get().slot == 0


def test_repair_touches_neither_records_nor_balances() -> None:
    stored(a_report())
    ServerUsage.objects.update(upload=100)
    before = (list(Usage.objects.values_list()), list(Balance.objects.values_list()))
    assert check("--repair") == (
        "Repaired 1 sums; all agree now.\n"
        "Server vpn.example.com:443 vless at 2024-02-10 19:00: upload is 100, the records say 1\n"
    )
    assert (list(Usage.objects.values_list()), list(Balance.objects.values_list())) == before


def test_the_command_fails_when_sums_differ() -> None:
    stored(a_report())
    ServerUsage.objects.update(upload=100)
    with pytest.raises(CommandError, match="1 sums differ; see above"):
        check()


def test_the_command_says_what_a_repair_cannot_mend() -> None:
    stored(a_report())
    Balance.objects.update(life_upload=100)
    with pytest.raises(CommandError, match="1 sums differ even after the repair"):
        check("--repair")


def test_of_many_differences_a_hundred_are_shown() -> None:
    stored(*[a_report(NOW - n * HOUR) for n in range(120)])
    ServerUsage.objects.update(upload=F("upload") + 1)
    errors = StringIO()
    with pytest.raises(CommandError, match="120 sums differ; see above"):
        call_command("check_traffic", stderr=errors)
    assert len(errors.getvalue().splitlines()) == 100


def test_on_postgresql_other_writers_are_held_off_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine.current(), "hold_off_writers", postgresql.hold_off_writers)
    sent: list[str] = []
    with connection.execute_wrapper(lambda execute, sql, *_: sent.append(sql)):
        rollups.hold_off_writers()
    assert sent == [
        'LOCK TABLE "traffic_meter", "traffic_told", "traffic_usage", "traffic_serverusage", "traffic_correction", "traffic_limitbalance" IN SHARE ROW EXCLUSIVE MODE'
    ]

"""Reports and clocks that the tests of ``traffic`` share. Usage is always born through ``record``."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from traffic import periods
from traffic.ledger import verification
from traffic.ledger.recording import Outcome, record
from traffic.models import Balance, ReceivedEvent, Server, ServerUsage, Subscriber, Usage
from traffic.periods import Window
from traffic.reports import Report

# A Saturday, in the middle of an hour.
NOW = datetime(2024, 2, 10, 19, 20, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MB = 2**20
GB = 2**30
UTC_ZONE = ZoneInfo("UTC")
WEBHOOK = "/api/xpert/traffic-webhook"
STATISTICS = "/api/xpert/traffic-stats"

GUIDE = {
    "user_token": "user123",
    "server": "vpn.example.com",
    "port": 443,
    "protocol": "vless",
    "bytes_uploaded": 1048576,
    "bytes_downloaded": 2097152,
}


def wire(**fields: Any) -> dict[str, Any]:
    """The guide's report as JSON, with other fields."""
    return GUIDE | fields


def a_report(at: datetime = NOW, /, **fields: Any) -> Report:
    """A report that flowed at ``at``: 1 byte up, 2 bytes down, unless said otherwise."""
    report = Report("user123", "vpn.example.com", 443, "vless", 1, 2, int(at.timestamp()))
    return msgspec.structs.replace(report, **fields)


def stored(*reports: Report, now: datetime = NOW) -> list[Outcome]:
    """Record with open access: unknown tokens become subscribers."""
    return record(reports, now, create_subscribers=True)


def subscriber(token: str = "user123") -> Subscriber:
    return Subscriber.objects.get(token=token)


def uploaded(token: str) -> int:
    """All bytes up that are recorded for this subscriber."""
    rows = Usage.objects.filter(subscriber__token=token)
    return sum(rows.values_list("upload", flat=True))


def balance(token: str = "user123") -> Balance:
    return Balance.objects.get(subscriber__token=token)


def window(days: int = 30, now: datetime = NOW) -> Window:
    return periods.window(days, now)


def sums(*models: type[Usage] | type[ServerUsage]) -> dict[str, tuple[int, int, int]]:
    """Upload, download and reports of whole tables, by name."""
    return {
        model.__name__: (
            sum(row.upload for row in model.objects.all()),
            sum(row.download for row in model.objects.all()),
            sum(row.reports for row in model.objects.all()),
        )
        for model in models
    }


def assert_sums_agree() -> None:
    """What ``check_traffic`` will prove: rollup = usage (records included), life = usage + cleaned + corrected, for each row."""
    rollup: dict[tuple[int, datetime], list[int]] = {}
    used: dict[int, list[int]] = {}
    for row in Usage.objects.all():
        for target in (
            rollup.setdefault((row.server_id, row.hour), [0] * 4),
            used.setdefault(row.subscriber_id, [0] * 3),
        ):
            _add(target, (row.upload, row.download, row.reports, 1))
    totals: dict[tuple[int, datetime], list[int]] = {}
    for row in ServerUsage.objects.all():  # a server and hour may have several slots
        target = totals.setdefault((row.server_id, row.hour), [0] * 4)
        _add(target, (row.upload, row.download, row.reports, row.records))
    assert rollup == totals
    for found in Balance.objects.all():
        upload, download, reports = used.pop(found.subscriber_id, [0, 0, 0])
        assert found.life_upload == upload + found.cleaned_upload + found.corrected_upload
        assert found.life_download == download + found.cleaned_download + found.corrected_download
        assert found.life_reports == reports + found.cleaned_reports
        assert (found.last_used_at is None) == (reports == 0)
    assert not used, "usage without a balance"
    assert [str(found) for found in verification.differences()] == []


def _add(target: list[int], values: Sequence[int]) -> None:
    for place in range(len(target)):
        target[place] += values[place]


def rows_stored() -> dict[str, int]:
    return {
        model.__name__: model._default_manager.count()
        for model in (Subscriber, Server, Usage, ServerUsage, Balance, ReceivedEvent)
    }

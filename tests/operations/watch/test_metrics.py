import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from model_bakery import baker
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from operations.extension import Extension, register
from operations.models import CommandRun
from operations.watch import exposition
from operations.watch import metrics as operations_metrics
from tests.traffic.examples import STATISTICS, WEBHOOK, wire
from traffic import metrics
from traffic.models import Balance, Subscriber

pytestmark = pytest.mark.django_db
REPOSITORY = Path(__file__).resolve().parents[3]


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.mark.parametrize("url", ["/metrics", "/metrics/"])
def test_it_speaks_prometheus(reader: Client, url: str) -> None:
    response = reader.get(url)
    assert response["Content-Type"].startswith("text/plain; version=")
    families = {family.name for family in text_string_to_metric_families(response.content.decode())}
    assert {"xpert_requests", "xpert_reports", "xpert_refusals"} <= families


@pytest.mark.parametrize("query", ["?format=json", "?format=txt", "?name[]=xpert_reports"])
def test_it_speaks_nothing_else(reader: Client, query: str) -> None:
    assert (
        b"xpert_reports_total"
        in reader.get(f"/metrics{query}", headers={"accept": "application/json"}).content
    )


def test_reports_are_counted_by_what_became_of_them() -> None:
    baker.make(Subscriber, token="user123")
    names = ("recorded", "duplicate", "rejected")
    before = {name: count("xpert_reports_total", outcome=name) for name in names}
    batch = [
        wire(event_id="x"),
        wire(event_id="x"),
        wire(),
        wire(port=0),
        wire(user_token="nobody"),
        None,
    ]
    Client().post(WEBHOOK, batch, content_type="application/json")
    after = {name: count("xpert_reports_total", outcome=name) - before[name] for name in names}
    assert after == {"recorded": 2, "duplicate": 1, "rejected": 3}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"{STATISTICS}/global", "not_authenticated"),
        (f"{STATISTICS}/user123?days=0", "invalid"),
        (WEBHOOK, "method_not_allowed"),
    ],
)
def test_refusals_are_counted_by_their_reason(url: str, reason: str) -> None:
    before = count("xpert_refusals_total", reason=reason)
    Client().get(url)
    assert count("xpert_refusals_total", reason=reason) == before + 1


def test_a_limit_and_a_wrong_key_have_reasons_of_their_own(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "2/min"
    reasons = ("authentication_failed", "throttled")
    before = [count("xpert_refusals_total", reason=reason) for reason in reasons]
    for _ in range(2):
        Client(headers={"x-api-key": "wrong"}).get(f"{STATISTICS}/global")
    assert [count("xpert_refusals_total", reason=reason) for reason in reasons] == [
        before[0] + 1,
        before[1] + 1,
    ]


def test_no_label_is_made_of_what_somebody_sends(reader: Client) -> None:
    for url in (
        f"{STATISTICS}/s3cr3t",
        "/s3cr3t",
        f"{STATISTICS}/server/s3cr3t.example/443",
        "/admin/s3cr3t",
    ):
        Client().get(url)
    Client().generic("S3CR3T", f"{STATISTICS}/user123")
    assert "s3cr3t" not in reader.get("/metrics").content.decode().lower()


def test_several_processes_share_their_counters(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
        "DJANGO_SETTINGS_MODULE": "xpert_panel.settings",
        "XPERT_ENV_FILE": os.devnull,
        "XPERT_TRAFFIC_DB_PATH": str(tmp_path / "empty.db"),
        "SECRET_KEY": "only-for-tests-" + "0123456789abcdef" * 4,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }

    def run(code: str) -> str:
        command = [sys.executable, "-W", "error", "-c", f"import django; django.setup(); {code}"]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    for _ in range(2):
        run(
            "from traffic import metrics; metrics.RECORDED.inc(3); metrics.COMMIT_SECONDS.observe(0.1)"
        )
    # Without tables only the counters are shown.
    text = run("from operations.watch import exposition; print(exposition.text().decode())")
    assert 'xpert_reports_total{outcome="recorded"} 6.0' in text
    assert "xpert_commit_seconds_count 2.0" in text
    assert list(text_string_to_metric_families(text))


def test_a_process_that_begins_when_the_shared_folder_was_tidied_away_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "tidied"))
    operations_metrics.make_folder()
    assert (tmp_path / "tidied").stat().st_mode & 0o777 == 0o700


def test_a_scrape_after_the_shared_folder_was_tidied_away_is_answered(
    reader: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "tidied"))
    assert reader.get("/metrics").status_code == 200


def test_a_request_that_is_answered_while_another_is_counted_first_is_counted_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first request of its kind creates the counters; a second one may arrive between any two of them."""
    for name in ("_requests", "_seconds"):
        monkeypatch.setattr(operations_metrics, name, _Meeting())
    before = count("xpert_requests_total", route="met", method="GET", status="200")
    operations_metrics.count_request("met", "GET", 200, 0.1)
    assert count("xpert_requests_total", route="met", method="GET", status="200") == before + 3


class _Meeting(dict[Any, Any]):
    """Answers another request when the first item is stored."""

    def __setitem__(self, key: Any, value: Any) -> None:
        is_first = not self
        super().__setitem__(key, value)
        if is_first:
            operations_metrics.count_request("met", "GET", 200, 0.1)


def test_gauges_from_the_database_are_shown_with_the_counters_of_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert "xpert_database_bytes" in exposition.text().decode()


def test_a_database_that_does_not_answer_hides_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> int:
        raise OperationalError("gone")

    monkeypatch.setattr("operations.databases.engine.database_size", away)
    text = exposition.text().decode()
    assert "xpert_database_bytes" not in text
    assert "xpert_reports_total" in text


@pytest.mark.usefixtures("only_traffic")
def test_another_app_may_show_figures_of_its_own() -> None:
    register(
        Extension(
            name="x", gauges=lambda found: [GaugeMetricFamily("xpert_sources", "Sources.", 7)]
        )
    )
    assert "xpert_sources 7.0" in exposition.text().decode()


def test_refused_reports_are_counted_by_what_is_to_blame() -> None:
    baker.make(Subscriber, token="user123")
    reasons = ("port", "user_token", "unknown token", "detail")
    before = {reason: count("xpert_reports_refused_total", reason=reason) for reason in reasons}
    batch = [
        wire(),
        wire(port=0),
        wire(port=None),
        wire(user_token="nobody"),
        wire(user_token="a b"),
        None,
    ]
    Client().post(WEBHOOK, batch, content_type="application/json")
    after = {
        reason: count("xpert_reports_refused_total", reason=reason) - before[reason]
        for reason in reasons
    }
    assert after == {"port": 2, "user_token": 1, "unknown token": 1, "detail": 1}


def test_a_group_that_was_committed_is_counted_with_its_size_and_time() -> None:
    baker.make(Subscriber, token="user123")
    names = (
        "xpert_commit_group_reports_count",
        "xpert_commit_group_reports_sum",
        "xpert_commit_seconds_count",
    )
    before = [count(name) for name in names]
    Client().post(WEBHOOK, [wire(), wire(), wire()], content_type="application/json")
    assert [count(name) - old for name, old in zip(names, before, strict=True)] == [1, 3, 1]


def test_requests_are_timed_by_route() -> None:
    before = count("xpert_request_seconds_count", route="healthz")
    Client().get("/healthz")
    assert count("xpert_request_seconds_count", route="healthz") == before + 1


def test_bytes_are_counted_by_server_when_they_are_recorded_and_only_then() -> None:
    baker.make(Subscriber, token="user123")

    def bytes_of(direction: str) -> float:
        return count("xpert_server_bytes_total", server="bytes.example.com", direction=direction)

    one = wire(server="bytes.example.com", bytes_uploaded=3, bytes_downloaded=40, event_id="x")
    before = bytes_of("upload"), bytes_of("download")
    Client().post(
        WEBHOOK, [one, one, one | {"user_token": "nobody"}], content_type="application/json"
    )
    assert (bytes_of("upload") - before[0], bytes_of("download") - before[1]) == (3, 40)


def test_reports_of_ever_new_servers_do_not_fill_prometheus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_bytes", {})
    monkeypatch.setattr(metrics, "MAX_SERVERS", 2)
    before = count("xpert_server_bytes_total", server="other", direction="upload")
    for number in range(5):
        metrics.count_bytes(f"s{number}.bounded.example", 1, 0)
    assert count("xpert_server_bytes_total", server="s1.bounded.example", direction="upload") == 1
    assert count("xpert_server_bytes_total", server="s2.bounded.example", direction="upload") == 0
    assert count("xpert_server_bytes_total", server="other", direction="upload") == before + 3


def test_the_last_report_and_the_last_run_of_a_command_are_told(reader: Client) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    Balance.objects.create(
        subscriber=baker.make(Subscriber), period_start=moment, last_used_at=moment
    )
    baker.make(CommandRun, command="cleanup_traffic", succeeded_at=moment)
    baker.make(CommandRun, command="backup_traffic", succeeded_at=None, error="no room")
    text = reader.get("/metrics").content.decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["xpert_last_report_timestamp_seconds",] == moment.timestamp()
    assert (
        samples["xpert_command_last_success_timestamp_seconds", "cleanup_traffic"]
        == moment.timestamp()
    )
    assert ("xpert_command_last_success_timestamp_seconds", "backup_traffic") not in samples
    assert samples["xpert_database_bytes",] > 0


def test_no_time_of_a_report_is_told_before_there_is_one(reader: Client) -> None:
    assert b"xpert_last_report" not in reader.get("/metrics").content

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection
from model_bakery import baker
from pytest_django import Settings
from redis.exceptions import RedisError

from operations.extension import Extension, register
from operations.findings import Condition, Finding, Level, Watch
from operations.models import ApiKey, CommandRun, Delivery, Receiver
from operations.watch import conditions, doctor, readiness
from operations.watch.doctor import examine
from operations.wording import Words
from traffic.models import Balance, Subscriber

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
DAY = timedelta(days=1)
OK, WARNING, ERROR = Level


@pytest.fixture(autouse=True)
def sound(settings: Settings, monkeypatch: pytest.MonkeyPatch, only_traffic: None) -> None:
    """An installation without problems, independent of the machine that runs the tests."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.WEB_CONCURRENCY = 1
    monkeypatch.setattr(conditions, "_is_unsynchronised", lambda: False)
    monkeypatch.setattr(conditions, "sqlite_file", lambda: None)
    settings.XPERT_ENV_FILE = ""
    monkeypatch.setattr(readiness, "disk", lambda: readiness.Disk(2**40, 2**39))
    baker.make(User, is_superuser=True, is_active=True)
    for command in ("cleanup_traffic", "backup_traffic"):
        baker.make(CommandRun, command=command, ended_at=NOW - DAY, succeeded_at=NOW - DAY)


def wrong() -> list[tuple[Level, str]]:
    return [(finding.level, finding.subject) for finding in examine(NOW) if finding.level]


def about(subject: str) -> Finding:
    (found,) = [finding for finding in examine(NOW) if finding.subject == subject]
    return found


def used(moment: datetime) -> None:
    Balance.objects.create(
        subscriber=baker.make(Subscriber), period_start=moment, last_used_at=moment
    )


def test_a_sound_installation_has_nothing_to_do() -> None:
    assert wrong() == []
    assert {finding.subject for finding in examine(NOW)} >= {
        "Settings",
        "Domain",
        "Migrations",
        "Database",
        "Disk",
    }


def test_checks_that_were_silenced_are_no_findings(settings: Settings) -> None:
    settings.XPERT_DOMAIN, settings.XPERT_HTTPS, settings.XPERT_TRUSTED_PROXIES = (
        "panel.example.com",
        True,
        1,
    )
    settings.SECURE_HSTS_SECONDS, settings.SECURE_SSL_REDIRECT = 3600, True
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
    assert about("Settings").level is OK


def test_a_wrong_setting_is_named_and_hides_nothing_else(settings: Settings) -> None:
    settings.XPERT_DOMAIN = "not a domain"
    (found,) = [finding for finding in examine(NOW) if finding.level]
    assert (found.level, found.subject) == (ERROR, "Settings")
    assert "XPERT_DOMAIN takes" in found.message
    assert about("Migrations").level is OK


def test_open_access_on_a_public_domain_is_an_error(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_DOMAIN = True, "http://panel.example.com"
    settings.ALLOWED_HOSTS = ["panel.example.com"]
    assert (ERROR, "Settings") in wrong()


def test_a_misspelt_setting_is_a_warning(settings: Settings) -> None:
    settings.XPERT_UNREAD = {"XPERT_DOMIAN": "XPERT_DOMAIN"}
    found = about("Settings")
    assert (found.level, found.advice) == (WARNING, "Did you mean XPERT_DOMAIN?")
    assert "XPERT_DOMIAN is not a setting of the panel" in found.message


def test_open_access_on_a_panel_that_others_reach_is_an_error(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS, settings.HOST = True, "0.0.0.0"
    found = about("Settings")
    assert found.level is ERROR
    assert "listens on 0.0.0.0" in found.message
    settings.HOST = "127.0.0.1"
    assert about("Settings").level is OK


@pytest.mark.parametrize(
    ("domain", "hosts", "level"),
    [
        ("", [], OK),
        ("your-domain.com", ["your-domain.com"], WARNING),
        ("http://panel.example.com", ["panel.example.com"], WARNING),
        ("panel.example.com", ["panel.example.com"], OK),
        ("panel.example.com:8443", ["panel.example.com"], OK),
        ("panel.example.com", [".example.com"], OK),
        ("panel.example.com", ["*"], OK),
        ("panel.example.com", ["other.example.com"], ERROR),
        ("http://localhost:8000", ["localhost"], OK),
    ],
)
def test_the_domain_is_one_that_is_answered_and_safe(
    settings: Settings, domain: str, hosts: list[str], level: Level
) -> None:
    settings.XPERT_DOMAIN, settings.ALLOWED_HOSTS = domain, hosts
    assert about("Domain").level is level


@pytest.mark.parametrize(("proxies", "level"), [(0, ERROR), (1, OK)])
def test_https_without_a_trusted_proxy_redirects_for_ever(
    settings: Settings, proxies: int, level: Level
) -> None:
    settings.XPERT_HTTPS, settings.XPERT_TRUSTED_PROXIES = True, proxies
    assert about("HTTPS").level is level


@pytest.mark.parametrize(
    ("ahead", "level"), [(timedelta(minutes=5), OK), (timedelta(minutes=6), ERROR)]
)
def test_a_clock_behind_the_latest_traffic_is_wrong(ahead: timedelta, level: Level) -> None:
    used(NOW + ahead)
    found = [finding.level for finding in examine(NOW) if finding.subject == "Clock"]
    assert max(found) is level


def test_a_clock_that_nothing_keeps_right_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_is_unsynchronised", lambda: True)
    assert about("Clock").level is WARNING


def test_missing_migrations_end_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        readiness, "pending_migrations", lambda: [f"traffic.{number:04}" for number in range(7)]
    )
    found = examine(NOW)[-1]
    assert (found.level, found.subject) == (ERROR, "Migrations")
    assert found.message.endswith("traffic.0004 and 2 more.")


def test_a_database_that_does_not_answer_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("secret address")

    monkeypatch.setattr(readiness, "pending_migrations", away)
    found = examine(NOW)[-1]
    assert (found.level, found.subject, found.message) == (ERROR, "Database", "It does not answer.")


def test_a_database_that_loses_what_was_acknowledged_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert readiness.why_not_durable() == ""
    bad = {"sqlite": {"journal_mode": {"delete"}}, "postgresql": {"fsync": {"off"}}}
    monkeypatch.setattr(readiness, "_DURABLE", bad)
    expected = "journal_mode=wal" if connection.vendor == "sqlite" else "fsync=on"
    assert (about("Database").level, about("Database").message) == (ERROR, expected)


def test_a_database_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "is_writable", lambda: False)
    assert about("Database").message == "The database cannot be written to."


class TestFiles:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.env = tmp_path / "panel.db", tmp_path / ".env"
        for path, mode in ((self.database, 0o600), (self.env, 0o640)):
            path.touch()
            path.chmod(mode)
        settings.XPERT_ENV_FILE = str(self.env)
        monkeypatch.setattr(conditions, "sqlite_file", lambda: self.database)

    def found(self) -> list[Finding]:
        return [finding for finding in examine(NOW) if finding.subject == "Files"]

    def test_files_of_the_panel_alone_are_well(self) -> None:
        assert [finding.level for finding in self.found()] == [OK]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
    def test_nobody_else_reads_the_database(self, mode: int) -> None:
        self.database.chmod(mode)
        assert [(f.level, f.advice) for f in self.found()] == [
            (ERROR, f"chmod 600 {self.database}")
        ]

    def test_others_do_not_read_the_settings(self) -> None:
        self.env.chmod(0o644)
        assert [(f.level, f.advice) for f in self.found()] == [(ERROR, f"chmod 640 {self.env}")]

    def test_a_user_who_is_not_the_owner_is_warned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: self.database.stat().st_uid + 1)
        assert [finding.level for finding in self.found()] == [WARNING]

    def test_without_files_there_is_nothing_to_look_at(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conditions, "sqlite_file", lambda: None)
        settings.XPERT_ENV_FILE = "/dev/null"
        assert [finding.level for finding in self.found()] == [OK]


@pytest.mark.parametrize(
    ("free", "level"),
    [
        (2**30, OK),
        (2**30 - 1, WARNING),
        (readiness.DISK_FLOOR, WARNING),
        (readiness.DISK_FLOOR - 1, ERROR),
    ],
)
def test_a_disk_that_fills_is_warned_of_in_time(
    free: int, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "disk", lambda: readiness.Disk(2**40, free))
    assert about("Disk").level is level


def test_a_disk_that_is_not_ours_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "disk", lambda: None)
    assert "Disk" not in {finding.subject for finding in examine(NOW)}


@pytest.mark.parametrize(("days", "words"), [(0, "forever"), (90, "for 90 days")])
def test_it_says_how_long_records_are_kept(settings: Settings, days: int, words: str) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = days
    assert words in about("Retention").message


@pytest.mark.parametrize(
    ("run", "level"),
    [
        (None, WARNING),
        ({"ended_at": NOW - 2 * DAY}, OK),
        ({"ended_at": NOW - 2 * DAY - timedelta(seconds=1)}, WARNING),
        ({"ended_at": NOW - DAY, "error": "no room"}, ERROR),
    ],
)
def test_a_command_that_no_timer_starts_any_more_is_named(
    run: dict[str, Any] | None, level: Level
) -> None:
    CommandRun.objects.filter(command="backup_traffic").delete()
    if run:
        baker.make(CommandRun, command="backup_traffic", **run)
    found = about("backup_traffic")
    assert found.level is level
    assert (run or {}).get("error", "") in found.message


def test_other_apps_expect_commands_and_examine_things_of_their_own() -> None:
    register(
        Extension(
            name="x",
            commands=lambda: {"refresh_sources": DAY},
            conditions=(Watch(lambda now: [Condition(code="x", level=ERROR)]),),
            words={"x": Words("Sources", "One fails.")},
        )
    )
    assert wrong() == [(WARNING, "refresh_sources"), (ERROR, "Sources")]


def test_several_processes_without_a_shared_cache_are_warned_of(settings: Settings) -> None:
    settings.WEB_CONCURRENCY = 2
    assert about("Cache").level is WARNING


def test_a_cache_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(key: str) -> None:
        raise RedisError

    monkeypatch.setattr(conditions, "cache", SimpleNamespace(get=away))
    assert about("Cache").level is ERROR


def test_a_panel_into_which_nobody_can_sign_in_is_warned_of() -> None:
    User.objects.update(is_active=False)
    assert about("Admin").level is WARNING


@pytest.mark.parametrize(("ago", "level"), [(DAY, OK), (DAY + timedelta(seconds=1), WARNING)])
def test_silence_of_all_reporters_is_noticed(ago: timedelta, level: Level) -> None:
    used(NOW - ago)
    assert about("Reports").level is level


def test_tracking_that_is_off_is_noticed(settings: Settings) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    assert about("Reports").level is WARNING


@pytest.mark.parametrize(
    ("key", "level"),
    [
        ({"last_used_at": NOW - DAY}, OK),
        ({"last_used_at": NOW - DAY - timedelta(seconds=1)}, WARNING),
        ({"last_used_at": NOW - 31 * DAY}, OK),
        ({"last_used_at": None}, OK),
    ],
)
def test_a_reporter_that_fell_silent_is_named(key: dict[str, Any], level: Level) -> None:
    baker.make(ApiKey, name="reporter-1", scope="report", **key)
    found = about("Reporters")
    assert found.level is level
    assert ("reporter-1" in found.message) is (level is WARNING)


@pytest.mark.parametrize(
    "key",
    [
        {"scope": "read"},
        {"scope": "report", "revoked_at": NOW},
        {"scope": "report", "expires_at": NOW},
    ],
)
def test_other_keys_may_be_silent(key: dict[str, Any]) -> None:
    baker.make(ApiKey, last_used_at=NOW - 2 * DAY, **key)
    assert "Reporters" not in {finding.subject for finding in examine(NOW)}


@pytest.mark.parametrize("level", list(Level))
def test_the_command_prints_a_line_each_and_its_exit_code_is_the_worst(
    level: Level, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding(OK, "Clock", "Right."), Finding(level, "Disk", "So much.", "Make room.")]
    monkeypatch.setattr(doctor, "examine", lambda now: found)
    code: Any = 0
    try:
        call_command("doctor", no_color=True)
    except SystemExit as ended:
        code = ended.code
    mark = {OK: "ok     ", WARNING: "warning", ERROR: "ERROR  "}[level]
    assert (code, capsys.readouterr().out) == (
        level,
        f"ok      Clock: Right.\n{mark} Disk: So much. Make room.\n",
    )


def test_notifications_that_do_not_arrive_are_named() -> None:
    assert [finding for finding in examine(NOW) if finding.subject == "Notifications"] == []
    receiver = baker.make(Receiver, name="ops")
    assert about("Notifications").level == Level.OK
    baker.make(
        Delivery, receiver=receiver, state="failed", since=NOW - 4 * DAY, next_try=NOW, _quantity=2
    )
    assert about("Notifications").message == "Not delivered: ops (2)."
    Receiver.objects.update(is_active=False)
    assert [finding for finding in examine(NOW) if finding.subject == "Notifications"] == []

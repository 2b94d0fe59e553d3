import pytest
from django.core.checks import CheckMessage, run_checks
from pytest_django import Settings

from operations.checks import check_node
from operations.databases import citus


def check_settings() -> list[CheckMessage]:
    """The messages of our own apps' checks."""
    ours = ("operations.", "traffic.", "subscriptions.")
    return [message for message in run_checks() if (message.id or "").startswith(ours)]


def test_the_defaults_are_fine() -> None:
    assert check_settings() == []


@pytest.mark.parametrize(
    ("id_", "name", "value"),
    [
        ("traffic.E001", "XPERT_TRAFFIC_TRACKING_ENABLED", "maybe"),
        ("traffic.E002", "XPERT_TRAFFIC_RETENTION_DAYS", "ninety"),
        ("operations.E003", "XPERT_DOMAIN", "not a domain"),
        ("operations.E004", "XPERT_OPEN_ACCESS", "perhaps"),
        ("operations.E036", "XPERT_BASE_PATH", "/../panel"),
        ("traffic.E005", "XPERT_REPORTS_NEED_KEY", "perhaps"),
        ("traffic.E006", "XPERT_RATE_REPORTS", "120"),
        ("subscriptions.E007", "XPERT_RATE_SUBSCRIPTIONS", "60/week"),
        ("operations.E008", "XPERT_RATE_ADDRESS", "0/min"),
        ("operations.E009", "XPERT_TRUSTED_PROXIES", "one"),
        ("operations.E034", "XPERT_REQUIRE_SECOND_FACTOR", "perhaps"),
        ("operations.E010", "XPERT_TIME_ZONE", "Mars/Olympus"),
        ("operations.E011", "XPERT_HTTPS", "perhaps"),
        ("operations.E012", "XPERT_LOG_LEVEL", "LOUD"),
        ("operations.E014", "XPERT_LOG_FORMAT", "xml"),
        ("operations.E013", "XPERT_ALLOWED_HOSTS", ["https://panel.example.com"]),
    ],
)
def test_each_setting_has_an_id_a_sentence_and_a_hint(
    settings: Settings, id_: str, name: str, value: str
) -> None:
    setattr(settings, name, value)
    (found,) = check_settings()
    assert found.id == id_
    assert found.is_serious()
    assert found.msg.startswith(f"{name} takes ")
    assert name in (found.hint or "")


def test_all_wrong_settings_are_reported_at_once(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS = settings.XPERT_DOMAIN = "?"
    assert {message.id for message in check_settings()} == {"operations.E003", "traffic.E006"}


def test_open_access_on_a_public_domain_is_warned_of_loudly(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_DOMAIN, settings.XPERT_HTTPS = (
        True,
        "panel.example.com",
        True,
    )
    (found,) = check_settings()
    assert (found.id, found.is_serious()) == ("operations.W001", False)
    assert found.msg.startswith("OPEN ACCESS IS ON")
    assert "https://panel.example.com" in found.msg


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.168.1.5", "panel.local"])
@pytest.mark.parametrize("domain", ["", "your-domain.com"])
def test_open_access_on_a_panel_that_others_reach_is_warned_of_loudly(
    settings: Settings, host: str, domain: str
) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_DOMAIN, settings.HOST = True, domain, host
    (found,) = check_settings()
    assert (found.id, found.is_serious()) == ("operations.W003", False)
    assert found.msg.startswith(f"OPEN ACCESS IS ON, and the panel listens on {host},")
    assert "XPERT_OPEN_ACCESS=False" in (found.hint or "")


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "::1", "[::1]"]
)
def test_open_access_on_the_loopback_interface_gives_no_warning(
    settings: Settings, host: str
) -> None:
    settings.XPERT_OPEN_ACCESS, settings.HOST = True, host
    assert check_settings() == []


def test_an_unknown_name_is_reported_with_the_most_similar_setting(settings: Settings) -> None:
    settings.XPERT_UNREAD = {"XPERT_TRAFIC_DB_PATH": "XPERT_TRAFFIC_DB_PATH", "XPERT_X": ""}
    first, second = check_settings()
    assert (first.id, first.is_serious()) == ("operations.W004", False)
    assert first.msg == "XPERT_TRAFIC_DB_PATH is not a setting of the panel and has no effect."
    assert first.hint == "Did you mean XPERT_TRAFFIC_DB_PATH?"
    assert second.hint == "All settings: .env.example."


def test_a_wrong_value_does_not_hide_a_misspelt_name(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS, settings.XPERT_UNREAD = "?", {"XPERT_X": ""}
    assert {message.id for message in check_settings()} == {"traffic.E006", "operations.W004"}


def test_without_open_access_a_panel_may_listen_everywhere(settings: Settings) -> None:
    settings.HOST = "0.0.0.0"
    assert check_settings() == []


@pytest.mark.parametrize("domain", ["", "localhost:8000", "your-domain.com"])
def test_open_access_on_one_machine_gives_no_warning(settings: Settings, domain: str) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_DOMAIN = True, domain
    assert check_settings() == []


@pytest.mark.parametrize(
    ("domain", "https", "ids"),
    [
        ("panel.example.com", False, ["operations.W002"]),
        ("panel.example.com", True, []),
        ("http://panel.example.com", False, []),
        ("https://localhost", False, []),
    ],
)
def test_links_that_say_https_want_https(
    settings: Settings, domain: str, https: bool, ids: list[str]
) -> None:
    settings.XPERT_DOMAIN, settings.XPERT_HTTPS = domain, https
    assert [message.id for message in check_settings()] == ids


def test_second_factors_need_their_middleware(settings: Settings) -> None:
    name = "operations.http.second_factor.SecondFactorMiddleware"
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if one != name]
    (found,) = check_settings()
    assert (found.id, found.is_serious()) == ("operations.E035", True)
    assert name in found.msg


@pytest.mark.parametrize(
    ("databases", "is_worker", "ids"),
    [
        (["default"], True, ["operations.E037"]),
        (["default"], False, []),
        (["read"], True, []),
        (None, True, []),
    ],
)
def test_commands_that_change_tables_refuse_a_worker_of_a_cluster(
    databases: list[str] | None, is_worker: bool, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(citus, "is_worker", lambda: is_worker)
    assert [found.id for found in check_node(databases=databases)] == ids

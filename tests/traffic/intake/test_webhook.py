import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import InterfaceError, OperationalError
from django.test import Client
from model_bakery import baker
from pytest_django import Settings

from operations.models import ApiKey, Notification
from operations.notifications import outbox
from tests.operations.notifications.loopback import a_receiver
from tests.traffic.examples import (
    DAY,
    GB,
    HOUR,
    NOW,
    WEBHOOK,
    a_report,
    assert_sums_agree,
    balance,
    rows_stored,
    stored,
    subscriber,
    wire,
)
from traffic.ledger import group_commit
from traffic.ledger.recording import Outcome
from traffic.models import (
    MAX_COUNTER,
    ReceivedEvent,
    Server,
    ServerUsage,
    SetAside,
    Subscriber,
    Usage,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("known")]
SUCCESS = {"status": "success", "message": "Traffic recorded successfully"}
MIB = 1024 * 1024
PLAIN = json.dumps(wire()).encode()
PACKED = gzip.compress(PLAIN, mtime=0)
TWO_MEMBERS = gzip.compress(PLAIN[:1], mtime=0) + gzip.compress(PLAIN[1:], mtime=0)


@pytest.fixture
def known() -> Subscriber:
    return baker.make(Subscriber, token="user123")


def post(body: Any, client: Client | None = None, /, **headers: str) -> Any:
    """Post JSON, or bytes as they are. A header's ``_`` is its ``-``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (client or Client()).post(
        WEBHOOK, content, content_type="application/json", headers=named
    )


def nothing_stored() -> bool:
    return (
        not Usage.objects.exists()
        and not ServerUsage.objects.exists()
        and not ReceivedEvent.objects.exists()
    )


# --- the guide ---------------------------------------------------------------


@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/"])
def test_it_answers_the_guide_word_for_word(path: str) -> None:
    response = Client().post(path, wire(), content_type="application/json")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.json() == SUCCESS
    found = balance()
    assert (found.life_upload, found.life_download, found.life_reports) == (1048576, 2097152, 1)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
)
def test_it_takes_json_however_it_is_announced(kind: str) -> None:
    response = Client().post(WEBHOOK, json.dumps(wire()), content_type=kind)
    assert response.json() == SUCCESS


@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/xml", "", "nonsense"])
def test_it_answers_json_whatever_is_accepted(accept: str) -> None:
    assert post(wire(), accept=accept).json() == SUCCESS
    assert (
        Client().post(f"{WEBHOOK}?format=xml", wire(), content_type="application/json").json()
        == SUCCESS
    )


@time_machine.travel(NOW, tick=False)
def test_without_a_timestamp_the_traffic_flowed_now() -> None:
    post(wire())
    assert Usage.objects.get().last_used_at == NOW


@time_machine.travel(NOW, tick=False)
def test_a_timestamp_says_when_the_traffic_flowed() -> None:
    post(wire(timestamp=(NOW - 3 * DAY).isoformat()))
    assert Usage.objects.get().last_used_at == NOW - 3 * DAY


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("retention", "age", "status"),
    [
        (0, 31, 200),
        (0, 31.001, 400),
        (7, 7, 200),
        (7, 7.001, 400),
        (90, 31, 200),
        (90, 31.001, 400),
    ],
)
def test_a_report_may_be_as_old_as_31_days_or_the_retention(
    settings: Settings, retention: int, age: float, status: int
) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = retention
    response = post(wire(timestamp=(NOW - timedelta(days=age)).timestamp()))
    assert response.status_code == status
    assert (list(response.json()) == ["timestamp"]) == (status == 400)


@pytest.mark.parametrize("state", [{"is_active": False}, {"expires_at": NOW}, {"data_limit": 1}])
def test_it_counts_who_is_shut_out(state: dict[str, Any]) -> None:
    Subscriber.objects.update(**state)
    assert post(wire()).json() == SUCCESS
    assert balance().life_reports == 1


# --- fields ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_token", ""), ("user_token", "global"), ("server", "a b"), ("port", 0), ("port", 443.0), ("port", True),
        ("protocol", "a b"), ("bytes_uploaded", -1), ("bytes_uploaded", 2**50 + 1), ("bytes_downloaded", "5"),
        ("bytes_downloaded", None), ("event_id", "a b"), ("timestamp", "yesterday"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_in_drf_s_own_shape(field: str, value: object) -> None:
    response = post(wire(**{field: value}))
    assert response.status_code == 400
    ((name, sentences),) = response.json().items()
    assert name == field
    assert [type(sentence) for sentence in sentences] == [str]
    assert nothing_stored()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b'"x"',
        b"user_token=user123",
        b"\xff",
        b"[" * 5000,
        b'{"a": NaN}',
        b"\x00",
        b"{}{}",
    ],
)
def test_a_body_that_is_no_report_is_refused_without_blaming_a_field(body: bytes) -> None:
    response = post(body)
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]
    assert isinstance(response.json()["detail"], str)


def test_no_refusal_repeats_what_was_sent() -> None:
    for field in wire():
        assert "s3cr3t" not in post(wire(**{field: "s3cr3t value" * 30})).content.decode()


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "x",
        "application/xml",
    ],
)
def test_it_refuses_other_content_types(kind: str) -> None:
    response = Client().generic("POST", WEBHOOK, json.dumps(wire()), content_type=kind)
    assert response.status_code == 415
    assert list(response.json()) == ["detail"]
    assert nothing_stored()


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
def test_it_is_for_posts_alone(method: str) -> None:
    response = getattr(Client(), method)(WEBHOOK)
    assert (response.status_code, response["Allow"]) == (405, "POST")


# --- sizes -------------------------------------------------------------------


def padded(size: int) -> bytes:
    body = json.dumps(wire()).encode()
    return body + b" " * (size - len(body))


def test_a_body_of_4_mib_is_taken_and_one_byte_more_is_not() -> None:
    assert post(padded(4 * MIB)).json() == SUCCESS
    response = post(padded(4 * MIB + 1))
    assert (response.status_code, list(response.json())) == (413, ["detail"])
    assert Usage.objects.get().reports == 1


def test_the_limit_holds_for_the_unpacked_body() -> None:
    assert post(gzip.compress(padded(4 * MIB)), content_encoding="gzip").json() == SUCCESS
    assert post(gzip.compress(padded(4 * MIB + 1)), content_encoding="gzip").status_code == 413
    assert (
        post(gzip.compress(gzip.compress(b" " * 10**8)), content_encoding="gzip").status_code == 400
    )


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (PACKED, "gzip", 200),
        (TWO_MEMBERS, "gzip", 200),
        (PACKED[:-5], "gzip", 400),
        (PLAIN, "gzip", 400),
        (PLAIN, "identity", 200),
        (PLAIN, "br", 415),
        (PACKED, "", 400),
    ],
)
def test_it_unpacks_gzip_and_nothing_else(body: bytes, encoding: str, status: int) -> None:
    assert post(body, content_encoding=encoding).status_code == status


def test_a_content_length_that_lies_is_the_client_s_mistake() -> None:
    body = json.dumps(wire()).encode()
    for length in ("-1", "abc"):
        response = Client().generic(
            "POST", WEBHOOK, body, content_type="application/json", CONTENT_LENGTH=length
        )
        assert response.status_code == 400
    assert nothing_stored()


def test_a_body_without_a_length_is_411() -> None:
    response = Client().generic(
        "POST", WEBHOOK, content_type="application/json", headers={"transfer-encoding": "chunked"}
    )
    assert (response.status_code, list(response.json())) == (411, ["detail"])


# --- events ------------------------------------------------------------------


def test_a_resent_event_is_answered_as_a_duplicate() -> None:
    assert post(wire(event_id="x")).json() == SUCCESS
    response = post(wire(event_id="x"))
    assert (response.status_code, response.json()) == (200, SUCCESS | {"duplicate": True})
    assert balance().life_reports == 1


def test_the_header_names_the_event_of_a_single_report() -> None:
    assert post(wire(), idempotency_key="x").json() == SUCCESS
    assert post(wire(), idempotency_key="x").json() == SUCCESS | {"duplicate": True}
    assert post(wire(event_id="x")).json() == SUCCESS | {"duplicate": True}
    assert post(wire(), idempotency_key="y").json() == SUCCESS


def test_the_report_s_own_event_id_goes_before_the_header() -> None:
    assert post(wire(event_id="own"), idempotency_key="other").json() == SUCCESS
    assert ReceivedEvent.objects.get().event_id == "own"


def test_an_event_id_of_null_leaves_it_to_the_header() -> None:
    assert post(wire(event_id=None), idempotency_key="x").json() == SUCCESS
    assert ReceivedEvent.objects.get().event_id == "x"


@pytest.mark.parametrize(
    "body", [[wire()], {"reports": [wire()]}, [wire(port=0)], [wire(event_id="x")]]
)
def test_a_batch_takes_no_event_from_the_header(body: object) -> None:
    response = post(body, idempotency_key="x")
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]
    assert nothing_stored()


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "\x7f", "é"])
def test_a_bad_idempotency_key_is_refused(key: str) -> None:
    response = post(wire(), idempotency_key=key)
    assert response.status_code == 400
    assert list(response.json()) == ["event_id"]
    assert nothing_stored()


def test_a_bad_report_stays_bad_with_an_idempotency_key() -> None:
    assert list(post(wire(port=0), idempotency_key="x").json()) == ["port"]
    assert post(wire(), idempotency_key="x").json() == SUCCESS


# --- bounds ------------------------------------------------------------------


@time_machine.travel(NOW, tick=False)
def test_a_report_that_would_pass_2_to_the_60_is_refused_and_not_claimed(
    settings: Settings,
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 0
    stored(a_report(upload=MAX_COUNTER))
    for _ in range(2):
        response = post(wire(event_id="x"))
        assert response.status_code == 400
        assert list(response.json()) == ["detail"]
        assert "2^60" in response.json()["detail"]
    assert not ReceivedEvent.objects.exists()
    assert post(wire(event_id="x", bytes_uploaded=0)).json() == SUCCESS


@time_machine.travel(NOW, tick=False)
def test_a_server_whose_hour_is_full_takes_more_from_others() -> None:
    baker.make(Subscriber, token="bob")
    stored(a_report(upload=MAX_COUNTER))
    assert post(wire(user_token="bob")).status_code == 200
    assert_sums_agree()


# --- who may report ----------------------------------------------------------


@pytest.mark.parametrize("settings_domain", ["", "panel.example.com"])
def test_only_known_tokens_may_report(settings: Settings, settings_domain: str) -> None:
    settings.XPERT_DOMAIN = settings_domain
    response = post(wire(user_token="nobody"))
    assert (response.status_code, list(response.json())) == (403, ["detail"])
    assert response.json()["detail"].startswith("This token is unknown. ")
    assert "manage.py create_subscriber NAME --token TOKEN" in response.json()["detail"]
    (entry,) = post([wire(user_token="nobody")]).json()["rejected"]
    assert entry["errors"] == {"user_token": [response.json()["detail"]]}
    assert Subscriber.objects.count() == 1
    assert not Server.objects.exists()


def test_a_deleted_subscriber_may_not_report(settings: Settings) -> None:
    Subscriber.objects.update(hidden_at=NOW)
    for settings.XPERT_OPEN_ACCESS in (False, True):
        assert post(wire()).status_code == 403
    assert nothing_stored()


@pytest.mark.usefixtures("open_access")
def test_in_open_access_any_valid_token_may_report_from_this_machine(local: Client) -> None:
    assert post(wire(user_token="new"), local).json() == SUCCESS
    assert subscriber("new").is_active
    assert post(wire(user_token="database"), local).status_code == 400


@pytest.mark.usefixtures("open_access")
def test_in_open_access_a_batch_from_elsewhere_counts_for_known_tokens_alone() -> None:
    body = [wire(), wire(user_token="new")]
    found = Client(REMOTE_ADDR="203.0.113.5").post(WEBHOOK, body, content_type="application/json")
    assert found.json()["recorded"] == 1
    assert [entry["index"] for entry in found.json()["rejected"]] == [1]
    assert Subscriber.objects.count() == 1


def test_keys_report_by_their_scope(reporter: Client, manager: Client, reader: Client) -> None:
    assert post(wire(), reporter).json() == SUCCESS
    assert post(wire(), manager).json() == SUCCESS
    assert post(wire(), reader).status_code == 403
    assert balance().life_reports == 2


def test_a_key_may_not_report_for_a_token_nobody_has(reporter: Client) -> None:
    assert post(wire(user_token="nobody"), reporter).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer wrong"}, {"x_api_key": "wrong"}, {"x_api_key": ""}]
)
def test_a_wrong_key_is_401_though_none_is_needed(headers: dict[str, str]) -> None:
    response = post(wire(), **headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert nothing_stored()


@pytest.mark.parametrize("bearer", ["Bearer null", "Bearer undefined", "Bearer "])
def test_a_bearer_that_names_no_key_reports_like_nobody(settings: Settings, bearer: str) -> None:
    assert post(wire(), authorization=bearer).json() == SUCCESS
    settings.XPERT_REPORTS_NEED_KEY = True
    assert post(wire(), authorization=bearer).status_code == 401
    assert balance().life_reports == 1


def test_reports_may_need_a_key(
    settings: Settings, reporter: Client, manager: Client, reader: Client
) -> None:
    settings.XPERT_REPORTS_NEED_KEY = True
    response = post(wire())
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert "manage.py create_api_key NAME --scope report makes one." in response.json()["detail"]
    assert post(wire(), reader).status_code == 403
    assert nothing_stored()
    assert post(wire(), reporter).json() == SUCCESS
    assert post(wire(), manager).json() == SUCCESS


@pytest.mark.usefixtures("open_access")
def test_open_access_is_no_key(settings: Settings, local: Client) -> None:
    settings.XPERT_REPORTS_NEED_KEY = True
    assert post(wire(), local).status_code == 401


def test_a_used_key_is_remembered(reporter: Client) -> None:
    post(wire(), reporter)
    assert ApiKey.objects.get().last_used_at


# --- when nothing is counted -------------------------------------------------


@pytest.mark.parametrize("body", [wire(), [wire()], wire(port=0), b"{", b""])
def test_while_tracking_is_off_it_answers_503(settings: Settings, body: object) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    response = post(body)
    assert (response.status_code, response.json()) == (
        503,
        {"detail": "Traffic tracking is disabled"},
    )
    assert int(response["Retry-After"]) > 0
    assert not any(rows_stored()[name] for name in ("Usage", "Server", "Balance"))


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("database is locked"),
        OperationalError("database or disk is full"),
        InterfaceError("connection already closed"),
    ],
)
def test_a_database_that_is_busy_or_full_or_gone_is_503(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(group_commit, "submit", broken)
    response = post(wire())
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert str(error) not in response.content.decode()


def test_a_report_that_is_an_injection_is_only_text() -> None:
    for text in ("'; DROP TABLE traffic_usage; --", '" OR 1=1', "user123' --"):
        assert post(wire(user_token=text)).status_code == 400
        assert post(wire(server=text)).status_code == 400
    assert post(wire(event_id="';DROP-TABLE--")).json() == SUCCESS
    assert Usage.objects.count() == 1


# --- plausible amounts, and servers that nobody knows ------------------------------------


@pytest.mark.parametrize(
    ("limit", "bytes_", "status"), [(2, 2 * GB, 200), (2, 2 * GB + 1, 400), (0, 2**50, 200)]
)
@time_machine.travel(NOW, tick=False)
def test_what_one_person_uses_in_an_hour_is_plausible_up_to_the_limit(
    settings: Settings, limit: int, bytes_: int, status: int
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = limit
    response = post(wire(bytes_uploaded=0, bytes_downloaded=bytes_))
    assert response.status_code == status
    assert Usage.objects.exists() == (status == 200)


@time_machine.travel(NOW, tick=False)
def test_the_hour_counts_over_all_servers_and_both_directions(settings: Settings) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 2
    assert post(wire(bytes_uploaded=GB, bytes_downloaded=0)).status_code == 200
    assert post(wire(server="b.example", bytes_uploaded=0, bytes_downloaded=GB)).status_code == 200
    refused = post(wire(server="c.example", bytes_uploaded=1, bytes_downloaded=0, event_id="x"))
    assert (refused.status_code, list(refused.json())) == (400, ["detail"])
    assert post(wire(bytes_uploaded=0, bytes_downloaded=0)).status_code == 200
    earlier = (NOW - HOUR).timestamp()
    assert post(wire(bytes_uploaded=GB, timestamp=earlier, event_id="x")).json() == SUCCESS
    assert_sums_agree()


@time_machine.travel(NOW, tick=False)
def test_of_a_batch_only_what_is_not_plausible_is_refused(settings: Settings) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    baker.make(Subscriber, token="bob")
    reports = [
        wire(bytes_uploaded=GB, bytes_downloaded=0),
        wire(bytes_uploaded=1, bytes_downloaded=0, event_id="x"),
        wire(user_token="bob"),
    ]
    answer = post(reports).json()
    assert (answer["recorded"], [bad["index"] for bad in answer["rejected"]]) == (2, [1])
    assert not ReceivedEvent.objects.exists()
    assert_sums_agree()


@time_machine.travel(NOW, tick=False)
def test_the_operator_is_told_once_a_day_of_what_is_not_plausible(settings: Settings) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    for _ in range(3):
        post(wire(bytes_uploaded=0, bytes_downloaded=GB + 1))
    kept = SetAside.objects.get()
    assert (kept.decision, kept.download) == ("refused", GB + 1)
    a_receiver()
    outbox.notice(NOW)
    outbox.notice(NOW)
    told = Notification.objects.get()
    assert (told.event, told.text) == (
        "implausible",
        f"{kept.subscriber}: 1.00 GB at once is not plausible and was not counted.",
    )


@time_machine.travel(NOW, tick=False)
def test_imports_and_simulation_are_exempt(settings: Settings) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    settings.XPERT_NEW_SERVERS = "1/day"
    assert stored(a_report(upload=5 * GB, server="a.example"), a_report(server="b.example")) == [
        Outcome.RECORDED, Outcome.RECORDED,
    ]  # fmt: skip


@time_machine.travel(NOW, tick=False)
def test_without_a_key_a_person_may_name_so_many_new_servers(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_NEW_SERVERS = "2/day"
    baker.make(Subscriber, token="bob")
    known = {"server": "known.example"}
    stored(a_report(user_token="bob", **known))
    reports = [wire(server=f"s{n}.example", event_id=f"{n}") for n in range(3)] + [wire(**known)]
    answer = post(reports).json()
    assert (answer["recorded"], answer["rejected"][0]["index"]) == (3, 2)
    assert list(answer["rejected"][0]["errors"]) == ["server"]
    assert post(wire(server="s2.example", event_id="2")).status_code == 400
    assert post(wire(server="s1.example")).status_code == 200
    assert post(wire(user_token="bob", server="t1.example")).status_code == 200
    assert post(wire(server="s2.example", event_id="2")).status_code == 400
    data = wire(server="s2.example", event_id="2")
    assert reporter.post(WEBHOOK, data, content_type="application/json").json() == SUCCESS
    assert_sums_agree()


@time_machine.travel(NOW, tick=False)
def test_with_the_rate_empty_any_number_of_servers_may_be_named(settings: Settings) -> None:
    settings.XPERT_NEW_SERVERS = ""
    assert post([wire(server=f"s{n}.example") for n in range(60)]).json()["recorded"] == 60

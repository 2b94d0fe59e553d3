"""``POST /api/xpert/inform/3x-ui/{key}``: whom and what it counts, and who may send it."""

import gzip
import json

import pytest
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from operations.api.authentication import create_api_key
from operations.models import ApiKey
from tests.integrations.three_x_ui.conftest import Inform
from tests.subscriptions.examples import add_many
from traffic.models import MeteredPerson, Reporter, Server, Subscriber, Usage
from traffic.reports import MAX_BYTES

pytestmark = pytest.mark.django_db
Row = tuple[str, str, int, int]


def usage() -> list[Row]:
    """Token, server, bytes up and down."""
    rows = Usage.objects.select_related("subscriber", "server").order_by(
        "subscriber__token", "server"
    )
    return [(row.subscriber.token, str(row.server), row.upload, row.download) for row in rows]


@pytest.fixture
def alice() -> Subscriber:
    return Subscriber.objects.create(token="alice", name="Alice Smith")


class TestPeople:
    def test_bytes_are_added_to_whom_the_email_names(
        self, inform: Inform, alice: Subscriber
    ) -> None:
        answer = inform({"email": "alice", "up": 1, "down": 2})
        assert answer.status_code == 200
        assert answer.json() == {"status": "success", "recorded": 1, "rejected": []}
        inform({"email": "alice", "up": 10, "down": 20})
        assert usage() == [("alice", "127.0.0.1:443 3x-ui", 11, 22)]

    def test_the_same_bytes_sent_twice_count_twice(self, inform: Inform, alice: Subscriber) -> None:
        """3x-ui never repeats a message, so two that are alike are two."""
        for _ in range(2):
            inform({"email": "alice", "up": 5})
        assert usage()[0][2] == 10

    @pytest.mark.parametrize("email", ["alice", "ALICE", "Alice Smith", "alice smith"])
    def test_token_and_name_are_known_letter_case_apart(
        self, inform: Inform, alice: Subscriber, email: str
    ) -> None:
        inform({"email": email, "up": 5})
        assert usage()[0][0] == "alice"

    def test_unknown_people_are_kept_and_are_no_error(self, inform: Inform) -> None:
        answer = inform({"email": "bob@example.com", "up": 5})
        assert (answer.status_code, answer.json()["recorded"]) == (200, 0)
        assert [person.name for person in MeteredPerson.objects.all()] == ["bob@example.com"]
        assert usage() == []

    def test_an_email_of_another_script_is_a_name(self, inform: Inform) -> None:
        Subscriber.objects.create(token="t", name="Аня")
        inform({"email": "аня", "down": 7})
        assert usage() == [("t", "127.0.0.1:443 3x-ui", 0, 7)]

    def test_zeros_say_nothing(self, inform: Inform, alice: Subscriber) -> None:
        answer = inform({"email": "alice", "up": 0, "down": 0}, {"email": "stranger", "up": 0})
        assert answer.json()["recorded"] == 0
        assert usage() == []
        assert not MeteredPerson.objects.exists()


class TestServers:
    @pytest.fixture
    def berlin(self) -> Server:
        return baker.make(Server, host="de.example.com", port=8443, protocol="vless", name="Berlin")

    def test_without_a_default_it_is_the_senders_address(
        self, inform: Inform, alice: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_TRUSTED_PROXIES = 1
        inform({"email": "alice", "up": 1}, headers={"x-forwarded-for": "203.0.113.5"})
        assert usage()[0][1] == "203.0.113.5:443 3x-ui"

    def test_an_address_of_version_6_is_whole(self, inform: Inform, alice: Subscriber) -> None:
        inform({"email": "alice", "up": 1}, REMOTE_ADDR="2001:db8::7")
        assert usage()[0][1] == "[2001:db8::7]:443 3x-ui"

    def test_a_key_has_a_default_server(self, inform: Inform, alice: Subscriber) -> None:
        ApiKey.objects.update(options={"server": "vpn.example.com:443/vless"})
        inform({"email": "alice", "up": 1})
        assert usage()[0][1] == "vpn.example.com:443 vless"

    def test_an_email_may_end_in_a_servers_name(
        self, inform: Inform, alice: Subscriber, berlin: Server
    ) -> None:
        inform({"email": "alice@BERLIN", "up": 1})
        assert usage() == [("alice", "de.example.com:8443 vless", 1, 0)]

    def test_whoever_is_known_by_the_whole_email_has_the_default_server(
        self, inform: Inform, alice: Subscriber, berlin: Server
    ) -> None:
        Subscriber.objects.create(token="alice@berlin")
        inform({"email": "alice@Berlin", "up": 1})
        assert usage() == [("alice@berlin", "127.0.0.1:443 3x-ui", 1, 0)]

    def test_it_is_the_last_at_that_counts(self, inform: Inform, berlin: Server) -> None:
        Subscriber.objects.create(token="alice@home")
        inform({"email": "alice@home@Berlin", "up": 1})
        assert usage() == [("alice@home", "de.example.com:8443 vless", 1, 0)]

    def test_a_server_is_also_known_by_its_name_in_the_lists(
        self, inform: Inform, alice: Subscriber
    ) -> None:
        add_many(["trojan://pw@nl.example.com:444#Amsterdam"])
        inform({"email": "alice@amsterdam", "up": 1})
        assert usage()[0][1] == "nl.example.com:444 trojan"

    def test_and_by_its_host(self, inform: Inform, alice: Subscriber, berlin: Server) -> None:
        inform({"email": "alice@de.example.com", "up": 1})
        assert usage()[0][1] == "de.example.com:8443 vless"

    def test_a_name_of_two_servers_is_no_name(
        self, inform: Inform, alice: Subscriber, berlin: Server
    ) -> None:
        baker.make(Server, host="other.example.com", port=1, protocol="vless", name="berlin")
        inform({"email": "alice@Berlin", "up": 1})
        assert usage()[0][1] == "127.0.0.1:443 3x-ui"

    def test_a_person_on_an_unknown_server_has_the_default_server(
        self, inform: Inform, alice: Subscriber
    ) -> None:
        inform({"email": "alice@nowhere", "up": 1})
        assert usage() == [("alice", "127.0.0.1:443 3x-ui", 1, 0)]

    def test_an_unknown_person_on_a_known_server_is_kept_by_their_own_name(
        self, inform: Inform, berlin: Server
    ) -> None:
        inform(
            {"email": "bob@Berlin", "up": 1},
            {"email": "@Berlin", "up": 1},
            {"email": "bob@", "up": 1},
        )
        names = sorted(person.name for person in MeteredPerson.objects.all())
        assert names == ["@Berlin", "bob", "bob@"]


class TestBodies:
    def test_a_bad_client_does_not_cost_the_others(self, inform: Inform, alice: Subscriber) -> None:
        answer = inform({"email": "alice", "up": 1}, {"email": "bob", "up": -1})
        assert answer.status_code == 200
        assert [row["index"] for row in answer.json()["rejected"]] == [1]
        assert usage()[0][2] == 1

    def test_the_admin_learns_what_could_not_be_read(self, inform: Inform) -> None:
        inform({"email": "bob", "up": "many"})
        (source,) = Reporter.objects.get().sources
        assert not source["ok"]
        assert source["error"].startswith("Clients that were not read: 1. client 0: up: Expected")

    def test_the_largest_figure_counts(
        self, inform: Inform, alice: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_MAX_GB_PER_HOUR = 0
        inform({"email": "alice", "down": MAX_BYTES})
        assert usage()[0][3] == MAX_BYTES

    def test_what_is_not_plausible_is_set_aside(
        self, inform: Inform, alice: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_MAX_GB_PER_HOUR = 1
        assert inform({"email": "alice", "down": 2**30 + 1}).status_code == 200
        assert usage() == []
        assert alice.set_aside.get().download == 2**30 + 1

    @pytest.mark.parametrize(("body", "status"), [
        (b"", 400), (b"{", 400), (b"[]", 400), (b'{"clientTraffics": 7}', 400), (b'{"clientTraffics": [{"up": NaN}]}', 400),
        (b"{}", 200), (b'{"clientTraffics": null, "inboundTraffics": null}', 200),
        (b'{"clientTraffics": []}' + b" " * 2**22, 413),
    ])  # fmt: skip
    def test_the_status_of_a_body(self, key: str, body: bytes, status: int) -> None:
        answer = Client().post(f"/api/xpert/inform/3x-ui/{key}", body, "application/json")
        assert answer.status_code == status

    def test_other_types_are_refused(self, key: str) -> None:
        answer = Client().post(f"/api/xpert/inform/3x-ui/{key}", {"a": 1})
        assert answer.status_code == 415

    def test_gzip_is_understood(self, key: str, alice: Subscriber) -> None:
        body = gzip.compress(json.dumps({"clientTraffics": [{"email": "alice", "up": 3}]}).encode())
        answer = Client().post(
            f"/api/xpert/inform/3x-ui/{key}/",
            body,
            "application/json",
            headers={"content-encoding": "gzip"},
        )
        assert answer.status_code == 200
        assert usage()[0][2] == 3


class TestAccess:
    BODY = {"clientTraffics": [{"email": "alice", "up": 1}]}

    @pytest.mark.parametrize(
        ("scope", "status"), [("report", 200), ("manage", 200), ("read", 403), ("bound", 403)]
    )
    def test_the_scope_of_the_key(self, alice: Subscriber, scope: str, status: int) -> None:
        key = create_api_key("k", scope)[1]
        answer = Client().post(f"/api/xpert/inform/3x-ui/{key}", self.BODY, "application/json")
        assert answer.status_code == status
        assert len(usage()) == (status == 200)

    def test_a_wrong_key_is_refused(self, alice: Subscriber) -> None:
        answer = Client().post("/api/xpert/inform/3x-ui/wrong", self.BODY, "application/json")
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"

    def test_a_wrong_key_is_no_better_beside_a_good_header(self, reporter: Client) -> None:
        answer = reporter.post("/api/xpert/inform/3x-ui/wrong", self.BODY, "application/json")
        assert answer.status_code == 401

    @pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
    def test_an_ended_key_is_refused(self, key: str, end: str) -> None:
        ApiKey.objects.update(**{end: timezone.now()})
        answer = Client().post(f"/api/xpert/inform/3x-ui/{key}", self.BODY, "application/json")
        assert answer.status_code == 401

    def test_open_access_opens_nothing_here(self, open_access: None, local: Client) -> None:
        assert (
            local.post("/api/xpert/inform/3x-ui/x", self.BODY, "application/json").status_code
            == 401
        )

    def test_the_rate_of_a_key_is_that_of_its_reports(
        self, inform: Inform, settings: Settings
    ) -> None:
        settings.XPERT_RATE_REPORTS = "1/min"
        assert inform().status_code == 200
        refused = inform()
        assert refused.status_code == 429
        assert int(refused["Retry-After"]) > 0

    def test_wrong_keys_count_double_for_their_address(self, settings: Settings) -> None:
        settings.XPERT_RATE_ADDRESS = "2/min"
        url = "/api/xpert/inform/3x-ui/wrong"
        assert Client().post(url, self.BODY, "application/json").status_code == 401
        assert Client().post(url, self.BODY, "application/json").status_code == 429

    def test_nothing_is_counted_while_tracking_is_off(
        self, inform: Inform, alice: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
        assert inform({"email": "alice", "up": 1}).status_code == 503
        assert usage() == []

    @pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
    def test_there_is_nothing_but_post(self, key: str, method: str) -> None:
        assert getattr(Client(), method)(f"/api/xpert/inform/3x-ui/{key}").status_code == 405


def test_the_reporter_is_told_in_the_admin(inform: Inform, alice: Subscriber) -> None:
    inform({"email": "alice", "up": 1})
    reporter = Reporter.objects.get()
    assert (reporter.kind, reporter.grade) == (Reporter.Kind.INFORM, Reporter.Grade.PROVIDER)
    key = ApiKey.objects.get()
    assert reporter.api_key == key
    assert key.last_used_at is not None


def test_the_log_shows_the_beginning_of_the_key_alone(
    inform: Inform, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        inform({"email": "alice", "up": 1})
        Client().get(f"/api/xpert/inform/3x-ui/{key}")
        Client().post(f"/api/xpert/inform/3x-ui/{key}/more", {}, "application/json")
    assert f"/api/xpert/inform/3x-ui/{key[:4]}…" in caplog.text
    assert key not in caplog.text

"""A gateway's readings: of people and servers that its configuration has named, and of nothing else."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from gateways import metering
from gateways.creation import create
from gateways.models import GatewayServer
from operations.audit import By
from subscriptions.models import DirectConfig
from tests.gateways.examples import BERLIN, BY, NOW, PARIS, plan
from tests.subscriptions.examples import direct, subscriber
from tests.traffic.examples import assert_sums_agree, balance
from traffic.models import Reporter, Subscriber, Usage
from traffic.people import erasure

pytestmark = pytest.mark.django_db
RUN = 1_795_000_000


class Own:
    """A gateway with its agent's words."""

    def __init__(self, name: str = "gw") -> None:
        self.gateway, secret = create(plan(name=name), BY)
        self.client = Client(headers={"authorization": f"Bearer {secret}"})
        self.fetch()

    def fetch(self) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get("/api/xpert/gateways/-/config").json()
        self.names = [user["name"] for user in document["sing_box"]["inbounds"][0]["users"]]
        self.servers = document["servers"]
        return document

    def row(self, name: str, up: int = 100, down: int = 1000, **more: Any) -> dict[str, Any]:
        server = {"server": "elsewhere.example.com", "port": 1, "protocol": "vless"}
        server |= self.servers.get(name.partition("-")[2], {})
        return {"person": name, "total_uploaded": up, "total_downloaded": down, **server, **more}

    def send(self, *rows: dict[str, Any], meter: str = "") -> Any:
        message = {"meter": meter or self.gateway.name, "run": RUN, "readings": rows}
        return self.client.post(
            "/api/xpert/meter-readings", message, content_type="application/json"
        )


@pytest.fixture(autouse=True)
def person() -> Subscriber:
    return subscriber()


@pytest.fixture
def own() -> Own:
    direct(BERLIN, PARIS)
    return Own()


def used(token: str = "user123") -> tuple[int, int]:
    assert_sums_agree()
    found = balance(token)
    return found.life_upload, found.life_download


def test_what_a_gateway_tells_is_counted_for_the_person_and_the_external_server(own: Own) -> None:
    paris, berlin = sorted(own.names, key=lambda name: own.row(name)["server"])
    answer = own.send(own.row(berlin), own.row(paris, 7, 8))
    assert answer.json()["recorded"] == 2
    rows = Usage.objects.values_list("server__host", "server__port", "server__protocol", "upload")
    assert set(rows) == {
        ("vpn.example.com", 443, "trojan", 100),
        ("fr.example.com", 8388, "shadowsocks", 7),
    }
    assert used() == (107, 1008)


def test_it_is_a_reporter_of_grade_measured(own: Own) -> None:
    own.send(own.row(own.names[0]))
    found = Reporter.objects.get()
    assert (found.kind, found.grade, found.meter) == ("gateway", "measured", "gw")


def test_however_often_it_is_sent_a_total_counts_once(own: Own) -> None:
    for _ in range(3):
        own.send(own.row(own.names[0]))
    assert own.send(own.row(own.names[0], 150)).json()["recorded"] == 1
    assert used() == (150, 1000)


@pytest.mark.parametrize(
    "name", ["user123", "p1", "p0-s0123456789ab", "p1-direct", "nobody", "p999999999999999999-s1"]
)
def test_another_name_is_rejected(own: Own, name: str) -> None:
    answer = own.send(own.row(name))
    assert answer.status_code == 400
    assert list(answer.json()["rejected"][0]["errors"]) == ["person"]
    assert not Usage.objects.exists()


def test_a_server_that_its_configuration_has_never_named_is_rejected(own: Own) -> None:
    person, _, server = own.names[0].partition("-")
    other = f"{person}-s{'0' * 12}"
    assert own.send(own.row(other)).status_code == 400
    assert own.send(own.row(f"{person}-{server}")).status_code == 200


def test_the_name_says_which_server_it_is_whatever_the_row_says(own: Own) -> None:
    own.send(own.row(own.names[0]) | {"server": "evil.example.com"})
    assert not Usage.objects.filter(server__host="evil.example.com").exists()


def test_a_token_opens_nothing_to_it(own: Own) -> None:
    row = own.row(own.names[0]) | {"user_token": "user123"}
    del row["person"]
    assert own.send(row).status_code == 400
    assert not Usage.objects.exists()


def test_it_has_one_meter(own: Own) -> None:
    assert own.send(own.row(own.names[0]), meter="another").status_code == 403


def test_two_gateways_count_apart(own: Own) -> None:
    other = Own("gw2")
    own.send(own.row(own.names[0]))
    other.send(other.row(other.names[0]))
    assert used() == (200, 2000)


def test_a_server_that_has_left_the_lists_is_told_to_its_end(own: Own) -> None:
    name = own.names[0]
    DirectConfig.objects.all().delete()
    own.fetch()
    assert own.servers == {}
    assert own.send(own.row(name)).status_code == 200
    assert used() == (100, 1000)


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": False},
        {"expires_at": NOW - timedelta(days=1)},
        {"data_limit": 1},
        {"token": "renewed-token"},
    ],
)
def test_whoever_is_out_or_has_a_new_token_is_counted_to_the_end(
    own: Own, change: dict[str, Any]
) -> None:
    own.send(own.row(own.names[0]))
    Subscriber.objects.update(**change)
    assert own.send(own.row(own.names[0], 150)).json()["recorded"] == 1
    assert used(change.get("token", "user123")) == (150, 1000)


def test_whoever_is_erased_is_not_told_of_again(own: Own, person: Subscriber) -> None:
    own.send(own.row(own.names[0]))
    erasure.erase(person, By("test", NOW))
    assert own.send(own.row(own.names[0], 150)).status_code == 400
    assert_sums_agree()


def test_a_configuration_that_is_fetched_again_stores_nothing_new(own: Own) -> None:
    assert GatewayServer.objects.count() == 2
    own.fetch()
    assert GatewayServer.objects.count() == 2


def test_names_of_a_message_cost_few_queries(own: Own, django_assert_num_queries: Any) -> None:
    found = metering.meter(own.gateway.key_id)
    assert found is not None
    with django_assert_num_queries(2):
        assert set(found.names(own.names)) == set(own.names)


def test_another_key_is_no_meter() -> None:
    assert metering.meter(0) is None

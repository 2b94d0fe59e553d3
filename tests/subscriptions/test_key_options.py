"""API keys that are limited to groups: they report, see and change the subscribers of these alone."""

import io
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from operations.api.authentication import create_api_key
from operations.models import ApiKey, AuditEntry
from subscriptions.key_options import groups_of
from subscriptions.models import Group
from tests.traffic.examples import HOUR, NOW, STATISTICS, WEBHOOK, uploaded
from tests.traffic.metering import send
from traffic.models import Meter, MeteredPerson, Plan, Subscriber

pytestmark = pytest.mark.django_db
RUN = int((NOW - HOUR).timestamp())
JSON = "application/json"
SUBSCRIBERS = "/api/xpert/subscribers"
REFUSED = "This key may not report about this person."


@pytest.fixture(autouse=True)
def _clock() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def a_subscriber(name: str, *groups: Group) -> Subscriber:
    made = Subscriber.objects.create(token=name.lower(), name=name)
    made.subscription_groups.set(groups)
    return made


@pytest.fixture
def berlin() -> Group:
    return Group.objects.create(name="Berlin")


@pytest.fixture
def ann(berlin: Group) -> Subscriber:
    return a_subscriber("Ann", berlin)


@pytest.fixture
def bob() -> Subscriber:
    return a_subscriber("Bob", Group.objects.create(name="Paris"))


def a_key(*groups: Group, scope: str = "manage") -> tuple[ApiKey, str]:
    chosen = {"groups": ",".join(str(group.pk) for group in groups)}
    return create_api_key("shop", scope, None, chosen)


@pytest.fixture
def client(berlin: Group) -> Client:
    return Client(headers={"authorization": f"Bearer {a_key(berlin)[1]}"})


def a_row(token: str, upload: int = 5) -> dict[str, Any]:
    whose = {"user_token": token, "server": "a.example", "port": 443, "protocol": "vless"}
    return whose | {"bytes_uploaded": upload}


def a_reading(**whose: str) -> dict[str, Any]:
    totals = {"total_uploaded": 5, "total_downloaded": 0}
    return {"server": "a.example", "port": 443, "protocol": "vless"} | whose | totals


# --- reports ---------------------------------------------------------------------


@pytest.mark.usefixtures("ann", "bob")
@pytest.mark.parametrize(("token", "status"), [("ann", 200), ("bob", 403), ("nobody", 403)])
def test_a_report_about_anybody_else_is_403(client: Client, token: str, status: int) -> None:
    assert client.post(WEBHOOK, a_row(token), content_type=JSON).status_code == status


@pytest.mark.usefixtures("ann", "bob")
def test_in_a_batch_the_rows_of_its_groups_count(client: Client) -> None:
    answer = client.post(WEBHOOK, [a_row("bob"), a_row("ann")], content_type=JSON)
    assert answer.json()["rejected"] == [{"index": 0, "errors": {"user_token": [REFUSED]}}]
    assert (uploaded("ann"), uploaded("bob")) == (5, 0)


def test_such_a_key_creates_nobody_by_a_report(client: Client, settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS = True
    answer = client.post(WEBHOOK, a_row("new"), content_type=JSON, headers={"host": "127.0.0.1"})
    assert answer.status_code == 403
    assert not Subscriber.objects.exists()


@pytest.mark.usefixtures("ann", "bob")
def test_readings_by_token_and_by_name_count_for_its_groups_alone(client: Client) -> None:
    rows = [
        a_reading(user_token="bob"),
        a_reading(person="BOB"),
        a_reading(person="Ann"),
        a_reading(person="unknown"),
    ]
    answer = send(client, *rows, run=RUN).json()
    assert answer["rejected"] == [
        {"index": 0, "errors": {"user_token": [REFUSED]}},
        {"index": 1, "errors": {"person": [REFUSED]}},
    ]
    assert (answer["recorded"], answer["unchanged"]) == (1, 1)
    assert (uploaded("ann"), uploaded("bob")) == (5, 0)
    assert Meter.objects.count() == MeteredPerson.objects.count() == 2


@pytest.mark.usefixtures("ann", "bob")
def test_inform_counts_for_its_groups_alone(
    berlin: Group, tmp_path: Any, settings: Settings
) -> None:
    settings.XPERT_SPOOL_FOLDER = str(tmp_path / "spool")
    told = [{"email": "ann", "up": 5}, {"email": "bob", "up": 7}]
    answer = Client().post(
        f"/api/xpert/inform/3x-ui/{a_key(berlin)[1]}", {"clientTraffics": told}, content_type=JSON
    )
    assert (answer.status_code, answer.json()["recorded"]) == (200, 1)
    assert (uploaded("ann"), uploaded("bob")) == (5, 0)


def test_a_group_that_is_deleted_leaves_nobody(
    client: Client, berlin: Group, ann: Subscriber
) -> None:
    berlin.delete()
    assert client.post(WEBHOOK, a_row("ann"), content_type=JSON).status_code == 403
    assert client.get(SUBSCRIBERS).json()["results"] == []
    assert client.post(SUBSCRIBERS, {"name": "New"}, content_type=JSON).status_code == 400
    assert Subscriber.objects.get() == ann


# --- subscribers -----------------------------------------------------------------


@pytest.mark.usefixtures("ann", "bob")
@pytest.mark.parametrize(
    "query", ["", "?search=bob", "?token=bob", "?group=Paris", "?status=active"]
)
def test_it_finds_nobody_else(client: Client, query: str) -> None:
    found = client.get(SUBSCRIBERS + query).json()["results"]
    assert [row["name"] for row in found] == (
        [] if "=" in query and "status" not in query else ["Ann"]
    )


def test_others_do_not_exist_for_it(client: Client, bob: Subscriber) -> None:
    one = f"{SUBSCRIBERS}/{bob.pk}"
    answers = [
        client.get(one),
        client.patch(one, {"name": "x"}, content_type=JSON),
        client.post(f"{one}/extend", {"days": 3}, content_type=JSON),
        client.post(f"{one}/new-token", {}, content_type=JSON),
        client.delete(one),
    ]
    assert {answer.status_code for answer in answers} == {404}
    bob.refresh_from_db()
    assert (bob.name, bob.token, bob.hidden_at) == ("Bob", "bob", None)


def test_an_action_on_many_changes_nobody_else(
    client: Client, ann: Subscriber, bob: Subscriber
) -> None:
    body = {"action": "change", "is_active": False, "ids": [ann.pk, bob.pk]}
    answer = client.post(f"{SUBSCRIBERS}/bulk", body, content_type=JSON).json()
    assert [item["status"] for item in answer["results"]] == [200, 404]
    body = {"action": "delete", "filter": {"group": "Paris"}}
    assert client.post(f"{SUBSCRIBERS}/bulk", body, content_type=JSON).json()["total"] == 0
    bob.refresh_from_db()
    assert bob.is_active
    assert bob.hidden_at is None


def test_a_new_subscriber_is_in_its_groups(client: Client) -> None:
    answer = client.post(SUBSCRIBERS, {"name": "New"}, content_type=JSON)
    assert (answer.status_code, answer.json()["groups"]) == (201, ["Berlin"])


@pytest.mark.usefixtures("bob")
@pytest.mark.parametrize("groups", [["Paris"], ["Berlin", "Paris"], []])
def test_a_new_subscriber_is_in_no_others(client: Client, groups: list[str]) -> None:
    answer = client.post(SUBSCRIBERS, {"name": "New", "groups": groups}, content_type=JSON)
    assert list(answer.json()) == ["groups"]
    assert Subscriber.objects.count() == 1


def test_it_moves_nobody_to_other_groups(client: Client, ann: Subscriber, bob: Subscriber) -> None:
    change = {"groups": ["Paris"]}
    one = client.patch(f"{SUBSCRIBERS}/{ann.pk}", change, content_type=JSON)
    many = {"action": "change", "ids": [ann.pk]} | change
    assert one.status_code == 400
    assert client.post(f"{SUBSCRIBERS}/bulk", many, content_type=JSON).status_code == 400
    assert [group.name for group in ann.subscription_groups.all()] == ["Berlin"]


@pytest.mark.parametrize(("of_plan", "status"), [([], 200), (["Berlin"], 200), (["Paris"], 400)])
def test_it_applies_no_plan_that_gives_other_groups(
    client: Client, ann: Subscriber, bob: Subscriber, of_plan: list[str], status: int
) -> None:
    Plan.objects.create(name="Month").subscription_groups.set(
        Group.objects.filter(name__in=of_plan)
    )
    one = client.post(f"{SUBSCRIBERS}/{ann.pk}/apply-plan", {"plan": "Month"}, content_type=JSON)
    many = {"action": "apply-plan", "ids": [ann.pk], "plan": "Month"}
    assert one.status_code == status
    assert client.post(f"{SUBSCRIBERS}/bulk", many, content_type=JSON).status_code == status
    assert [group.name for group in ann.subscription_groups.all()] == ["Berlin"]


@pytest.mark.parametrize(
    "path",
    [f"{STATISTICS}/global", f"{STATISTICS}/server/a.example/443", "/metrics", "/api/xpert/sources",
     "/api/xpert/direct-configs", "/api/xpert/marzban-traffic-stats"],
)  # fmt: skip
def test_what_shows_everybody_is_403(client: Client, path: str) -> None:
    assert client.get(path).status_code == 403


def test_it_cleans_up_nothing(client: Client) -> None:
    answer = client.post(f"{STATISTICS}/cleanup?days=1", content_type=JSON)
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "This key is limited to groups of its own.",
    )


# --- choosing --------------------------------------------------------------------


def test_the_command_takes_names_of_groups(berlin: Group) -> None:
    paris = Group.objects.create(name="Paris, south")
    call_command("create_api_key", "k", "--scope", "read", "--groups", "Paris, south", "Berlin",
                 stdout=io.StringIO())  # fmt: skip
    key = ApiKey.objects.get()
    assert groups_of(key) == [berlin, paris]


def test_the_command_refuses_a_group_that_does_not_exist(berlin: Group) -> None:
    with pytest.raises(CommandError, match="--groups: there is nothing named 'berlin'"):
        call_command("create_api_key", "k", "--scope", "read", "--groups", "berlin")


class TestAdmin:
    @pytest.fixture
    def operator(self) -> Client:
        operator = Client()
        operator.force_login(User.objects.create_superuser("op"))
        return operator

    def test_groups_are_ticked_for_a_new_key(self, operator: Client, berlin: Group) -> None:
        fields = {"name": "k", "scope": "read", "groups": [str(berlin.pk)]}
        operator.post(reverse("admin:operations_apikey_add"), fields)
        key = ApiKey.objects.get()
        assert groups_of(key) == [berlin]
        page = operator.get(reverse("admin:operations_apikey_change", args=[key.pk]))
        assert "only these groups: Berlin" in page.content.decode()

    def test_they_are_changed_later_and_noted_by_name(
        self, operator: Client, berlin: Group
    ) -> None:
        key, _ = a_key(berlin)
        paris = Group.objects.create(name="Paris")
        url = reverse("admin:operations_apikey_change", args=[key.pk])
        operator.post(url, {"name": "shop", "groups": [str(paris.pk)]})
        key.refresh_from_db()
        assert groups_of(key) == [paris]
        assert AuditEntry.objects.get().changes == {"groups": ["Berlin", "Paris"]}

    def test_a_deleted_group_stays_chosen(self, operator: Client, berlin: Group) -> None:
        key, _ = a_key(berlin)
        number = str(berlin.pk)
        berlin.delete()
        url = reverse("admin:operations_apikey_change", args=[key.pk])
        assert f"deleted: {number}" in operator.get(url).content.decode()
        operator.post(url, {"name": "renamed", "groups": [number]})
        key.refresh_from_db()
        assert (key.name, groups_of(key)) == ("renamed", [])

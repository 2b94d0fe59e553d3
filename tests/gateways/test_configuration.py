"""What a gateway's agent is given, and that the real sing-box takes it."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries

from gateways import configuration, routes
from gateways.models import Gateway
from operations.audit import By
from subscriptions import direct_configs, links
from subscriptions.models import Endpoint, Group
from tests.gateways.examples import BERLIN, BY, EXOTIC, NOW, PARIS, gateway
from tests.subscriptions.examples import direct, source, stored, subscriber, use
from tests.subscriptions.formats import cores, dialled
from tests.subscriptions.formats.cores import needs_sing_box, sample_nodes
from traffic.ledger.recording import record
from traffic.models import ServerLimit, Subscriber
from traffic.people import server_limits
from traffic.reports import Report

pytestmark = pytest.mark.django_db
ALL = (
    ("shadowsocks", 8388),
    ("trojan", 8443),
    ("vless", 9443),
    ("hysteria2", 443),
    ("tuic", 444),
)


def contents(it: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(configuration.document(it, NOW).content)
    return found


def users(it: Gateway) -> list[str]:
    return [user["name"] for user in contents(it)["sing_box"]["inbounds"][0]["users"]]


def tag(raw: str) -> str:
    return routes.tag(links.parse(raw))


def test_each_person_is_a_user_per_server_and_is_led_to_it() -> None:
    ann, bob = subscriber("ann-token"), subscriber("bob-token")
    direct(BERLIN, PARIS)
    found = contents(gateway(*ALL))["sing_box"]
    names = {f"p{one.pk}-{tag(raw)}" for one in (ann, bob) for raw in (BERLIN, PARIS)}
    for inbound in found["inbounds"]:
        assert {user["name"] for user in inbound["users"]} == names
    *rules, last = found["route"]["rules"]
    led = {name: rule["outbound"] for rule in rules for name in rule["auth_user"]}
    assert led == {name: name.partition("-")[2] for name in names}
    assert last == {"action": "reject"}


def test_a_way_out_leads_to_external_servers_alone() -> None:
    subscriber()
    direct(BERLIN, PARIS)
    found = contents(gateway())["sing_box"]
    assert {out["type"] for out in found["outbounds"]} == {"trojan", "shadowsocks"}
    assert found["dns"] == {"servers": [{"type": "local", "tag": "system"}]}
    assert not any("default" in rule or "protocol" in rule for rule in found["route"]["rules"])


def test_no_token_and_no_secret_of_the_panel_stands_in_it() -> None:
    ann = subscriber("token-of-ann-123456", name="Ann of somewhere")
    direct(BERLIN)
    it = gateway(*ALL)
    text = configuration.document(it, NOW).content.decode()
    assert ann.token not in text
    assert "somewhere" not in text
    assert it.secret not in text
    assert it.key.hash not in text


def test_everybody_has_other_credentials_for_each_server_and_protocol() -> None:
    subscriber("ann-token")
    subscriber("bob-token")
    direct(BERLIN, PARIS)
    found = contents(gateway(*ALL))["sing_box"]["inbounds"]
    for inbound in found:
        shown = {user.get("password") or user["uuid"] for user in inbound["users"]}
        assert len(shown) == 4


def test_a_new_token_changes_the_credentials_of_that_person_alone() -> None:
    ann, bob = subscriber("ann-token"), subscriber("bob-token")
    direct(BERLIN)
    it = gateway()

    def passwords() -> dict[str, str]:
        inbound = contents(it)["sing_box"]["inbounds"][0]
        return {user["name"].partition("-")[0]: user["password"] for user in inbound["users"]}

    before = passwords()
    Subscriber.objects.filter(pk=ann.pk).update(token="another-token")
    after = passwords()
    assert after[f"p{ann.pk}"] != before[f"p{ann.pk}"]
    assert after[f"p{bob.pk}"] == before[f"p{bob.pk}"]


def test_another_gateway_has_other_credentials() -> None:
    subscriber()
    direct(BERLIN)
    one, two = contents(gateway()), contents(gateway(name="second"))
    for part in ("inbounds", "services"):
        assert one["sing_box"][part] != two["sing_box"][part]


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": False},
        {"expires_at": NOW},
        {"hidden_at": NOW},
        {"data_limit": 1000},
    ],
    ids=["switched off", "expired", "deleted", "over the limit"],
)
def test_whoever_may_not_use_it_is_not_in_it(change: dict[str, Any]) -> None:
    ann = subscriber("ann-token")
    use(ann, 500, 500)
    direct(BERLIN)
    it = gateway()
    assert users(it) == [f"p{ann.pk}-{tag(BERLIN)}"]
    Subscriber.objects.filter(pk=ann.pk).update(**change)
    assert users(it) == []
    assert contents(it)["sing_box"]["route"]["rules"] == [{"action": "reject"}]


def test_whoever_is_just_under_the_limit_is_in_it_and_readings_come_faster() -> None:
    ann = subscriber("ann-token")
    use(ann, 500, 499)
    direct(BERLIN)
    it = gateway()
    assert contents(it)["interval"] == 60
    Subscriber.objects.filter(pk=ann.pk).update(data_limit=1000)
    assert len(users(it)) == 1
    assert contents(it)["interval"] == 10


def test_a_server_of_a_group_is_for_its_people_alone() -> None:
    ann, bob = subscriber("ann-token"), subscriber("bob-token")
    open_, closed = direct(BERLIN, PARIS)
    group = Group.objects.create(name="some")
    group.subscribers.add(ann)
    closed.groups.add(group)
    names = users(gateway())
    assert f"p{ann.pk}-{tag(PARIS)}" in names
    assert f"p{bob.pk}-{tag(PARIS)}" not in names
    assert f"p{bob.pk}-{tag(open_.raw)}" in names


def test_only_the_chosen_sources_go_through_it() -> None:
    subscriber()
    chosen = source("chosen")
    stored(chosen, BERLIN)
    stored(source("other"), PARIS)
    direct("trojan://x@direct.example.com:443")
    found = contents(gateway(sources=(chosen.pk,), direct=False))["servers"]
    assert list(found) == [tag(BERLIN)]


def test_servers_are_told_in_the_words_of_readings() -> None:
    subscriber()
    direct(PARIS)
    assert contents(gateway())["servers"] == {
        tag(PARIS): {"server": "fr.example.com", "port": 8388, "protocol": "shadowsocks"}
    }


def test_a_server_that_sing_box_does_not_know_is_named_and_left_out() -> None:
    subscriber()
    direct(BERLIN, EXOTIC)
    found = contents(gateway())
    assert list(found["servers"]) == [tag(BERLIN)]
    assert [one["protocol"] for one in found["left_out"]] == ["ssr"]


def test_a_server_that_is_down_stays_so_that_nobody_is_cut_off_when_it_comes_back() -> None:
    subscriber()
    direct(BERLIN)
    it = gateway()
    before = configuration.document(it, NOW)
    Endpoint.objects.create(
        server="vpn.example.com", port=443, state="down", checked_at=NOW, down_since=NOW
    )
    assert configuration.document(it, NOW) == before


def test_the_tag_stays_until_something_changes() -> None:
    ann = subscriber()
    direct(BERLIN)
    it = gateway()
    first = configuration.document(it, NOW)
    assert configuration.document(it, NOW + timedelta(seconds=50)) == first
    Subscriber.objects.filter(pk=ann.pk).update(is_active=False)
    assert configuration.document(it, NOW).etag != first.etag


def complaint(it: Gateway, folder: Path) -> str:
    """What the real sing-box has against the configuration."""
    return cores.sing_box_complains(cores.without_utls(contents(it)["sing_box"]), folder)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    """Certificate and key, as a gateway has them."""
    file = tmp_path / "certificate.pem"
    dialled._certificate(file)
    return {"certificate": str(file), "private_key": str(file)}


@needs_sing_box
def test_sing_box_takes_it_with_every_kind_of_server(tmp_path: Path, paths: dict[str, str]) -> None:
    subscriber("ann-token")
    subscriber("bob-token")
    direct(*(node.raw for node in sample_nodes()))
    it = gateway(*ALL, **paths)
    assert len(contents(it)["servers"]) > 50
    assert contents(it)["sing_box"]["endpoints"]
    assert complaint(it, tmp_path) == ""


@needs_sing_box
@pytest.mark.parametrize("with_people", [False, True], ids=["nobody", "somebody"])
def test_sing_box_takes_it_with_nobody_and_with_nothing(
    with_people: bool, tmp_path: Path, paths: dict[str, str]
) -> None:
    if with_people:
        subscriber()
    else:
        direct(BERLIN)
    assert complaint(gateway(*ALL, **paths), tmp_path) == ""


@needs_sing_box
def test_a_thousand_people_on_twenty_servers(tmp_path: Path, paths: dict[str, str]) -> None:
    """The time is bounded by processor time of this process, not by the clock of a busy machine."""
    Subscriber.objects.bulk_create(Subscriber(token=f"token-{n:04}") for n in range(1000))
    direct(*(f"trojan://pw@s{n}.example.com:443" for n in range(20)))
    it = gateway(("trojan", 443), **paths)
    began = time.process_time()
    document = configuration.document(it, NOW)
    spent = time.process_time() - began
    found = json.loads(document.content)["sing_box"]["inbounds"][0]["users"]
    assert len(found) == 20_000
    assert spent < 1.0
    assert complaint(it, tmp_path) == ""


def test_the_number_of_queries_does_not_depend_on_people_and_servers(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(20):
        subscriber(f"token-{number}")
    direct(*(f"trojan://pw@s{n}.example.com:443" for n in range(10)))
    it = gateway()
    # The last is for limits on servers that are used up.
    with django_assert_max_num_queries(7):
        configuration.document(it, NOW)


def test_nobody_is_let_in_to_a_server_whose_limit_is_used_up_for_them() -> None:
    ann, bob = baker.make(Subscriber, token="ann"), baker.make(Subscriber, token="bob")
    direct_configs.add_many([BERLIN, PARIS], BY)
    made = gateway()
    limit = ServerLimit(name="Berlin", data_limit=100)
    server_limits.add(limit, [("vpn.example.com", 443, "trojan")], BY)

    def used(token: str) -> None:
        report = Report(token, "vpn.example.com", 443, "trojan", 100, 0, int(NOW.timestamp()))
        record([report], NOW)

    def people_of(host: str) -> set[str]:
        found = configuration.contents(made, NOW)
        tag = next(tag for tag, one in found["servers"].items() if one["server"] == host)
        rules = [
            rule for rule in found["sing_box"]["route"]["rules"] if rule.get("outbound") == tag
        ]
        return {name.partition("-")[0] for rule in rules for name in rule["auth_user"]}

    everybody = {f"p{ann.pk}", f"p{bob.pk}"}
    assert people_of("vpn.example.com") == everybody
    used("ann")
    assert people_of("vpn.example.com") == {f"p{bob.pk}"}
    assert people_of("fr.example.com") == everybody
    used("bob")
    assert people_of("vpn.example.com") == set()
    server_limits.restart(limit, By("anna", NOW + timedelta(seconds=1)))
    assert people_of("vpn.example.com") == everybody

"""Lists with gateways in them: names stay, credentials are of that person's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_django import DjangoAssertNumQueries

from gateways import configuration
from gateways.models import Gateway
from subscriptions import links
from subscriptions.models import Endpoint, Template
from subscriptions.serving import catalogue
from subscriptions.serving.catalogue import Selection
from tests.gateways.examples import BERLIN, EXOTIC, NOW, OUTER, PARIS, gateway
from tests.subscriptions.examples import ask, direct, source, stored, subscriber, use
from tests.subscriptions.formats.cores import (
    mihomo_complains,
    needs_mihomo,
    needs_sing_box,
    sing_box_complains,
)
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
ALL = (
    ("shadowsocks", 8388),
    ("trojan", 8443),
    ("vless", 9443),
    ("hysteria2", 443),
    ("tuic", 444),
)


def nodes(token: str = "user123") -> list[links.Node]:
    body = ask(token, format="plain").content.decode()
    return [links.parse(line) for line in body.splitlines()]


def names(token: str = "user123") -> list[str]:
    return [node.remark for node in nodes(token)]


@pytest.fixture(autouse=True)
def person() -> Subscriber:
    return subscriber()


def test_instead_of_the_direct_link_there_is_the_gateway_under_the_servers_name() -> None:
    direct(BERLIN, PARIS)
    gateway()
    found = nodes()
    assert [node.remark for node in found] == ["Berlin", "Paris"]
    assert {(node.protocol, node.server, node.port) for node in found} == {
        ("shadowsocks", "gw.example.com", 8388)
    }


@pytest.mark.parametrize("format_name", ["plain", "base64", "mihomo", "sing-box", "xray"])
def test_instead_of_means_that_no_format_holds_what_the_provider_gave(format_name: str) -> None:
    direct(BERLIN, PARIS)
    before = ask(format=format_name).content
    gateway(*ALL)
    after = ask(format=format_name).content
    assert before != after
    for secret in (OUTER, "paris-secret", "vpn.example.com", "fr.example.com"):
        assert secret.encode() not in after


def test_beside_the_direct_link_the_gateways_entry_bears_the_gateways_name() -> None:
    direct(BERLIN)
    gateway(beside=True)
    assert names() == ["Berlin", "Berlin · gw"]
    assert nodes()[0].raw == BERLIN


def test_a_second_protocol_is_named_behind_the_servers_name() -> None:
    direct(BERLIN)
    gateway(("trojan", 8443), ("hysteria2", 443))
    assert names() == ["Berlin", "Berlin · hysteria2"]


def test_two_gateways_with_two_protocols_each_have_four_names() -> None:
    direct(BERLIN)
    for name in ("one", "two"):
        gateway(("trojan", 8443), ("hysteria2", 443), name=name)
    assert names() == ["Berlin", "Berlin · hysteria2", "Berlin · two", "Berlin · two hysteria2"]


def test_what_one_gateway_has_instead_of_is_direct_for_nobody() -> None:
    direct(BERLIN)
    gateway(name="one", beside=True)
    gateway(name="two")
    assert names() == ["Berlin", "Berlin · two"]
    assert all(node.server == "gw.example.com" for node in nodes())


def test_servers_that_do_not_go_through_it_stay_as_they_are_in_their_order() -> None:
    stored(chosen := source("chosen"), PARIS)
    direct(BERLIN, "trojan://x@other.example.com:443#Other")
    gateway(sources=(chosen.pk,), direct=False)
    assert [(node.remark, node.server) for node in nodes()] == [
        ("Paris", "gw.example.com"),
        ("Berlin", "vpn.example.com"),
        ("Other", "other.example.com"),
    ]


def test_a_server_that_two_sources_name_goes_through_it_when_one_of_them_does() -> None:
    stored(source("first"), PARIS)
    stored(second := source("second"), PARIS)
    gateway(sources=(second.pk,), direct=False)
    assert [node.server for node in nodes()] == ["gw.example.com"]


def test_a_server_that_cannot_go_through_it_leaves_the_list_or_stays_direct() -> None:
    direct(EXOTIC, BERLIN)
    it = gateway()
    assert names() == ["Berlin"]
    it.beside = True
    it.save()
    assert [node.protocol for node in nodes()] == ["ssr", "trojan", "shadowsocks"]


def test_another_person_and_another_token_have_other_credentials(person: Subscriber) -> None:
    direct(BERLIN)
    gateway()
    subscriber("bob-token")
    ann, bob = nodes()[0].params["password"], nodes("bob-token")[0].params["password"]
    Subscriber.objects.filter(pk=person.pk).update(token="a-new-token")
    assert len({ann, bob, nodes("a-new-token")[0].params["password"]}) == 3


def test_what_people_get_is_what_the_gateway_lets_in(person: Subscriber) -> None:
    direct(BERLIN, PARIS)
    it = gateway(*ALL)
    found = nodes()
    inbounds: list[dict[str, Any]] = json.loads(configuration.document(it, NOW).content)[
        "sing_box"
    ]["inbounds"]
    assert len(found) == 2 * len(inbounds)
    for inbound in inbounds:
        own = [node for node in found if node.protocol == inbound["type"]]
        assert {node.port for node in own} == {inbound["listen_port"]}
        let_in = {_shown(user) for user in inbound["users"]}
        assert {_offered(node, inbound) for node in own} == let_in


def _shown(user: dict[str, str]) -> tuple[str | None, str | None]:
    return user.get("uuid"), user.get("password")


def _offered(node: links.Node, inbound: dict[str, Any]) -> tuple[str | None, str | None]:
    password = node.params.get("password")
    if node.protocol == "shadowsocks":
        server_key, _, password = node.params["password"].partition(":")
        assert server_key == inbound["password"]
        assert node.params["method"] == inbound["method"]
    return node.params.get("uuid"), password


def test_whoever_is_over_the_limit_gets_one_line_that_says_so(person: Subscriber) -> None:
    use(person, 10, 0)
    Subscriber.objects.filter(pk=person.pk).update(data_limit=10)
    direct(BERLIN)
    gateway()
    (node,) = nodes()
    assert node.server != "gw.example.com"


def test_a_gateway_that_is_made_or_deleted_shows_at_once() -> None:
    direct(BERLIN)
    assert nodes()[0].server == "vpn.example.com"
    it = gateway()
    assert nodes()[0].server == "gw.example.com"
    it.delete()
    assert not Gateway.objects.exists()
    assert nodes()[0].server == "vpn.example.com"


def test_a_change_of_its_sources_shows_at_once() -> None:
    stored(chosen := source("chosen"), PARIS)
    it = gateway(sources=(), direct=False)
    assert nodes()[0].server == "fr.example.com"
    it.sources.add(chosen)
    assert nodes()[0].server == "gw.example.com"


def test_a_server_that_is_down_goes_last_through_a_gateway_too() -> None:
    direct(BERLIN, PARIS)
    gateway()
    Endpoint.objects.create(
        server="vpn.example.com", port=443, state="down", checked_at=NOW, down_since=NOW
    )
    assert names() == ["Paris", "Berlin"]


def test_direct_configurations_alone_go_through_it_too() -> None:
    direct(BERLIN)
    gateway()
    body = ask(path="/api/xpert/direct-configs/sub", format="plain").content.decode()
    assert links.parse(body.strip()).server == "gw.example.com"


@needs_mihomo
def test_mihomo_takes_such_a_list(tmp_path: Path) -> None:
    direct(BERLIN, PARIS)
    gateway(*ALL)
    assert mihomo_complains(ask(format="mihomo").content, tmp_path) == ""


@needs_sing_box
def test_sing_box_takes_such_a_list(tmp_path: Path) -> None:
    direct(BERLIN, PARIS)
    gateway(*ALL)
    assert sing_box_complains(ask(format="sing-box").content, tmp_path) == ""


@pytest.mark.parametrize("with_gateway", [False, True])
def test_a_list_costs_no_query_but_the_edition_once_it_was_made(
    with_gateway: bool, person: Subscriber, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    direct(BERLIN)
    if with_gateway:
        gateway()
    catalogue.of_person(person, "plain", Selection())
    with django_assert_num_queries(1):
        catalogue.of_person(person, "plain", Selection())


def test_a_template_finds_a_source_behind_the_gateway_and_its_groups_take_names_from_both() -> None:
    """The entries of a gateway are those of the server, whatever they are called."""
    stored(source("first"), BERLIN)
    direct(PARIS)
    gateway(*ALL)
    text = """
proxy-groups:
  - {name: Berlin, type: select, proxies: ["<source first>"]}
  - {name: Rest, type: select, proxies: ["<direct>"]}
rules: ["MATCH,Berlin"]
"""
    Template.objects.create(name="mine", format="mihomo", text=text, in_use=True)
    found = yaml.safe_load(ask(format="mihomo").content)
    of_berlin, of_paris = (group["proxies"] for group in found["proxy-groups"])
    assert len(of_berlin) == len(of_paris) == len(ALL)
    assert of_berlin[0] == "Berlin 2"
    assert all(name.startswith("Berlin") for name in of_berlin)
    assert all(name.startswith("Paris") for name in of_paris)

"""Lists that are made by the operator's templates."""

import json
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.db import OperationalError
from pytest_django import Settings

from operations.notifications.kinds import kinds
from subscriptions import conditions, links, list_templates
from subscriptions.links import Node
from subscriptions.models import Brand, Edition, Group, ListedQuerySet, Template
from subscriptions.serving import custom_lists
from subscriptions.serving.custom_lists import Origins
from tests.subscriptions.examples import A, B, ask, direct, source, stored, subscriber
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

YAML = """\
mode: rule
proxy-groups:
  - {name: Mine, type: select, proxies: ["<servers>"]}
rules:
  - MATCH,Mine
"""
JSON = json.dumps({
    "outbounds": [
        {"type": "selector", "tag": "Mine", "outbounds": ["<servers>"]},
        {"type": "direct", "tag": "direct"},
    ]
})  # fmt: skip
XRAY = json.dumps({"remarks": "mine <name>", "outbounds": ["<server>"]})
TEXTS = {"mihomo": YAML, "sing-box": JSON, "xray": XRAY}


@pytest.fixture(autouse=True)
def no_core(settings: Settings) -> None:
    settings.XPERT_CORES = ["off"]


@pytest.fixture
def person() -> Subscriber:
    direct(A, B)
    return subscriber()


def template(format_name: str = "mihomo", text: str = "", **fields: Any) -> Template:
    given = {"name": "mine", "in_use": True, "text": text or TEXTS[format_name]} | fields
    return Template.objects.create(format=format_name, **given)


def groups_of(format_name: str = "mihomo", token: str = "user123") -> list[str]:
    body = ask(token, format=format_name).content
    if format_name == "mihomo":
        return [group["name"] for group in yaml.safe_load(body)["proxy-groups"]]
    found = json.loads(body)
    if format_name == "xray":
        return [each["remarks"] for each in found]
    return [each["tag"] for each in found["outbounds"] if "outbounds" in each]


@pytest.mark.parametrize(
    ("format_name", "found"),
    [("mihomo", ["Mine"]), ("sing-box", ["Mine"]), ("xray", ["mine A", "mine B"])],
)
def test_a_template_in_use_makes_the_lists_of_its_format_alone(
    person: Subscriber, format_name: str, found: list[str]
) -> None:
    before = {name: groups_of(name) for name in TEXTS}
    template(format_name)
    assert groups_of(format_name) == found
    others = TEXTS.keys() - {format_name}
    assert {name: groups_of(name) for name in others} == {name: before[name] for name in others}


def test_one_that_is_not_in_use_changes_nothing(person: Subscriber) -> None:
    template(in_use=False)
    assert groups_of() == ["Proxy", "Auto"]


def test_every_change_of_it_is_in_the_next_list(person: Subscriber) -> None:
    it = template()
    assert groups_of() == ["Mine"]
    it.text = YAML.replace("Mine", "Other")
    it.save()
    assert groups_of() == ["Other"]
    Template.objects.update(in_use=False)
    assert groups_of() == ["Proxy", "Auto"]
    it.in_use = True
    it.save()
    it.delete()
    assert groups_of() == ["Proxy", "Auto"]


def test_that_of_a_group_wins_for_its_members(person: Subscriber) -> None:
    subscriber("other")
    friends = Group.objects.create(name="friends")
    template()
    own = template(name="a friend's", text=YAML.replace("Mine", "Friends"))
    own.groups.add(friends)
    assert groups_of() == ["Mine"]
    friends.subscribers.add(person)
    assert groups_of() == ["Friends"]
    assert groups_of(token="other") == ["Mine"]


def test_a_place_of_a_source_holds_the_servers_of_that_source(person: Subscriber) -> None:
    stored(source("first"), "trojan://pw@f.example:1#F")
    stored(source("second"), "trojan://pw@s.example:1#S")
    template(text=YAML.replace("<servers>", "<source First>").replace('>"]', '>", "<direct>"]'))
    (group,) = yaml.safe_load(ask(format="mihomo").content)["proxy-groups"]
    assert group["proxies"] == ["F", "A", "B"]


def test_a_server_keeps_one_name_in_all_lists_when_a_group_takes_it(person: Subscriber) -> None:
    direct("trojan://pw@m.example:1#mine")
    template()
    assert "mine 2" in yaml.safe_load(ask(format="mihomo").content)["proxy-groups"][0]["proxies"]
    tags = [each["tag"] for each in json.loads(ask(format="sing-box").content)["outbounds"]]
    assert "mine 2" in tags
    told = json.loads(ask(path="/api/xpert/servers").content)["servers"]
    assert [each["name"] for each in told] == ["A", "B", "mine 2"]


def test_the_line_that_tells_what_is_left_is_in_it(person: Subscriber) -> None:
    Brand.objects.create(pk=1, line_formats=["mihomo"])
    template()
    (group,) = yaml.safe_load(ask(format="mihomo").content)["proxy-groups"]
    assert group["proxies"][:2] == ["A", "B"]
    assert group["proxies"][2].startswith("📊")


def test_a_subscription_that_is_over_gets_its_sentence_as_ever(person: Subscriber) -> None:
    template()
    Subscriber.objects.update(is_active=False)
    assert groups_of() == ["Proxy", "Auto"]


class TestFailures:
    def test_a_text_that_cannot_be_read_any_more_gives_the_built_in_list(
        self, person: Subscriber
    ) -> None:
        it = template(text="a: [")
        assert groups_of() == ["Proxy", "Auto"]
        it.refresh_from_db()
        assert it.failure == "bad_yaml"
        assert it.failed_at is not None

    def test_one_that_fails_while_it_is_filled_does_too_and_the_operator_is_notified_once(
        self, person: Subscriber, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        it = template()
        loaded = custom_lists.load()

        class Broken:
            reserved: frozenset[str] = frozenset()
            places = ()

            def render(self, servers: Any) -> Any:
                raise ZeroDivisionError

        broken = [custom_lists.InUse(it.pk, "mihomo", frozenset(), Broken(), {})]
        assert len(loaded) == 1
        monkeypatch.setattr(custom_lists, "load", lambda: broken)
        assert groups_of() == ["Proxy", "Auto"]
        it.refresh_from_db()
        first = it.failed_at
        Edition.renew()
        assert groups_of() == ["Proxy", "Auto"]
        it.refresh_from_db()
        assert (it.failure, it.failed_at) == ("ZeroDivisionError", first)
        assert "the built-in list is served" in caplog.text.lower()
        (found,) = conditions.templates(first)  # type: ignore[arg-type]
        assert (found.code, found.subject) == ("template-failing", "mine")

    def test_a_failure_changes_no_edition(self, person: Subscriber) -> None:
        template(text="a: [")
        before = Edition.current()
        groups_of()
        assert Edition.current() == before

    def test_the_notification_names_the_template_and_is_one_per_failure(
        self, person: Subscriber
    ) -> None:
        it = template(text="a: [")
        groups_of()
        it.refresh_from_db()
        assert it.failed_at is not None
        found = [*kinds()["template-failing"].events(it.failed_at)] * 2
        assert {event.text for event in found} == {
            "Template mine fails; subscribers get the built-in list."
        }
        told = {"template": {"id": it.pk, "name": "mine"}, "error": "bad_yaml"}
        assert found[0].data == told
        it.failed_at += timedelta(days=1)
        it.save()
        (again,) = kinds()["template-failing"].events(it.failed_at)
        assert again.key != found[0].key

    def test_a_database_that_cannot_be_written_costs_nobody_the_list(
        self, person: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def locked(*_: Any, **__: Any) -> int:
            raise OperationalError("locked")

        template(text="a: [")
        monkeypatch.setattr(ListedQuerySet, "update_quietly", locked)
        assert groups_of() == ["Proxy", "Auto"]

    def test_one_that_is_not_in_use_is_no_failure(self) -> None:
        template(in_use=False, failure="bad_yaml", failed_at="2026-01-01T00:00:00Z")
        assert not list(conditions.templates(None))  # type: ignore[arg-type]


class TestInUse:
    def test_of_a_format_one_is_in_use_for_everybody(self) -> None:
        first, other = template(name="first"), template("xray", name="other")
        limited = template(name="limited")
        limited.groups.add(Group.objects.create(name="friends"))
        second = template(name="second")
        list_templates.use_alone(second.pk)
        used = set(Template.objects.filter(in_use=True))
        assert used == {second, other, limited}
        list_templates.use_alone(limited.pk)
        assert Template.objects.filter(in_use=True).count() == 3
        assert first not in used


class TestOrigins:
    def node(self, name: str) -> Node:
        return links.parse(f"trojan://pw@a.example:1#{name}")

    def test_an_entry_of_a_gateway_has_those_of_its_server(self) -> None:
        known = Origins([(self.node("A · B"), frozenset({1})), (self.node("A"), frozenset({2}))])
        assert known.of(self.node("A · B")) == {1}
        assert known.of(self.node("A · B · gate")) == {1}
        assert known.of(self.node("A · gate")) == {2}
        assert known.of(self.node("C · gate")) == frozenset()


HAPP = {"user-agent": "Happ/3.5.0"}
ROUTING = "happ://routing/onadd/eyJOYW1lIjoiUlUifQ=="


def test_the_routing_of_happ_is_for_happ_alone(person: Subscriber) -> None:
    assert "Routing" not in ask(headers=HAPP).headers
    Brand.objects.create(pk=1, happ_routing=ROUTING)
    assert ask(headers=HAPP).headers["Routing"] == ROUTING
    for other in ("INCY/1.0", "v2rayNG/1.10.5", "curl/8", ""):
        assert "Routing" not in ask(headers={"user-agent": other}).headers

"""The list of servers: its content, and that every change shows at once."""

import base64
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.utils import timezone
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries, Settings

from subscriptions import links
from subscriptions.direct_configs import store
from subscriptions.models import DirectConfig, Edition, Endpoint, Group, Node, Source
from subscriptions.serving import catalogue
from subscriptions.serving.catalogue import Selection, selection_of
from subscriptions.serving.shelf import Shelf
from tests.subscriptions.examples import add_many, move, source, stored
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

# Edition, templates, servers of sources, direct configurations, endpoints that are down.
RENDERING = 5
A, B, C = "trojan://pw@a.example:1#A", "trojan://pw@b.example:2#B", "trojan://pw@c.example:3#C"


def body(format_name: str = "plain") -> str:
    return catalogue.current(format_name).content.decode()


def remarks(selection: Selection = Selection()) -> list[str]:  # noqa: B008
    """Names of the servers in the list that apps get."""
    lines = catalogue.current("plain", selection).content.decode().splitlines()
    return [links.parse(line).remark for line in lines]


@pytest.fixture
def configs() -> list[DirectConfig]:
    return add_many([A, B]).configs


def test_nothing_gives_an_empty_list() -> None:
    assert body() == ""


def test_links_go_out_as_they_came_in_in_their_order(configs: list[DirectConfig]) -> None:
    assert body() == f"{A}\n{B}\n"


def test_base64_is_the_same_list(configs: list[DirectConfig]) -> None:
    assert base64.b64decode(body("base64")).decode() == f"{A}\n{B}\n"


def test_disabled_rows_are_not_in_the_list(configs: list[DirectConfig]) -> None:
    DirectConfig.objects.filter(pk=configs[0].pk).update(is_active=False)
    assert body() == f"{B}\n"


def test_the_operators_name_replaces_the_links_own(configs: list[DirectConfig]) -> None:
    store(configs[0], A, "Имя #1")
    assert body().splitlines()[0] == "trojan://pw@a.example:1#%D0%98%D0%BC%D1%8F%20%231"


def test_an_unescaped_name_of_the_link_itself_is_left_as_it_is() -> None:
    add_many(["trojan://pw@a.example:1#Имя 1"])
    assert body() == "trojan://pw@a.example:1#Имя 1\n"


def test_an_emptied_name_leaves_the_link_as_it_is(configs: list[DirectConfig]) -> None:
    DirectConfig.objects.update(remarks="")
    assert body() == f"{A}\n{B}\n"


def test_the_second_request_reads_the_edition_alone(
    configs: list[DirectConfig], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(RENDERING):
        body()
    with django_assert_num_queries(1):
        body()


def test_a_link_that_cannot_be_parsed_any_more_is_left_out_and_logged(
    configs: list[DirectConfig], caplog: pytest.LogCaptureFixture
) -> None:
    DirectConfig.objects.filter(pk=configs[0].pk).update(raw="trojan://")
    with caplog.at_level(logging.WARNING):
        assert body() == f"{B}\n"
    assert "tro… is kept out: The link is empty." in caplog.text


CHANGES: dict[str, Callable[[DirectConfig], Any]] = {
    "save": lambda config: config.save(),
    "save of one field": lambda config: config.save(update_fields=["remarks"]),
    "bulk update": lambda config: DirectConfig.objects.update(is_active=models.F("is_active")),
    "bulk_update": lambda config: DirectConfig.objects.bulk_update([config], ["remarks"]),
    "delete": lambda config: config.delete(),
    "bulk delete": lambda config: DirectConfig.objects.all().delete(),
    "add": lambda config: add_many([C]),
    "switch off": lambda config: DirectConfig.objects.filter(pk=config.pk).update(is_active=False),
    "move": lambda config: move(config, down=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_kind_of_change_renders_the_list_again(
    configs: list[DirectConfig],
    change: Callable[[DirectConfig], Any],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    body()
    change(configs[0])
    with django_assert_num_queries(RENDERING):
        body()


def test_a_changed_link_has_a_new_time_of_change(configs: list[DirectConfig]) -> None:
    before = configs[0].changed_at
    DirectConfig.objects.update(is_active=False)
    configs[0].refresh_from_db()
    assert configs[0].changed_at > before


def test_replacing_one_server_by_another_is_a_change(configs: list[DirectConfig]) -> None:
    before = body()
    configs[1].delete()
    add_many([C])
    assert body() == before.replace(B, C)


class TestSources:
    """Servers of sources, beside the operator's own."""

    def test_they_come_first_by_priority_and_each_once(self, configs: list[DirectConfig]) -> None:
        stored(source("second", priority=2), C, "trojan://pw@a.example:1#same as A")
        stored(
            source("first", priority=1),
            "trojan://pw@d.example:4#D",
            "trojan://pw@c.example:3#same as C",
        )
        assert remarks() == ["D", "same as C", "same as A", "B"]

    def test_the_direct_list_has_none_of_them(self, configs: list[DirectConfig]) -> None:
        stored(source(), C)
        assert remarks(Selection(direct_only=True)) == ["A", "B"]

    @pytest.mark.parametrize(
        "change",
        [
            lambda it, node: Source.objects.filter(pk=it.pk).update(enabled=False),
            lambda it, node: Node.objects.filter(pk=node.pk).update(is_enabled=False),
            lambda it, node: Node.objects.filter(pk=node.pk).update(is_present=False),
            lambda it, node: node.delete(),
            lambda it, node: it.delete(),
        ],
        ids=["source off", "node off", "no longer in the source", "node deleted", "source deleted"],
    )
    def test_disabled_and_absent_servers_are_left_out_at_once(
        self, change: Callable[[Source, Node], Any]
    ) -> None:
        it = source()
        (node,) = stored(it, A)
        assert remarks() == ["A"]
        change(it, node)
        assert remarks() == []

    def test_a_changed_priority_shows_at_once(self) -> None:
        one, two = source("one"), source("two")
        stored(one, A)
        stored(two, B)
        assert remarks() == ["A", "B"]
        two.priority = 1
        two.save()
        assert remarks() == ["B", "A"]

    def test_a_private_server_is_left_out_unless_its_source_or_the_setting_allows_it(
        self, settings: Settings
    ) -> None:
        it = source()
        stored(it, "trojan://pw@10.0.0.1:1#P")
        assert remarks() == []
        settings.XPERT_ALLOW_PRIVATE_SOURCES = True
        assert remarks() == ["P"]
        settings.XPERT_ALLOW_PRIVATE_SOURCES = False
        assert remarks() == []
        it.allow_private = True
        it.save()
        assert remarks() == ["P"]


class TestDown:
    @pytest.fixture
    def down(self, configs: list[DirectConfig]) -> None:
        stored(source(), C)
        baker.make(Endpoint, server="c.example", port=3, state="down")
        baker.make(Endpoint, server="a.example", port=1, state="down")
        Edition.renew()

    def test_servers_that_are_down_go_last(self, down: None) -> None:
        assert remarks() == ["B", "C", "A"]

    def test_or_leave_the_list(self, down: None, settings: Settings) -> None:
        settings.XPERT_DOWN_NODES = "hide"
        assert remarks() == ["B"]

    def test_a_udp_server_is_listed_even_if_nothing_answers_tcp(self, down: None) -> None:
        add_many(["hysteria2://pw@a.example:1?sni=x.example#H"])
        assert remarks() == ["B", "H", "C", "A"]


class TestGroups:
    @pytest.fixture
    def vip(self) -> Group:
        return Group.objects.create(name="VIP")

    @pytest.fixture
    def person(self, vip: Group) -> Subscriber:
        person = baker.make(Subscriber)
        vip.subscribers.add(person)
        return person

    def test_limited_servers_are_only_sent_to_their_group(
        self, vip: Group, person: Subscriber, configs: list[DirectConfig]
    ) -> None:
        limited, half = source("limited"), source("half")
        stored(limited, C)
        (one, _) = stored(half, "trojan://pw@d.example:4#D", "trojan://pw@e.example:5#E")
        everybody = remarks()
        assert sorted(everybody) == ["A", "B", "C", "D", "E"]
        limited.groups.add(vip)
        one.groups.add(vip)
        configs[0].groups.add(vip)
        assert remarks() == ["E", "B"]
        assert sorted(remarks(selection_of(person, timezone.now()))) == sorted(everybody)
        assert remarks(Selection((vip.pk + 1,))) == ["E", "B"]

    def test_one_of_several_groups_is_enough(self, vip: Group, person: Subscriber) -> None:
        it = source()
        stored(it, A)
        it.groups.set([vip, Group.objects.create(name="other")])
        assert remarks(selection_of(person, timezone.now())) == ["A"]

    def test_an_open_copy_of_a_limited_server_is_found(self, vip: Group) -> None:
        limited, open_to_all = source("limited", priority=1), source("open", priority=2)
        stored(limited, A)
        stored(open_to_all, A)
        limited.groups.add(vip)
        assert remarks() == ["A"]

    def test_deleting_a_group_removes_its_limits(self, vip: Group) -> None:
        it = source()
        stored(it, A)
        it.groups.add(vip)
        assert remarks() == []
        vip.delete()
        assert remarks() == ["A"]

    def test_taking_a_group_away_shows_at_once(self, vip: Group) -> None:
        it = source()
        stored(it, A)
        it.groups.add(vip)
        assert remarks() == []
        it.groups.clear()
        assert remarks() == ["A"]

    def test_a_new_member_of_a_group_gets_its_servers_at_once(self, vip: Group) -> None:
        it = source()
        stored(it, A)
        it.groups.add(vip)
        person = baker.make(Subscriber)
        assert remarks(selection_of(person, timezone.now())) == []
        vip.subscribers.add(person)
        assert remarks(selection_of(person, timezone.now())) == ["A"]


def test_rendered_lists_beyond_the_limit_are_dropped() -> None:
    shelf = Shelf(1000)
    for number in range(5):
        shelf.get(number, lambda: catalogue.Body(b"x" * 200, ""))
    assert list(shelf._made) == [3, 4]
    shelf.get("large", lambda: catalogue.Body(b"x" * 2000, ""))
    assert shelf._size == 0
    assert shelf.get("small", lambda: catalogue.Body(b"x", "")).content == b"x"


def test_threads_that_wait_for_one_list_render_it_once() -> None:
    shelf, begun, calls = Shelf(1000), threading.Event(), []

    def render() -> catalogue.Body:
        calls.append(1)
        begun.wait(10)
        return catalogue.Body(b"", "")

    threads = [threading.Thread(target=shelf.get, args=("key", render)) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 1

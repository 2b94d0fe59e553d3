"""Adding, changing and ordering direct configurations, below admin, REST and command."""

from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import DjangoAssertNumQueries

from subscriptions import direct_configs, links
from subscriptions.direct_configs import DuplicateLink, store
from subscriptions.links import LinkError
from subscriptions.models import MAX_POSITION, DirectConfig, next_position
from tests.subscriptions.examples import add_many, move

pytestmark = pytest.mark.django_db

A, B, C = "trojan://pw@a.example:1#A", "trojan://pw@b.example:2#B", "trojan://pw@c.example:3#C"


def added(raw: str, remarks: str = "") -> DirectConfig:
    config = DirectConfig()
    store(config, raw, remarks)
    return config


def names() -> list[str]:
    return list(DirectConfig.objects.values_list("remarks", flat=True))


class TestStore:
    def test_a_link_is_taken_apart(self) -> None:
        config = added(f"  {A} ")
        config.refresh_from_db()
        assert (config.raw, config.protocol, config.server, config.port) == (
            A,
            "trojan",
            "a.example",
            1,
        )
        assert config.is_active

    def test_without_a_name_the_links_own_counts(self) -> None:
        assert added(A).remarks == "A"

    def test_a_given_name_counts(self) -> None:
        assert added(A, " Mine\n").remarks == "Mine"

    def test_a_bad_link_is_refused(self) -> None:
        with pytest.raises(LinkError):
            added("trojan://")

    def test_the_reason_is_in_the_readers_language(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct_configs, "gettext", {"The link is empty.": "Ссылка пуста."}.get)
        assert add_many(["trojan://"]).errors == {0: "Ссылка пуста."}

    def test_a_link_that_is_there_is_refused(self) -> None:
        added(A)
        with pytest.raises(DuplicateLink):
            added(f"{A} ")

    def test_a_link_that_another_process_has_just_stored_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        added(A)
        config = DirectConfig(position=1)

        def fill_blindly(config: DirectConfig, raw: str, remarks: str) -> None:
            direct_configs._apply(config, links.parse(raw), remarks)

        monkeypatch.setattr(direct_configs, "fill", fill_blindly)
        with pytest.raises(DuplicateLink):
            store(config, A)

    def test_saving_the_same_link_again_changes_nothing(self) -> None:
        config = added(A, "Mine")
        store(config, A, "Mine")
        assert names() == ["Mine"]

    def test_the_name_in_the_link_is_replaced_with_the_link(self) -> None:
        config = added(A)
        store(config, B, config.remarks)
        assert config.remarks == "B"

    def test_the_operators_name_stays_when_the_link_changes(self) -> None:
        config = added(A, "Mine")
        store(config, B, config.remarks)
        assert config.remarks == "Mine"


class TestOrder:
    def test_new_ones_go_to_the_end(self) -> None:
        added(A)
        DirectConfig.objects.update(position=7)
        assert added(B).position == 8

    def test_a_link_can_be_added_after_the_highest_position(self) -> None:
        added(B)
        DirectConfig.objects.update(position=MAX_POSITION)
        assert added(A).position == MAX_POSITION
        assert names() == ["B", "A"]

    def test_the_first_position_is_1(self) -> None:
        assert next_position() == 1

    def test_many_fit_behind_the_highest_position(self) -> None:
        added(B)
        DirectConfig.objects.update(position=MAX_POSITION)
        add_many([C, A])
        assert names() == ["B", "C", "A"]
        assert DirectConfig.objects.filter(position__gt=MAX_POSITION).count() == 0

    def test_equal_positions_keep_the_order_of_adding(self) -> None:
        add_many([B, A, C])
        DirectConfig.objects.update(position=1)
        assert names() == ["B", "A", "C"]

    @pytest.mark.parametrize(("down", "order"), [(True, ["A", "C", "B"]), (False, ["B", "A", "C"])])
    def test_moving_swaps_neighbours(self, down: bool, order: list[str]) -> None:
        middle = add_many([A, B, C]).configs[1]
        move(middle, down=down)
        assert names() == order

    def test_moving_works_among_equal_positions(self) -> None:
        last = add_many([A, B, C]).configs[2]
        DirectConfig.objects.update(position=4)
        move(last, down=False)
        assert names() == ["A", "C", "B"]

    @pytest.mark.parametrize(("index", "down"), [(0, False), (2, True)])
    def test_at_the_edge_nothing_moves(self, index: int, down: bool) -> None:
        move(add_many([A, B, C]).configs[index], down=down)
        assert names() == ["A", "B", "C"]


class TestAddMany:
    def test_good_links_are_kept_in_order_and_bad_links_reported(self) -> None:
        found = add_many([C, "trojan://", A, "?"])
        assert [config.remarks for config in found.configs] == ["C", "A"]
        assert found.errors == {
            1: "The link is empty.",
            3: "This is not a link of a known protocol.",
        }
        assert names() == ["C", "A"]

    def test_they_go_behind_those_that_are_there(self) -> None:
        added(B)
        add_many([A])
        assert names() == ["B", "A"]

    def test_an_existing_link_is_reported(self) -> None:
        added(A)
        found = add_many([A, B])
        assert found.errors == {0: "This link already exists."}
        assert names() == ["A", "B"]

    def test_the_first_of_two_equal_links_is_kept(self) -> None:
        assert add_many([A, A]).errors == {1: "This link already exists."}

    def test_nothing_adds_nothing(self) -> None:
        assert add_many([]) == ([], {})

    def test_they_have_ids(self) -> None:
        assert all(config.pk for config in add_many([A, B]).configs)

    def test_fifty_take_as_many_queries_as_one(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        many = [f"trojan://pw@a.example:{port}" for port in range(1, 51)]
        with django_assert_num_queries(7):
            add_many(many)

    def test_a_concurrent_writer_is_seen_at_the_second_try(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls = DirectConfig.objects.bulk_create, []

        def busy(rows: Any) -> Any:
            calls.append(len(rows))
            if len(calls) == 1:
                raise IntegrityError
            return real(rows)

        monkeypatch.setattr(DirectConfig.objects, "bulk_create", busy)
        assert len(add_many([A, B]).configs) == 2
        assert calls == [2, 2]


def test_a_configuration_is_shown_by_its_remarks_or_its_server() -> None:
    assert str(added("trojan://pw@a.example:1")) == "trojan a.example:1"
    assert str(added(B)) == "B"

"""``/api/xpert/direct-configs[/{id}]``."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from operations.models import AuditEntry
from subscriptions.models import MAX_POSITION, DirectConfig
from tests.subscriptions.examples import CONFIGS, A, B, C, direct

pytestmark = pytest.mark.django_db

FIELDS = ["id", "raw", "protocol", "server", "port", "remarks", "is_active", "position", "added_at"]


def one(config: DirectConfig) -> str:
    return f"{CONFIGS}/{config.pk}"


def send(client: Client, method: str, path: str, body: Any) -> Any:
    return client.generic(method, path, json.dumps(body), content_type="application/json")


def test_who_changes_one_is_named_in_the_audit_trail(local: Client) -> None:
    (old,) = direct(C)
    AuditEntry.objects.all().delete()
    send(local, "POST", CONFIGS, {"configs": [A, B, "nonsense"]})
    send(local, "PATCH", one(old), {"is_active": False})
    send(local, "DELETE", one(old), None)
    first, second = DirectConfig.objects.values_list("pk", flat=True)
    found = AuditEntry.objects.order_by("id")
    assert {entry.author for entry in found} == {"somebody in open access"}
    assert [(entry.action, entry.target_id, entry.changes) for entry in found] == [
        ("added", first, {}),
        ("added", second, {}),
        ("changed", old.pk, {"is_active": [True, False]}),
        ("deleted", old.pk, {}),
    ]


def test_a_changed_link_stands_masked_in_the_audit_trail(local: Client) -> None:
    (old,) = direct(C)
    send(local, "PATCH", one(old), {"raw": A})
    entry = AuditEntry.objects.order_by("id").last()
    assert entry
    assert entry.changes["raw"] == ["troj…", "troj…"]
    assert "pw@" not in str(entry.__dict__)


class TestReading:
    @pytest.mark.parametrize("path", [CONFIGS, f"{CONFIGS}/"])
    def test_the_list_is_an_array_in_its_order(self, manager: Client, path: str) -> None:
        direct(B, A)
        found = manager.get(path).json()
        assert [config["raw"] for config in found] == [B, A]
        assert list(found[0]) == FIELDS

    def test_one_is_an_object(self, manager: Client) -> None:
        config = direct(A)[0]
        found = manager.get(one(config)).json()
        added_at = found.pop("added_at")
        assert added_at.endswith("Z")
        assert found == {
            "id": config.pk, "raw": A, "protocol": "trojan", "server": "a.example", "port": 1,
            "remarks": "A", "is_active": True, "position": 1,
        }  # fmt: skip

    def test_a_key_of_scope_read_sees_links_masked(self, reader: Client) -> None:
        config = direct(A)[0]
        assert reader.get(CONFIGS).json()[0]["raw"] == "troj…"
        assert reader.get(one(config)).json()["raw"] == "troj…"

    def test_staff_with_only_view_permission_see_links_masked(
        self, staff: Callable[..., Client]
    ) -> None:
        direct(A)
        assert staff("view_directconfig").get(CONFIGS).json()[0]["raw"] == "troj…"

    def test_staff_with_change_permission_see_whole_links(
        self, staff: Callable[..., Client]
    ) -> None:
        direct(A)
        assert staff("view_directconfig", "change_directconfig").get(CONFIGS).json()[0]["raw"] == A

    def test_open_access_on_this_machine_sees_them_whole(self, local: Client) -> None:
        direct(A)
        assert local.get(CONFIGS).json()[0]["raw"] == A

    def test_the_list_takes_one_query(
        self, local: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        direct(A, B, C)
        with django_assert_num_queries(1):
            local.get(CONFIGS)


class TestAddingOne:
    def test_it_answers_201_with_the_object(self, manager: Client) -> None:
        response = send(manager, "POST", CONFIGS, {"raw": f" {A}", "remarks": "Mine"})
        assert response.status_code == 201
        assert list(response.json()) == FIELDS
        assert (response.json()["raw"], response.json()["remarks"]) == (A, "Mine")
        assert DirectConfig.objects.get().pk == response.json()["id"]

    def test_it_takes_a_place_and_a_switch(self, manager: Client) -> None:
        found = send(manager, "POST", CONFIGS, {"raw": A, "position": 9, "is_active": False}).json()
        assert (found["position"], found["is_active"]) == (9, False)

    def test_a_bad_link_is_400_with_the_reason(self, manager: Client) -> None:
        response = send(manager, "POST", CONFIGS, {"raw": "trojan://pw@a.example:0"})
        assert response.status_code == 400
        assert response.json() == {"raw": ["The port is not a number from 1 to 65535."]}

    def test_a_link_that_is_there_is_400(self, manager: Client) -> None:
        direct(A)
        response = send(manager, "POST", CONFIGS, {"raw": A})
        assert (response.status_code, response.json()) == (
            400,
            {"raw": ["This link already exists."]},
        )

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "raw"),
            ({"raw": None}, "raw"),
            ({"raw": 5}, "raw"),
            ({"raw": [A]}, "raw"),
            ({"raw": {"raw": A}}, "raw"),
            ({"raw": "a\0b"}, "raw"),
            ({"raw": "trojan://pw@a.example:1#\ud800"}, "detail"),
            ({"raw": "trojan://pw@a.example:1#a\nb"}, "raw"),
            ({"raw": "x" * 4097}, "raw"),
            ({"raw": A, "remarks": 5}, "remarks"),
            ({"raw": A, "remarks": None}, "remarks"),
            ({"raw": A, "remarks": "x" * 256}, "remarks"),
            ({"raw": A, "position": -1}, "position"),
            ({"raw": A, "position": MAX_POSITION + 1}, "position"),
            ({"raw": A, "position": 10**400}, "position"),
            ({"raw": A, "position": "x"}, "position"),
            ({"raw": A, "position": None}, "position"),
            ({"raw": A, "position": True}, "position"),
            ({"raw": A, "position": "5"}, "position"),
            ({"raw": A, "position": 5.0}, "position"),
            ({"raw": A, "is_active": "true"}, "is_active"),
            ({"raw": A, "is_active": 1}, "is_active"),
            ({"raw": A, "is_active": None}, "is_active"),
            ({"raw": A, "is_active": []}, "is_active"),
            ({"raw": A, "configs": [A]}, "configs"),
            ([], "detail"),
            ("text", "detail"),
            (None, "detail"),
            (5, "detail"),
        ],
    )
    def test_a_bad_body_is_400_naming_the_field(
        self, manager: Client, body: Any, field: str
    ) -> None:
        response = send(manager, "POST", CONFIGS, body)
        assert response.status_code == 400
        assert list(response.json()) == [field]
        assert not DirectConfig.objects.exists()

    def test_an_unknown_field_is_ignored(self, manager: Client) -> None:
        assert (
            send(manager, "POST", CONFIGS, {"raw": A, "id": 77, "server": "x", "more": 1}).json()[
                "server"
            ]
            == "a.example"
        )


class TestAddingMany:
    def test_good_links_are_kept_and_bad_links_reported(self, manager: Client) -> None:
        response = send(manager, "POST", CONFIGS, {"configs": [A, "nonsense://secret", B]})
        assert response.status_code == 200
        answer = response.json()
        assert [config["raw"] for config in answer.pop("results")] == [A, B]
        assert answer == {
            "total_provided": 3,
            "successful_added": 2,
            "failed": 1,
            "errors": [
                {
                    "config_index": 1,
                    "error": "This is not a link of a known protocol.",
                    "raw_prefix": "nons…",
                },
            ],
        }

    def test_an_existing_link_is_reported(self, manager: Client) -> None:
        direct(A)
        answer = send(manager, "POST", CONFIGS, {"configs": [A]}).json()
        assert answer["errors"][0]["error"] == "This link already exists."
        assert (answer["successful_added"], answer["failed"]) == (0, 1)

    @pytest.mark.parametrize("line", [None, 5, 1.5, True, [], {"raw": A}, "", "\0", "a\nb"])
    def test_an_entry_that_is_not_a_link_is_reported(self, manager: Client, line: Any) -> None:
        response = send(manager, "POST", CONFIGS, {"configs": [line, A]})
        assert response.status_code == 200
        assert [error["config_index"] for error in response.json()["errors"]] == [0]
        assert response.json()["successful_added"] == 1

    @pytest.mark.parametrize("configs", [[], None, "text", {}, 5])
    def test_configs_that_is_not_a_list_is_400(self, manager: Client, configs: Any) -> None:
        response = send(manager, "POST", CONFIGS, {"configs": configs})
        assert response.status_code == 400
        assert list(response.json()) == ["configs"]

    def test_staff_with_only_add_permission_see_the_results_masked(
        self, staff: Callable[..., Client]
    ) -> None:
        client = staff("add_directconfig")
        assert (
            send(client, "POST", CONFIGS, {"configs": [A]}).json()["results"][0]["raw"] == "troj…"
        )


class TestChanging:
    @pytest.fixture
    def config(self) -> DirectConfig:
        return direct(A, B)[0]

    def test_put_replaces_the_link(self, manager: Client, config: DirectConfig) -> None:
        found = send(
            manager,
            "PUT",
            one(config),
            {"raw": C, "remarks": "Mine", "is_active": False, "position": 5},
        ).json()
        config.refresh_from_db()
        assert (config.raw, config.server, config.remarks, config.is_active, config.position) == (
            C, "c.example", "Mine", False, 5,
        )  # fmt: skip
        assert found["raw"] == C

    def test_put_needs_the_link(self, manager: Client, config: DirectConfig) -> None:
        response = send(manager, "PUT", one(config), {"remarks": "Mine"})
        assert (response.status_code, response.json()) == (
            400,
            {"raw": ["This field is required."]},
        )

    @pytest.mark.parametrize(
        ("change", "field", "value"),
        [
            ({"remarks": "Mine"}, "remarks", "Mine"),
            ({"remarks": ""}, "remarks", "A"),
            ({"is_active": False}, "is_active", False),
            ({"position": 0}, "position", 0),
            ({"raw": C}, "remarks", "C"),
            ({}, "raw", A),
        ],
    )
    def test_patch_changes_the_given_fields(
        self, manager: Client, config: DirectConfig, change: dict[str, Any], field: str, value: Any
    ) -> None:
        response = send(manager, "PATCH", one(config), change)
        assert response.status_code == 200
        config.refresh_from_db()
        assert getattr(config, field) == response.json()[field] == value

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_the_link_of_another_one_is_400(
        self, manager: Client, config: DirectConfig, method: str
    ) -> None:
        response = send(manager, method, one(config), {"raw": B})
        assert (response.status_code, response.json()) == (
            400,
            {"raw": ["This link already exists."]},
        )

    @pytest.mark.parametrize("body", [[], None, "x"])
    def test_a_body_that_is_not_an_object_is_400(
        self, manager: Client, config: DirectConfig, body: Any
    ) -> None:
        assert send(manager, "PATCH", one(config), body).json() == {
            "detail": "Expected a JSON object."
        }

    def test_delete_answers_204_and_leaves_the_others(
        self, manager: Client, config: DirectConfig
    ) -> None:
        response = manager.delete(one(config))
        assert (response.status_code, response.content) == (204, b"")
        assert list(DirectConfig.objects.values_list("raw", flat=True)) == [B]


class TestRefusals:
    @pytest.mark.parametrize(
        "key", ["999", "0", "-1", "abc", "9" * 19, "9" * 40, "٣", "1.0", "%00", "%F0%9F%98%80"]
    )
    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    def test_one_that_is_not_there_is_404_in_json(
        self, manager: Client, key: str, method: str
    ) -> None:
        response = send(manager, method, f"{CONFIGS}/{key}", {"raw": A})
        assert response.status_code == 404
        assert list(response.json()) == ["detail"]

    @pytest.mark.parametrize(
        ("method", "path"), [("DELETE", CONFIGS), ("POST", f"{CONFIGS}/1"), ("OPTIONS", CONFIGS)]
    )
    def test_another_method_is_405(self, manager: Client, method: str, path: str) -> None:
        assert send(manager, method, path, {}).status_code == 405

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_without_a_key_it_is_401(self, client: Client, method: str) -> None:
        response = send(client, method, CONFIGS, {"raw": A})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_a_key_of_scope_read_may_not_write(self, reader: Client, method: str) -> None:
        path = CONFIGS if method == "POST" else one(direct(A)[0])
        assert send(reader, method, path, {"raw": B}).status_code == 403

    def test_a_key_of_scope_report_may_not_even_read(self, reporter: Client) -> None:
        assert reporter.get(CONFIGS).status_code == 403

    @pytest.mark.parametrize(
        ("method", "permission"),
        [
            ("GET", "view_directconfig"),
            ("POST", "add_directconfig"),
            ("PUT", "change_directconfig"),
            ("PATCH", "change_directconfig"),
            ("DELETE", "delete_directconfig"),
        ],
    )
    def test_staff_need_the_permission_for_it(
        self, staff: Callable[..., Client], method: str, permission: str
    ) -> None:
        config = direct(A)[0]
        path = CONFIGS if method == "POST" else one(config)
        assert send(staff(permission), method, path, {"raw": B}).status_code in {200, 201, 204}

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    def test_staff_without_the_permission_are_403(
        self, staff: Callable[..., Client], method: str
    ) -> None:
        config = direct(A)[0]
        path = CONFIGS if method == "POST" else one(config)
        assert send(staff("view_subscriptionhit"), method, path, {"raw": B}).status_code == 403

    def test_another_content_type_is_415(self, manager: Client) -> None:
        assert manager.post(CONFIGS, {"raw": A}).status_code == 415

    def test_a_body_of_more_than_64_kib_is_413(self, manager: Client) -> None:
        assert send(manager, "POST", CONFIGS, {"configs": ["x" * 65536]}).status_code == 413

    def test_an_address_over_its_rate_is_429(self, manager: Client, settings: Settings) -> None:
        settings.XPERT_RATE_ADDRESS = "1/min"
        assert [manager.get(CONFIGS).status_code for _ in range(2)] == [200, 429]

    def test_a_busy_database_is_503(self, manager: Client) -> None:
        with patch(
            "subscriptions.direct_configs.add_many",
            side_effect=OperationalError("database is locked"),
        ):
            response = send(manager, "POST", CONFIGS, {"configs": [A]})
        assert response.status_code == 503
        assert response.headers["Retry-After"]

    def test_json_nested_too_deeply_is_400(self, manager: Client) -> None:
        for body in (
            "[" * 30000,
            '{"configs":[' + "[" * 900 + "]" * 900 + "]}",
            '{"raw":' + "[" * 900 + "]" * 900 + "}",
        ):
            response = manager.generic("POST", CONFIGS, body, content_type="application/json")
            assert response.status_code in {200, 400}


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from([A, B, f"{A}\n{B}"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
bodies = st.one_of(
    values,
    st.dictionaries(
        st.sampled_from(["raw", "remarks", "configs", "is_active", "position", "id"]), values
    ),
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=bodies, method=st.sampled_from(["POST", "PUT", "PATCH"]))
def test_no_json_is_ever_a_500(local: Client, body: Any, method: str) -> None:
    config = DirectConfig.objects.first() or direct("trojan://pw@z.example:9")[0]
    path = CONFIGS if method == "POST" else one(config)
    assert send(local, method, path, body).status_code in {200, 201, 400}

"""``/api/xpert/sources[/{id}]``."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from operations.models import ApiKey, AuditEntry
from subscriptions.models import Source
from tests.subscriptions.examples import A, B, ask, source, stored, subscriber

pytestmark = pytest.mark.django_db

SOURCES = "/api/xpert/sources"
FIELDS = ["id", "name", "url", "enabled", "priority", "config_count", "last_fetched", "last_error"]
URL = "https://provider.example/sub?token=very-secret"
NEW = {"name": "New", "url": "https://new.example/sub"}


def one(it: Source) -> str:
    return f"{SOURCES}/{it.pk}"


def send(client: Client, method: str, path: str, body: Any) -> Any:
    return client.generic(method, path, json.dumps(body), content_type="application/json")


class TestReading:
    @pytest.mark.parametrize("path", [SOURCES, f"{SOURCES}/"])
    def test_the_list_is_an_array_by_priority(self, manager: Client, path: str) -> None:
        source("second", priority=2)
        source("first", priority=1)
        found = manager.get(path).json()
        assert [each["name"] for each in found] == ["first", "second"]
        assert list(found[0]) == FIELDS

    def test_one_is_an_object(self, manager: Client) -> None:
        it = source(last_error="http_404")
        stored(it, A, B)
        stored(it, A)
        assert manager.get(one(it)).json() == {
            "id": it.pk, "name": "provider", "url": URL, "enabled": True, "priority": 100, "config_count": 1,
            "last_fetched": None, "last_error": "http_404",
        }  # fmt: skip
        assert manager.get(SOURCES).json()[0]["config_count"] == 1

    def test_a_key_of_scope_read_sees_urls_masked(self, reader: Client) -> None:
        it = source()
        for response in (reader.get(SOURCES), reader.get(one(it))):
            assert "very-secret" not in response.content.decode()
            assert "http…" in response.content.decode()

    def test_staff_see_the_url_when_they_may_change_it(self, staff: Callable[..., Client]) -> None:
        source()
        assert staff("view_source", "change_source").get(SOURCES).json()[0]["url"] == URL

    def test_staff_with_only_view_permission_see_it_masked(
        self, staff: Callable[..., Client]
    ) -> None:
        source()
        assert staff("view_source").get(SOURCES).json()[0]["url"] == "http…"

    def test_fifty_take_as_many_queries_as_one(
        self, manager: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        manager.get(SOURCES)  # notes the key's last use
        for number in range(50):
            source(f"s{number}")
        with django_assert_num_queries(2):
            manager.get(SOURCES)


class TestWriting:
    def test_post_adds_one(self, manager: Client) -> None:
        response = send(manager, "POST", SOURCES, NEW)
        assert response.status_code == 201
        it = Source.objects.get()
        assert response.json() == {"id": it.pk, "enabled": True, "priority": 100, "config_count": 0, "last_fetched": None,
                                   "last_error": None, **NEW}  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": 5}, "name"),
            ({"name": "x" * 101}, "name"),
            ({"url": ""}, "url"),
            ({"url": None}, "url"),
            ({"url": "x" * 2049}, "url"),
            ({"url": "http://new.example/"}, "url"),
            ({"url": "https://127.0.0.1/"}, "url"),
            ({"url": "file:///etc/passwd"}, "url"),
            ({"url": URL}, "url"),
            ({"enabled": "yes"}, "enabled"),
            ({"priority": "1"}, "priority"),
            ({"priority": -1}, "priority"),
            ({"priority": 2**40}, "priority"),
        ],
    )
    def test_an_error_is_400_and_names_the_field(
        self, manager: Client, change: Any, field: str
    ) -> None:
        source()
        response = send(manager, "POST", SOURCES, NEW | change)
        assert (response.status_code, list(response.json())) == (400, [field])
        assert "very-secret" not in response.content.decode()
        assert Source.objects.count() == 1

    def test_a_private_source_needs_the_setting(self, manager: Client, settings: Settings) -> None:
        private = {"name": "nas", "url": "http://10.0.0.5:3000/sub"}
        assert send(manager, "POST", SOURCES, private).status_code == 400
        settings.XPERT_ALLOW_PRIVATE_SOURCES = True
        assert send(manager, "POST", SOURCES, private).status_code == 201

    def test_put_replaces_and_patch_changes_the_given_fields(self, manager: Client) -> None:
        it = source(etag='"1"')
        assert send(manager, "PATCH", one(it), {"priority": 3}).json()["priority"] == 3
        it.refresh_from_db()
        assert it.etag == '"1"'
        assert send(manager, "PUT", one(it), NEW).json()["url"] == NEW["url"]
        assert send(manager, "PUT", one(it), {"name": "x"}).json() == {
            "url": ["This field is required."]
        }

    def test_a_new_url_forgets_the_state_of_the_old_one(self, manager: Client) -> None:
        it = source(etag='"1"', failures=3, last_error="html")
        send(manager, "PATCH", one(it), {"url": NEW["url"]})
        it.refresh_from_db()
        assert (it.etag, it.failures, it.last_error) == ("", 0, "")

    def test_its_own_url_again_is_fine(self, manager: Client) -> None:
        assert send(manager, "PATCH", one(source()), {"url": URL}).status_code == 200

    def test_switching_off_takes_its_servers_from_the_list_at_once(self, manager: Client) -> None:
        it = source()
        stored(it, A)
        subscriber()
        assert ask().content
        send(manager, "PATCH", one(it), {"enabled": False})
        assert not ask().content

    def test_it_may_be_the_account_of_one_subscriber(self, manager: Client) -> None:
        ann = subscriber()
        made = send(manager, "POST", SOURCES, NEW | {"subscriber": ann.pk})
        assert (made.status_code, made.json()["subscriber"]) == (201, ann.pk)
        it = Source.objects.get()
        assert it.subscriber == ann
        shared = send(manager, "PATCH", one(it), {"subscriber": None})
        assert "subscriber" not in shared.json()
        it.refresh_from_db()
        assert it.subscriber is None

    @pytest.mark.parametrize("wrong", [0, -1, 999, 2**40, 10**40, True, "1", 1.0, [1], {"id": 1}])
    def test_only_somebody_who_is_there_has_an_account(self, manager: Client, wrong: Any) -> None:
        subscriber(hidden_at=timezone.now())
        answer = send(manager, "POST", SOURCES, NEW | {"subscriber": wrong})
        assert (answer.status_code, list(answer.json())) == (400, ["subscriber"])

    def test_delete_answers_204_and_takes_its_servers_along(self, manager: Client) -> None:
        it, other = source(), source("other")
        stored(it, A)
        stored(other, B)
        response = manager.delete(one(it))
        assert (response.status_code, response.content) == (204, b"")
        assert list(Source.objects.all()) == [other]
        assert other.nodes.count() == 1


class TestRefusals:
    @pytest.mark.parametrize("key", ["999", "0", "-1", "abc", "9" * 19, "9" * 40, "٣", "%00"])
    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    def test_one_that_is_not_there_is_404(self, manager: Client, key: str, method: str) -> None:
        assert send(manager, method, f"{SOURCES}/{key}", NEW).status_code == 404

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_without_a_key_it_is_401(self, client: Client, method: str) -> None:
        assert send(client, method, SOURCES, NEW).status_code == 401

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_a_key_of_scope_read_may_not_write(self, reader: Client, method: str) -> None:
        path = SOURCES if method == "POST" else one(source())
        assert send(reader, method, path, NEW).status_code == 403

    def test_a_key_of_scope_report_may_not_even_read(self, reporter: Client) -> None:
        assert reporter.get(SOURCES).status_code == 403

    @pytest.mark.parametrize(
        ("method", "permission"),
        [
            ("GET", "view_source"),
            ("POST", "add_source"),
            ("PUT", "change_source"),
            ("DELETE", "delete_source"),
        ],
    )
    def test_staff_need_the_permission_for_it(
        self, staff: Callable[..., Client], method: str, permission: str
    ) -> None:
        path = SOURCES if method == "POST" else one(source())
        assert send(staff(permission), method, path, NEW).status_code in {200, 201, 204}

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    def test_staff_without_it_are_403(self, staff: Callable[..., Client], method: str) -> None:
        path = SOURCES if method == "POST" else one(source())
        assert send(staff("view_directconfig"), method, path, NEW).status_code == 403


class TestTrace:
    """Who has changed what is told by the audit trail."""

    def test_the_log_names_the_key_and_the_change(self, manager: Client) -> None:
        key = ApiKey.objects.get()
        pk = send(manager, "POST", SOURCES, NEW).json()["id"]
        send(manager, "PATCH", f"{SOURCES}/{pk}", {"priority": 3})
        manager.delete(f"{SOURCES}/{pk}")
        assert told() == [
            (f"API key {key.pk} (manager)", "added", pk, {}),
            (f"API key {key.pk} (manager)", "changed", pk, {"priority": [100, 3]}),
            (f"API key {key.pk} (manager)", "deleted", pk, {}),
        ]

    def test_the_log_names_staff(self, staff: Callable[..., Client]) -> None:
        it = source()
        send(staff("change_source"), "PATCH", one(it), {"priority": 3})
        assert told() == [("member", "changed", it.pk, {"priority": [100, 3]})]

    def test_a_changed_url_is_masked(self, manager: Client) -> None:
        it = source()
        send(manager, "PATCH", one(it), {"url": "https://other.example/s3cr3t"})
        ((_author, _action, _id, changes),) = told()
        assert changes == {"url": ["http…", "http…"]}

    def test_what_changes_nothing_is_not_noted(self, manager: Client) -> None:
        it = source()
        send(manager, "PATCH", one(it), {"name": it.name})
        assert told() == []

    def test_what_was_refused_is_not_noted(self, manager: Client) -> None:
        send(manager, "POST", SOURCES, {"name": "New"})
        manager.delete(f"{SOURCES}/77")
        assert told() == []


def told() -> list[tuple[str, str, int, Any]]:
    found = AuditEntry.objects.filter(target_kind="subscriptions.source").order_by("id")
    return [(entry.author, entry.action, entry.target_id, entry.changes) for entry in found]


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from([URL, "https://x.y/\0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
bodies = st.one_of(
    values, st.dictionaries(st.sampled_from(["name", "url", "enabled", "priority", "id"]), values)
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=bodies, method=st.sampled_from(["POST", "PUT", "PATCH"]))
def test_no_json_is_ever_a_500(local: Client, body: Any, method: str) -> None:
    it = Source.objects.first() or source("first")
    assert send(local, method, SOURCES if method == "POST" else one(it), body).status_code in {
        200,
        201,
        400,
    }


class TestRules:
    RULES = {"keep": "DE|NL", "drop": "x2", "rename": "a => b", "prefix": "P", "flags": True}

    def test_they_are_set_and_read_and_noted(self, manager: Client) -> None:
        found = send(manager, "POST", SOURCES, NEW | self.RULES).json()
        assert {name: found[name] for name in self.RULES} == self.RULES
        changed = send(manager, "PATCH", f"{SOURCES}/{found['id']}", {"keep": "", "flags": False})
        assert "keep" not in changed.json()
        assert "flags" not in changed.json()
        entry = AuditEntry.objects.order_by("-pk").first()
        assert entry is not None
        assert entry.changes == {"keep": ["DE|NL", ""], "flags": [True, False]}

    @pytest.mark.parametrize(
        ("field", "text", "said"),
        [
            ("keep", "a(", "character 2"),
            ("drop", "(a+)+", "too long"),
            ("rename", "a => b\nc", "Line 2"),
            ("keep", 5, "valid string"),
            ("flags", "yes", "boolean"),
        ],
    )
    def test_a_bad_one_is_refused_with_its_place_and_changes_nothing(
        self, manager: Client, field: str, text: object, said: str
    ) -> None:
        it = source()
        response = send(manager, "PATCH", one(it), {"name": "Other", field: text})
        assert response.status_code == 400
        assert said in response.json()[field][0]
        it.refresh_from_db()
        assert (it.name, it.keep, it.rename) == ("provider", "", "")

    def test_new_rules_have_the_whole_list_fetched_again(self, manager: Client) -> None:
        it = source(etag='"1"', last_modified="x", next_fetch=timezone.now(), failures=2)
        send(manager, "PATCH", one(it), {"name": "Other"})
        it.refresh_from_db()
        assert it.etag == '"1"'
        send(manager, "PATCH", one(it), {"drop": "x"})
        it.refresh_from_db()
        assert (it.etag, it.last_modified, it.next_fetch, it.failures) == ("", "", None, 2)

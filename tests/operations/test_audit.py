"""The audit trail: written by every change, read as a history and as a list."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from model_bakery import baker

from operations import audit
from operations.audit import Action, By
from operations.models import ApiKey, AuditEntry, CommandRun, Receiver
from subscriptions.models import Source
from tests.traffic.admin_pages import staff, text_of
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DAY = timedelta(days=1)
BY = By("ada", NOW)
TRAIL = "/admin/operations/auditentry/"


def only() -> AuditEntry:
    return AuditEntry.objects.get()


def test_secrets_of_a_model_are_masked_and_its_other_fields_are_not() -> None:
    receiver = baker.make(Receiver, name="ops")
    changes = {"secret": ("abcdefghijklmnop", "qrstuvwxyzabcdef"), "name": ("ops", "night")}
    audit.note(Action.CHANGED, receiver, BY, changes)
    assert only().changes == {"secret": ["abcd…", "qrst…"], "name": ["ops", "night"]}


def test_a_link_in_any_field_is_masked() -> None:
    source = baker.make(Source, name="https://provider.example/s3cr3t")
    audit.note(Action.CHANGED, source, BY, {"name": ("a", "https://provider.example/s3cr3t")})
    assert "s3cr3t" not in str(only().__dict__)


def test_rows_that_were_chosen_are_noted_by_their_names() -> None:
    user = baker.make(User)
    chosen = [Group.objects.create(name=name) for name in ("b", "a")]
    audit.note(Action.CHANGED, user, BY, {"groups": ([], chosen)})
    assert only().changes == {"groups": [[], ["a", "b"]]}


def test_moments_are_noted_in_utc() -> None:
    audit.note(Action.CHANGED, baker.make(ApiKey), BY, {"expires_at": (None, NOW)})
    assert only().changes == {"expires_at": [None, "2026-03-04T05:06:07+00:00"]}


def test_equal_values_are_not_a_change() -> None:
    user = baker.make(User)
    same = {"groups": ([], Group.objects.none()), "name": ("a", "a"), "note": (None, None)}
    assert audit.real(user, same) == {}
    assert set(audit.real(user, {"password": (None, None)})) == {"password"}


def test_a_row_whose_key_is_no_number_has_no_history(admin_client: Client) -> None:
    run = baker.make(CommandRun, command="cleanup_traffic")
    assert list(audit.entries(run)) == []
    page = admin_client.get("/admin/operations/commandrun/cleanup_traffic/history/")
    assert page.status_code == 200


@pytest.mark.parametrize(
    ("command", "arguments", "kind"),
    [
        ("create_api_key", ["node", "--scope", "report"], "operations.apikey"),
        ("create_subscriber", ["Ann"], "traffic.subscriber"),
    ],
)
def test_changes_by_commands_are_noted(command: str, arguments: list[str], kind: str) -> None:
    call_command(command, *arguments)
    assert (only().author, only().action, only().target_kind) == (command, "added", kind)


class TestStaff:
    """Changes of staff users are in the same trail."""

    def test_a_changed_account_is_noted_with_its_groups(self, admin_client: Client) -> None:
        user = User.objects.create_user("eva", password="x", is_staff=True)
        viewer = Group.objects.get(name="viewer")
        fields = {
            "username": "eva", "groups": [viewer.pk], "is_active": "on", "is_staff": "on",
            "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "email": "eva@example.com",
        }  # fmt: skip
        admin_client.post(f"/admin/auth/user/{user.pk}/change/", fields)
        found = AuditEntry.objects.get(action="changed")
        assert found.changes["groups"] == [[], ["viewer"]]
        assert found.changes["email"] == ["", "eva@example.com"]

    def test_a_new_password_is_noted_and_not_told(self, admin_client: Client) -> None:
        user = User.objects.create_user("eva", password="x")
        fields = {"password1": "correct-horse-9", "password2": "correct-horse-9"}
        answer = admin_client.post(
            f"/admin/auth/user/{user.pk}/password/",
            fields | {"usable_password": "true", "set-password": "1"},
        )
        assert answer.status_code == 302
        assert only().changes == {"password": ["…", "…"]}

    def test_a_deleted_account_stays_in_the_trail(self, admin_client: Client) -> None:
        user = User.objects.create_user("eva")
        admin_client.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
        assert (only().action, only().target_name) == ("deleted", "eva")

    def test_django_s_own_log_stays_empty(self, admin_client: Client) -> None:
        admin_client.post("/admin/auth/group/add/", {"name": "night"})
        group = Group.objects.get(name="night")
        admin_client.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
        assert [entry.action for entry in AuditEntry.objects.order_by("id")] == ["added", "deleted"]
        assert not LogEntry.objects.exists()


class TestList:
    @pytest.fixture(autouse=True)
    def _entries(self) -> None:
        ann = baker.make(Subscriber, name="Ann")
        key = baker.make(ApiKey, name="node")
        audit.note(Action.EXTENDED, ann, BY, {"expires_at": (NOW, NOW + DAY)})
        audit.note(Action.REVOKED, key, By("API key 7 (bot)", NOW))

    @staticmethod
    def names(client: Client, **query: Any) -> list[str]:
        found = client.get(TRAIL, query).context["cl"].result_list
        return [entry.target_name for entry in found]

    def test_it_says_who_did_what_to_what(self, admin_client: Client) -> None:
        text = text_of(admin_client.get(TRAIL))
        assert "ada Extended Ann Subscriber last day: 2026-03-04 05:06 → 2026-03-05 05:06" in text

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({}, ["node", "Ann"]),
            ({"author": "ada"}, ["Ann"]),
            ({"action_is": "revoked"}, ["node"]),
            ({"kind": "traffic.subscriber"}, ["Ann"]),
            ({"q": "nod"}, ["node"]),
            ({"action_is": "nonsense"}, ["node", "Ann"]),
        ],
    )
    def test_it_is_filtered_by_author_action_and_kind(
        self, query: dict[str, str], names: list[str], admin_client: Client
    ) -> None:
        assert self.names(admin_client, **query) == names

    def test_a_name_leads_to_the_history(self, admin_client: Client) -> None:
        pk = Subscriber.objects.get().pk
        page = admin_client.get(TRAIL).content.decode()
        assert f'href="/admin/traffic/subscriber/{pk}/history/"' in page

    def test_nobody_can_change_an_entry(self, admin_client: Client) -> None:
        pk = AuditEntry.objects.first().pk  # type: ignore[union-attr]
        for page in ("add/", f"{pk}/delete/"):
            assert admin_client.get(f"{TRAIL}{page}").status_code == 403
        assert admin_client.post(f"{TRAIL}{pk}/change/", {}).status_code == 403

    def test_it_takes_a_permission_of_its_own(self) -> None:
        assert staff("view_subscriber").get(TRAIL).status_code == 403
        user = baker.make(User, is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
        client = Client()
        client.force_login(user)
        assert client.get(TRAIL).status_code == 200

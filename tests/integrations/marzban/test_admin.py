"""Linked panels in the admin: what the lists show, and what the buttons do."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from pytest_django.fixtures import DjangoAssertNumQueries

from integrations.marzban import events, handover, marks, own_node, people
from integrations.marzban.models import HandOver, PanelLink
from operations.models import AuditEntry
from tests.integrations.marzban.panel_api import PASSWORD, PanelApiServer, running_api
from tests.integrations.marzban.test_people import ALICE
from tests.traffic.examples import a_report, stored
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
LIST = "/admin/marzban/panellink/"


@pytest.fixture
def api() -> Iterator[PanelApiServer]:
    with running_api("") as found:
        yield found


@pytest.fixture
def link(api: PanelApiServer) -> PanelLink:
    made = PanelLink.objects.create(name="Berlin", url=api.url)
    return handover.adopt(made.pk, timezone.now())


def page(link: PanelLink, name: str = "change") -> str:
    return f"{LIST}{link.pk}/{name}/"


def shown(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def press(client: Client, link: PanelLink, name: str, **data: str) -> str:
    """The message after a button was pressed and confirmed."""
    assert "<form" in shown(client, page(link, name))
    answer = client.post(page(link, name), data, follow=True)
    return " ".join(str(message) for message in answer.context["messages"])


def uses(size: int) -> None:
    now = timezone.now()
    token = Subscriber.objects.get(name="alice").token
    stored(a_report(now, user_token=token, upload=0, download=size), now=now)


def lose(link: PanelLink) -> None:
    """A hand-over of which nobody knows whether it arrived."""
    batch = handover.take_users(link, "session", 0, 10)
    assert batch
    handover.adopt(link.pk, timezone.now())


def test_lists_and_pages_are_shown(admin_client: Client, link: PanelLink) -> None:
    assert "Link a panel" in shown(admin_client, LIST)
    people.came(link, [ALICE], timezone.now())
    uses(4096)
    lose(link)
    assert "Berlin" in shown(admin_client, LIST)
    assert "Hand over again" in shown(admin_client, page(link))
    assert "alice" in shown(admin_client, "/admin/marzban/panelidentity/")
    assert "unknown" in shown(admin_client, "/admin/marzban/handover/")
    pk = HandOver.objects.get().pk
    assert "unknown" in shown(admin_client, f"/admin/marzban/handover/{pk}/change/")


def test_the_list_costs_the_same_for_any_number_of_batches(
    admin_client: Client, link: PanelLink, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now = timezone.now()
    HandOver.objects.bulk_create(
        HandOver(link=link, what="users", made_at=now, state="sent", download=1) for _ in range(300)
    )
    with django_assert_max_num_queries(14):
        shown(admin_client, LIST)
    with django_assert_max_num_queries(14):
        shown(admin_client, "/admin/marzban/handover/")


def test_handing_over_again_asks_and_gives_the_bytes_back(
    admin_client: Client, link: PanelLink
) -> None:
    people.came(link, [ALICE], timezone.now())
    uses(4096)
    lose(link)
    assert handover.take_users(link, "session", 0, 10) is None
    assert "4.00 KB" in press(admin_client, link, "again")
    batch = handover.take_users(link, "session", 0, 10)
    assert batch
    assert batch.size == 4096
    assert AuditEntry.objects.latest("id").changes == {"handed over again": [None, 4096]}


def test_a_pause_loses_nothing(admin_client: Client, link: PanelLink) -> None:
    people.came(link, [ALICE], timezone.now())
    press(admin_client, link, "pause")
    uses(10)
    with pytest.raises(handover.PausedError):
        handover.take_users(link, "session", 0, 10)
    assert "paused" in shown(admin_client, LIST)
    press(admin_client, link, "continue")
    batch = handover.take_users(link, "session", 0, 10)
    assert batch
    assert batch.size == 10


def test_a_restored_link_resumes_from_a_moment(admin_client: Client, link: PanelLink) -> None:
    people.came(link, [ALICE], timezone.now())
    uses(10)
    marks.write(link.key, 99)  # hand-overs that this database does not know
    handover.adopt(link.pk, timezone.now())
    found = shown(admin_client, page(link))
    assert "Resume from a moment" in found
    assert "Go on" not in found
    later = timezone.now() + timedelta(hours=1)
    url = page(link, "resume")
    wrong = {"since_0": f"{later:%Y-%m-%d}", "since_1": f"{later:%H:%M:%S}"}
    assert "in the future" in admin_client.post(url, wrong).content.decode()
    past = timezone.now() - timedelta(hours=2)
    press(admin_client, link, "resume", since_0=f"{past:%Y-%m-%d}", since_1=f"{past:%H:%M:%S}")
    batch = handover.take_users(link, "session", 0, 10)
    assert batch
    assert batch.size == 10


def test_the_webhook_secret_is_shown_once(admin_client: Client, link: PanelLink) -> None:
    said = press(admin_client, link, "secret")
    secret = said.split('value="')[1].split('"')[0]
    assert events.link_of(secret) == link
    assert secret not in shown(admin_client, page(link))
    assert "has a secret" in shown(admin_client, page(link))


def test_an_account_is_tried_stored_used_and_forgotten(
    admin_client: Client, link: PanelLink, api: PanelApiServer
) -> None:
    assert "No account" in shown(admin_client, page(link, "difference"))
    said = press(admin_client, link, "account", username="admin", password="wrong")
    assert "does not accept" in said
    press(admin_client, link, "account", username="admin", password=PASSWORD)
    found = shown(admin_client, page(link))
    assert "Compare people" in found
    assert PASSWORD not in found
    api.users = [{"username": "alice", "status": "limited"}]
    assert "1 user" in press(admin_client, link, "reconcile")
    assert Subscriber.objects.get(name="alice").suspension == "limited"
    assert "Booked by the panel" in shown(admin_client, page(link, "difference"))
    press(admin_client, link, "forget")
    link.refresh_from_db()
    assert (link.account_name, link.account_password) == ("", "")


def test_the_form_links_a_panel_like_the_command(
    admin_client: Client, api: PanelApiServer, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    url = f"{LIST}connect/"
    assert "Address of the panel" in shown(admin_client, url)
    data = {"url": api.url, "username": "admin", "password": "wrong"}
    assert "does not accept" in admin_client.post(url, data).content.decode()
    monkeypatch.setattr(own_node, "wait", lambda _: None)
    api.certificate = "PEM"
    answer = admin_client.post(url, data | {"password": PASSWORD}, follow=True)
    assert "is linked" in str(next(iter(answer.context["messages"])))
    made = PanelLink.objects.get()
    assert AuditEntry.objects.get(action="added").author == "admin"
    press(admin_client, made, "remove", username="admin", password=PASSWORD)
    assert not PanelLink.objects.exists()
    assert not api.nodes


def test_deleting_a_link_is_like_forgetting_it(admin_client: Client, link: PanelLink) -> None:
    answer = admin_client.post(page(link, "delete"), {"post": "yes"}, follow=True)
    assert answer.status_code == 200
    assert not PanelLink.objects.exists()
    assert marks.read(link.key) is None


def test_one_link_at_most_signs_admins_in(admin_client: Client, link: PanelLink) -> None:
    PanelLink.objects.create(name="Other", url="http://127.0.0.1:1", number=1, signs_in=True)
    data = {"name": "Berlin", "subscription_path": "sub", "signs_in": "on"}
    answer = admin_client.post(page(link), data)
    assert "Only one link" in answer.content.decode()


def test_whoever_may_only_view_sees_no_button(client: Client, link: PanelLink) -> None:
    viewer = User.objects.create_user("eve", password="eve-eve-eve", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    assert "Pause" not in shown(client, page(link))
    assert "Link a panel" not in shown(client, LIST)
    assert client.get(f"{LIST}connect/").status_code == 403
    for name in ("pause", "secret", "account", "remove"):
        assert client.post(page(link, name)).status_code == 403

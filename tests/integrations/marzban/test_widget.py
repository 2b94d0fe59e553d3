"""The figures of the widget: a sudo admin sees everybody's, another admin their own users', anybody else nothing."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries, Settings

from integrations.marzban import admin_tokens, own_users, panel_api
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from operations.api.authentication import create_api_key
from tests.integrations.marzban.panel import Panel, Reply, admin_token, as_json
from tests.traffic.examples import a_report, stored, window
from traffic.figures import statistics
from traffic.figures.statistics import Traffic
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
URL = "/api/xpert/marzban/widget"


class Marzban(Panel):
    """``users``: of the admin who is not sudo. It answers page by page, as the real one does."""

    users: tuple[str, ...] = ()
    lists = 0

    def answer(self, token: str, path: str) -> Reply:
        if not path.startswith("/api/users"):
            return super().answer(token, path)
        self.lists += 1
        query = parse_qs(urlsplit(path).query)
        start, size = int(query["offset"][0]), int(query["limit"][0])
        page = [{"username": name, "status": "active"} for name in self.users[start : start + size]]
        return as_json(200, {"users": page, "total": len(self.users)})


@pytest.fixture
def panel() -> Iterator[Marzban]:
    admin_tokens.forget_all()
    own_users.forget_all()
    found = Marzban()
    try:
        yield found
    finally:
        found.close()
        admin_tokens.forget_all()
        own_users.forget_all()


@pytest.fixture
def link(panel: Marzban) -> PanelLink:
    return PanelLink.objects.create(name="Marzban", url=panel.url, signs_in=True)


@pytest.fixture(autouse=True)
def people(link: PanelLink) -> dict[str, Subscriber]:
    """Alice and Bob have users in the panel, Carol has none."""
    now = timezone.now()
    found = {}
    for name in ("alice", "Bob", "carol"):
        stored(
            a_report(now, user_token=f"token-{name}", upload=10, download=100),
            a_report(now, user_token=f"token-{name}", server="b.example", upload=1, download=2),
            now=now,
        )
        found[name] = Subscriber.objects.get(token=f"token-{name}")
    for name in ("alice", "Bob"):
        baker.make(PanelIdentity, link=link, username=name, subscriber=found[name])
    return found


def ask(token: str, **query: str) -> Any:
    return Client(headers={"authorization": f"Bearer {token}"}).get(URL, query)


def sudo(panel: Marzban) -> str:
    return panel.knows(admin_token("ann"), "ann", is_sudo=True)


def reseller(panel: Marzban) -> str:
    # What a token says of itself is not believed.
    return panel.knows(admin_token("rob", "sudo"), "rob", is_sudo=False)


# --- whose figures --------------------------------------------------------------------


def test_a_sudo_admin_sees_all_servers_up_and_down(panel: Marzban) -> None:
    found = ask(sudo(panel)).json()
    assert (found["scope"], found["users"], found["period_days"]) == ("all", 3, 30)
    assert (found["upload_bytes"], found["download_bytes"]) == (33, 306)
    assert found["servers"] == [
        {"server": "vpn.example.com", "port": 443, "protocol": "vless", "upload_bytes": 30, "download_bytes": 300},
        {"server": "b.example", "port": 443, "protocol": "vless", "upload_bytes": 3, "download_bytes": 6},
    ]  # fmt: skip
    assert panel.lists == 0


def test_another_admin_sees_their_own_users_and_nobody_else(panel: Marzban) -> None:
    panel.users = ("bob", "nobody-here")
    answer = ask(reseller(panel))
    found = answer.json()
    assert (found["scope"], found["users"]) == ("own", 1)
    assert (found["upload_bytes"], found["download_bytes"]) == (11, 102)
    assert found["top_users"] == [{"username": "Bob", "upload_bytes": 11, "download_bytes": 102}]
    assert "alice" not in answer.content.decode()
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_user_of_another_panel_or_who_had_the_name_before_is_not_theirs(
    panel: Marzban, people: dict[str, Subscriber]
) -> None:
    other = PanelLink.objects.create(name="other", url="http://127.0.0.1:1", number=1)
    baker.make(PanelIdentity, link=other, username="carol", subscriber=people["carol"])
    PanelIdentity.objects.filter(username="alice").update(closed_at=timezone.now())
    panel.users = ("alice", "carol")
    assert ask(reseller(panel)).json()["users"] == 0


def test_an_admin_without_users_sees_zeros(panel: Marzban) -> None:
    found = ask(reseller(panel)).json()
    assert (found["users"], found["servers"], found["top_users"]) == (0, [], [])


def test_all_pages_of_an_admin_s_users_are_read_and_remembered(
    panel: Marzban, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_api, "PAGE", 2)
    panel.users = ("a1", "a2", "a3", "a4", "alice")
    token = reseller(panel)
    assert [ask(token).json()["users"] for _ in range(2)] == [1, 1]
    assert panel.lists == 3


def test_an_api_key_of_scope_read_sees_all() -> None:
    assert ask(create_api_key("reader", "read")[1]).json()["scope"] == "all"


def test_nobody_else_sees_anything(panel: Marzban) -> None:
    assert Client().get(URL).status_code == 401
    assert ask("null").status_code == 401
    assert ask(admin_token("forged")).status_code == 401
    assert ask(create_api_key("reporter", "report")[1]).status_code == 403


def test_a_marzban_that_does_not_list_the_users_is_a_503(panel: Marzban) -> None:
    token = reseller(panel)
    assert ask(token).status_code == 200
    own_users.forget_all()
    panel.reply = Reply(500, b"")
    panel.answer = lambda *_: Reply(500, b"")  # type: ignore[method-assign]
    answer = ask(token)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_list_of_users_without_end_is_given_up(
    panel: Marzban, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_users, "_PATIENCE", -1)
    panel.users = ("alice",)
    assert ask(reseller(panel)).status_code == 503


def test_the_period_is_chosen(panel: Marzban, people: dict[str, Subscriber]) -> None:
    now = timezone.now()
    stored(a_report(now - timedelta(days=5), user_token="token-alice", upload=1000), now=now)
    token = sudo(panel)
    assert ask(token, days="30").json()["upload_bytes"] == 1033
    assert ask(token, days="1").json()["upload_bytes"] == 33
    assert ask(token, days="0").status_code == 400


# --- the hand-over -----------------------------------------------------------------------


def hand_over(panel: Marzban) -> dict[str, Any]:
    return dict(ask(sudo(panel)).json()["hand_over"])


def test_without_a_node_nothing_is_handed_over(panel: Marzban) -> None:
    assert hand_over(panel) == {
        "state": "none",
        "seen_at": None,
        "handed_over_at": None,
        "unknown_bytes": 0,
    }


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "never-connected"),
        ({"seen_at": timezone.now() - timedelta(hours=1)}, "silent"),
        ({"seen_at": timezone.now() + timedelta(hours=1)}, "connected"),
        ({"state": "paused", "seen_at": timezone.now()}, "paused"),
    ],
)
def test_the_state_of_the_node_is_told(panel: Marzban, fields: dict[str, Any], state: str) -> None:
    PanelLink.objects.update(client_certificate="x", **fields)
    assert hand_over(panel)["state"] == state


def test_only_a_sudo_admin_learns_of_lost_bytes(panel: Marzban, link: PanelLink) -> None:
    PanelLink.objects.update(client_certificate="x", handed_over_at=timezone.now())
    baker.make(
        HandOver, link=link, what="users", state="unknown", download=7, made_at=timezone.now()
    )
    assert hand_over(panel)["unknown_bytes"] == 7
    found = ask(reseller(panel)).json()["hand_over"]
    assert found["unknown_bytes"] == 0
    assert found["handed_over_at"]


def test_the_panel_is_linked_when_it_has_a_domain(panel: Marzban, settings: Settings) -> None:
    assert ask(sudo(panel)).json()["panel_url"] == ""
    settings.XPERT_DOMAIN = "your-domain.example"
    assert ask(sudo(panel)).json()["panel_url"] == "https://your-domain.example/admin/"
    assert ask(reseller(panel)).json()["panel_url"] == ""


# --- the script ----------------------------------------------------------------------------


def test_the_script_is_open_to_everybody_and_kept_by_browsers() -> None:
    answer = Client().get(f"{URL}.js")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    again = Client(headers={"if-none-match": answer.headers["ETag"]}).get(f"{URL}.js")
    assert (again.status_code, again.content) == (304, b"")
    assert Client().post(f"{URL}.js").status_code == 405


# --- the sums -------------------------------------------------------------------------------


def test_sums_of_several_subscribers_are_those_of_each(
    people: dict[str, Subscriber],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    ids = [people["alice"].pk, people["carol"].pk]
    with django_assert_num_queries(2):
        found = statistics.of_subscribers(ids, window(now=timezone.now()))
    assert found.by_subscriber == dict.fromkeys(ids, Traffic(11, 102))
    assert [
        (share.server, share.upload, share.download, share.reports) for share in found.servers
    ] == [
        ("vpn.example.com", 20, 200, 2),
        ("b.example", 2, 4, 2),
    ]


def test_sums_of_nobody_are_empty(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        found = statistics.of_subscribers([], window())
    assert (found.servers, found.by_subscriber) == ([], {})

"""The operator's pages: direct configurations, subscription requests, and a subscriber's URL."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries, Settings

from operations.models import AuditEntry
from subscriptions.admin import hits as hits_admin
from subscriptions.models import DirectConfig, Group, SubscriptionHit
from tests.subscriptions.examples import A, B, C, direct, subscriber
from traffic.models import Plan, Subscriber

pytestmark = pytest.mark.django_db

CONFIGS = "/admin/subscriptions/directconfig/"
HITS = "/admin/subscriptions/subscriptionhit/"
SUBSCRIBERS = "/admin/traffic/subscriber/"


def names() -> list[str]:
    return list(DirectConfig.objects.values_list("remarks", flat=True))


def page(browser: Client, path: str, **query: Any) -> str:
    response = browser.get(path, query)
    assert response.status_code == 200
    return response.content.decode()


def clients(shown: str) -> list[str]:
    """The column of apps in the list of requests."""
    return re.findall(r'<td class="field-app [^>]*>(\w*)', shown)


def said(response: Any) -> str:
    """The text of the final page without markup."""
    return html.unescape(response.content.decode())


def hit(person: Subscriber, **fields: Any) -> SubscriptionHit:
    given = {
        "at": timezone.now(),
        "client": "curl",
        "format": "plain",
        "status": 200,
        "milliseconds": 2,
    } | fields
    return SubscriptionHit.objects.create(subscriber=person, **given)


class TestDirectConfigList:
    def test_it_shows_no_link(self, admin_client: Client) -> None:
        direct("trojan://very-secret@a.example:1#A")
        shown = page(admin_client, CONFIGS)
        assert "a.example:1" in shown
        assert "very-secret" not in shown

    def test_an_ipv6_server_is_shown_in_brackets(self, admin_client: Client) -> None:
        direct("trojan://pw@[2001:db8::1]:1")
        assert "[2001:db8::1]:1" in page(admin_client, CONFIGS)

    def test_an_empty_list_says_what_to_do(self, admin_client: Client) -> None:
        assert "paste a whole list" in page(admin_client, CONFIGS)

    def test_more_links_take_no_more_queries(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        direct(*(f"trojan://pw@a.example:{port}" for port in range(1, 51)))
        page(admin_client, CONFIGS)
        with django_assert_num_queries(5):
            page(admin_client, CONFIGS)

    def test_it_counts_what_a_format_cannot_express(self, admin_client: Client) -> None:
        direct(A, "ssr://YS5leGFtcGxlOjE6b3JpZ2luOmFlcy0xMjgtY3RyOnBsYWluOmNIYw")
        shown = html.unescape(page(admin_client, CONFIGS))
        assert "sing-box: 1 of 2 servers can't be expressed and are left out." in shown
        assert "mihomo: " not in shown

    def test_it_says_nothing_when_every_format_has_words_for_all(
        self, admin_client: Client
    ) -> None:
        direct(A, B)
        assert "can't be expressed" not in html.unescape(page(admin_client, CONFIGS))

    def test_position_and_switch_are_edited_in_the_list(self, admin_client: Client) -> None:
        first, second = direct(A, B)
        form = {
            "form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "_save": "Save",
            "form-0-id": first.pk, "form-0-position": "", "form-0-is_active": "on",
            "form-1-id": second.pk, "form-1-position": "2",
        }  # fmt: skip
        admin_client.post(CONFIGS, form)
        assert names() == ["B", "A"]
        assert list(DirectConfig.objects.active()) == [first]

    @pytest.mark.parametrize(("action", "active"), [("switch_on", True), ("switch_off", False)])
    def test_an_action_switches_those_that_are_chosen(
        self, admin_client: Client, action: str, active: bool
    ) -> None:
        first, second = direct(A, B)
        DirectConfig.objects.update(is_active=not active)
        response = admin_client.post(
            CONFIGS, {"action": action, "_selected_action": [first.pk]}, follow=True
        )
        assert "1 link was changed." in said(response)
        assert list(DirectConfig.objects.filter(is_active=active)) == [first]
        assert second.pk


class TestMoving:
    @pytest.mark.parametrize(("way", "order"), [("up", ["B", "A", "C"]), ("down", ["A", "C", "B"])])
    def test_a_button_moves_one_by_one_place(
        self, admin_client: Client, way: str, order: list[str]
    ) -> None:
        middle = direct(A, B, C)[1]
        assert f"{CONFIGS}{middle.pk}/{way}/" in page(admin_client, CONFIGS)
        assert admin_client.post(f"{CONFIGS}{middle.pk}/{way}/").headers["Location"] == CONFIGS
        assert names() == order

    def test_it_leads_back_to_the_list_with_its_filters(self, admin_client: Client) -> None:
        came_from = f"http://testserver{CONFIGS}?is_active__exact=1"
        response = admin_client.post(
            f"{CONFIGS}{direct(A)[0].pk}/up/", headers={"referer": came_from}
        )
        assert response.headers["Location"] == came_from

    def test_it_leads_to_no_other_site(self, admin_client: Client) -> None:
        response = admin_client.post(
            f"{CONFIGS}{direct(A)[0].pk}/up/", headers={"referer": f"https://evil.example{CONFIGS}"}
        )
        assert response.headers["Location"] == CONFIGS

    def test_a_get_moves_nothing(self, admin_client: Client) -> None:
        assert admin_client.get(f"{CONFIGS}{direct(A, B)[1].pk}/up/").status_code == 405
        assert names() == ["A", "B"]

    def test_it_needs_the_permission_to_change(self, staff: Callable[..., Client]) -> None:
        client = staff("view_directconfig")
        assert client.post(f"{CONFIGS}{direct(A, B)[1].pk}/up/").status_code == 403
        assert names() == ["A", "B"]

    def test_an_unknown_id_is_404(self, admin_client: Client) -> None:
        assert admin_client.post(f"{CONFIGS}77/up/").status_code == 404


class TestDirectConfigForm:
    def test_a_link_is_added_at_the_end(self, admin_client: Client) -> None:
        direct(A)
        admin_client.post(
            f"{CONFIGS}add/", {"raw": f" {B}\n", "remarks": "", "is_active": "on", "position": ""}
        )
        config = DirectConfig.objects.get(raw=B)
        assert (config.remarks, config.server, config.position) == ("B", "b.example", 2)

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            ("", "This field is required."),
            ("trojan://", "The link is empty."),
            (f"{B}\n{C}", "The link contains a line break"),
            (A, "This link already exists."),
        ],
    )
    def test_a_bad_link_is_named(self, admin_client: Client, raw: str, reason: str) -> None:
        direct(A)
        response = admin_client.post(f"{CONFIGS}add/", {"raw": raw})
        assert reason in said(response)
        assert names() == ["A"]

    def test_a_changed_link_brings_its_own_name(self, admin_client: Client) -> None:
        config = direct(A)[0]
        shown = page(admin_client, f"{CONFIGS}{config.pk}/change/")
        assert A in html.unescape(shown)
        admin_client.post(
            f"{CONFIGS}{config.pk}/change/",
            {"raw": C, "remarks": "A", "is_active": "on", "position": 1},
        )
        assert names() == ["C"]

    def test_users_who_may_only_view_see_the_link_masked(
        self, staff: Callable[..., Client]
    ) -> None:
        config = direct("trojan://very-secret@a.example:1#A")[0]
        shown = page(staff("view_directconfig"), f"{CONFIGS}{config.pk}/change/")
        assert "troj…" in shown
        assert "very-secret" not in shown


class TestAddMany:
    PATH = f"{CONFIGS}add-many/"

    def test_the_list_leads_to_it(self, admin_client: Client) -> None:
        assert self.PATH in page(admin_client, CONFIGS)
        assert "<textarea" in page(admin_client, self.PATH)

    def test_good_links_are_added_and_noted_in_the_history(self, admin_client: Client) -> None:
        response = admin_client.post(self.PATH, {"links": f"# mine\r\n{A}\r\n\r\n{B}"}, follow=True)
        assert response.redirect_chain == [(CONFIGS, 302)]
        assert "2 links were added." in said(response)
        assert names() == ["A", "B"]
        assert [entry.action for entry in AuditEntry.objects.all()] == ["added", "added"]

    def test_bad_lines_are_named_and_stay_in_the_box(self, admin_client: Client) -> None:
        response = admin_client.post(
            self.PATH, {"links": f"{A}\nnonsense\n{B}\ntrojan://secret@:1"}
        )
        shown = said(response)
        assert "Line 2: no… This is not a link of a known protocol." in shown
        assert "Line 4: troj… The link names no server." in shown
        box = re.search(r"<textarea[^>]*>(.*?)</textarea>", shown, re.DOTALL)
        assert box
        assert box[1].strip().splitlines() == ["nonsense", "trojan://secret@:1"]
        assert names() == ["A", "B"]

    def test_when_none_was_good_nothing_is_noted(self, admin_client: Client) -> None:
        shown = said(admin_client.post(self.PATH, {"links": "nonsense"}))
        assert "0 links were added." in shown
        assert not AuditEntry.objects.exists()

    def test_an_empty_box_asks_for_something(self, admin_client: Client) -> None:
        assert "This field is required." in said(admin_client.post(self.PATH, {"links": " "}))

    def test_it_needs_the_permission_to_add(self, staff: Callable[..., Client]) -> None:
        client = staff("view_directconfig")
        assert client.get(self.PATH).status_code == 403
        assert self.PATH not in page(client, CONFIGS)


class TestHits:
    @pytest.fixture
    def person(self) -> Subscriber:
        return subscriber("secret-token-of-anna", name="Anna")

    def test_the_newest_stand_first_with_the_subscribers_name(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        hit(person, client="curl")
        hit(person, client="happ", address="192.0.2.0")
        shown = page(admin_client, HITS)
        assert clients(shown) == ["happ", "curl"]
        assert "Anna" in shown
        assert "192.0.2.0" in shown
        assert "secret-token" not in shown

    def test_more_hits_take_no_more_queries(
        self,
        admin_client: Client,
        person: Subscriber,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        baker.make(
            SubscriptionHit, subscriber=person, at=timezone.now(), _quantity=60, _bulk_create=True
        )
        page(admin_client, HITS)
        with django_assert_num_queries(4):
            page(admin_client, HITS)

    def test_it_counts_no_further_than_its_bound(
        self, admin_client: Client, person: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hits_admin, "_MOST", 3)
        baker.make(
            SubscriptionHit, subscriber=person, at=timezone.now(), _quantity=5, _bulk_create=True
        )
        monkeypatch.setattr(hits_admin.SubscriptionHitAdmin, "list_per_page", 2)
        assert admin_client.get(HITS).context["cl"].result_count == 3
        assert len(clients(page(admin_client, HITS, p=2))) == 1

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"client": "happ"}, ["happ"]),
            ({"client": "nonsense"}, ["old", "happ", "curl"]),
            ({"status": "304"}, ["curl"]),
            ({"format": "base64"}, ["happ"]),
            ({"since": "day"}, ["happ", "curl"]),
            ({"since": "nonsense"}, ["old", "happ", "curl"]),
        ],
    )
    def test_they_are_filtered(
        self, admin_client: Client, person: Subscriber, query: dict[str, str], found: list[str]
    ) -> None:
        hit(person, client="old", at=timezone.now() - timedelta(days=2))
        hit(person, client="happ", format="base64")
        hit(person, client="curl", status=304)
        assert clients(page(admin_client, HITS, **query)) == found[::-1]

    def test_a_rare_value_is_looked_for_among_the_newest(
        self, admin_client: Client, person: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hits_admin, "_LOOKED_AT", 3)
        for client in ("happ", "curl", "curl", "happ"):
            hit(person, client=client)
        assert len(clients(page(admin_client, HITS, client="happ"))) == 1
        assert (
            len(clients(page(admin_client, HITS, client="happ", subscriber__id__exact=person.pk)))
            == 2
        )

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            ("ann", 1),
            ("БОР", 1),
            ("a(", 0),
            ("secret-tok", 1),
            ("token", 0),
            ("nobody", 0),
            ("  ", 2),
            ("\0", 2),
        ],
    )
    def test_they_are_found_by_name_or_beginning_of_token(
        self, admin_client: Client, person: Subscriber, term: str, found: int
    ) -> None:
        hit(person)
        hit(subscriber("other", name="Борис"))
        assert len(clients(page(admin_client, HITS, q=term))) == found

    @pytest.mark.parametrize(
        ("term", "found"), [("anna-secret-token", 1), ("anna-secret-toke", 0), ("ann", 1)]
    )
    def test_users_who_may_not_see_a_token_cannot_find_it_letter_by_letter(
        self, client: Client, term: str, found: int
    ) -> None:
        hit(subscriber("anna-secret-token", name="Anna"))
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_subscriptionhit"))
        client.force_login(viewer)
        assert len(clients(page(client, HITS, q=term))) == found

    @pytest.mark.parametrize(
        ("permissions", "told"),
        [
            (["view_subscriptionhit"], "Search by the name of a subscriber or a whole token."),
            (
                ["view_subscriptionhit", "change_subscriber"],
                "Search by the name of a subscriber or the beginning of a token.",
            ),
        ],
    )
    def test_the_search_says_what_this_person_finds(
        self, staff: Callable[..., Client], permissions: list[str], told: str
    ) -> None:
        assert f'placeholder="{told}"' in page(staff(*permissions), HITS)

    def test_those_of_one_subscriber_can_be_asked_for(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        hit(person)
        hit(subscriber("other"))
        assert len(clients(page(admin_client, HITS, subscriber__id__exact=person.pk))) == 1

    def test_its_filters_never_count_the_whole_table(self, admin_client: Client) -> None:
        assert "Show counts" not in page(admin_client, HITS)

    def test_none_says_so(self, admin_client: Client) -> None:
        assert "No subscription has been requested yet." in page(admin_client, HITS)

    def test_they_can_be_read_and_nothing_else(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        found = hit(person)
        assert "Anna" in page(admin_client, f"{HITS}{found.pk}/change/")
        assert admin_client.get(f"{HITS}add/").status_code == 403
        assert admin_client.post(f"{HITS}{found.pk}/change/", {"status": 1}).status_code == 403
        assert admin_client.post(f"{HITS}{found.pk}/delete/", {"post": "yes"}).status_code == 403


class TestSubscriber:
    URL = "http://testserver/api/xpert/sub?user_token=anna-secret"

    @pytest.fixture
    def person(self) -> Subscriber:
        return subscriber("anna-secret", name="Anna")

    def test_its_page_has_the_subscription_url_to_copy(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        shown = page(admin_client, f"{SUBSCRIBERS}{person.pk}/usage/")
        assert f'value="{self.URL}" data-copy' in shown
        assert "operations/copy.js" in shown

    def test_its_page_has_the_url_as_a_qr_code(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        shown = page(admin_client, f"{SUBSCRIBERS}{person.pk}/usage/")
        assert "<title>QR code of the subscription URL</title>" in shown
        assert re.search(r'<svg[^>]* viewBox="0 0 (\d+) \1"', shown), (
            "without a view box it would be cut, not scaled"
        )

    def test_its_page_leads_to_the_page_that_the_subscriber_sees(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        shown = html.unescape(page(admin_client, f"{SUBSCRIBERS}{person.pk}/usage/"))
        assert f'href="{self.URL}&format=html"' in shown
        assert (
            admin_client.get(f"{self.URL}&format=html")
            .headers["Content-Type"]
            .startswith("text/html")
        )

    def test_the_form_says_who_sees_the_name(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        assert "The subscriber sees this name on their page" in page(
            admin_client, f"{SUBSCRIBERS}{person.pk}/change/"
        )

    def test_no_url_is_shown_for_a_deleted_subscriber(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        Subscriber.objects.update(hidden_at=timezone.now())
        shown = page(admin_client, f"{SUBSCRIBERS}{person.pk}/usage/")
        assert "Deleted at" in shown
        assert "anna-secret" not in shown

    def test_the_url_follows_the_domain(
        self, admin_client: Client, person: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_DOMAIN = "panel.example.com"
        assert "https://panel.example.com/api/xpert/sub?user_token=anna-secret" in page(
            admin_client, f"{SUBSCRIBERS}{person.pk}/usage/"
        )

    def test_its_page_shows_the_latest_requests(
        self, admin_client: Client, person: Subscriber
    ) -> None:
        for number in range(12):
            hit(person, client=f"app{number:02}")
        hit(subscriber("other"), client="foreign")
        shown = page(admin_client, f"{SUBSCRIBERS}{person.pk}/usage/")
        assert re.findall(r"app\d\d", shown) == [f"app{number:02}" for number in range(11, 1, -1)]
        assert "foreign" not in shown
        assert f"{HITS}?subscriber__id__exact={person.pk}" in html.unescape(shown)

    def test_without_requests_it_says_so(self, admin_client: Client, person: Subscriber) -> None:
        assert "The subscription has not been requested yet." in page(
            admin_client, f"{SUBSCRIBERS}{person.pk}/usage/"
        )

    def test_users_who_may_only_view_see_neither_url_nor_requests(
        self, staff: Callable[..., Client], person: Subscriber
    ) -> None:
        hit(person, client="happ")
        shown = page(staff("view_subscriber"), f"{SUBSCRIBERS}{person.pk}/usage/")
        assert "anna-secret" not in shown
        assert "happ" not in shown

    def test_after_creating_one_the_url_is_shown_to_copy(self, admin_client: Client) -> None:
        form = {"name": "Anna", "token": "anna-secret", "limit_reset": "never", "is_active": "on"}
        response = admin_client.post(f"{SUBSCRIBERS}add/", form | {"_addanother": "1"}, follow=True)
        assert f'value="{self.URL}" data-copy' in said(response)

    def test_the_page_of_one_that_is_not_there_leads_away(self, admin_client: Client) -> None:
        assert admin_client.get(f"{SUBSCRIBERS}77/change/").status_code == 302
        assert admin_client.get(f"{SUBSCRIBERS}77/usage/").status_code == 404

    def test_the_page_for_a_new_one_has_no_url_yet(self, admin_client: Client) -> None:
        assert "data-copy" not in page(admin_client, f"{SUBSCRIBERS}add/")

    def test_the_list_is_the_one_of_traffic(self, admin_client: Client, person: Subscriber) -> None:
        shown = page(admin_client, SUBSCRIBERS)
        assert "Anna" in shown
        assert "anna-secret" not in shown


class TestGroupsOfSubscribers:
    @pytest.fixture
    def groups(self) -> dict[str, Group]:
        """Anna is in both, Boris in one, Carl in none."""
        people = {
            name: subscriber(f"{name}-token", name=name) for name in ("Anna", "Boris", "Carl")
        }
        made = {name: Group.objects.create(name=name) for name in ("gold", "silver")}
        made["gold"].subscribers.add(people["Anna"], people["Boris"])
        made["silver"].subscribers.add(people["Anna"])
        return made

    @pytest.mark.parametrize(
        ("chosen", "found"),
        [
            ("gold", {"Anna", "Boris"}),
            ("silver", {"Anna"}),
            ("none", {"Carl"}),
            ("x", {"Anna", "Boris", "Carl"}),
        ],
    )
    def test_subscribers_are_filtered_by_group(
        self, chosen: str, found: set[str], admin_client: Client, groups: dict[str, Group]
    ) -> None:
        value = groups[chosen].pk if chosen in groups else chosen
        shown = admin_client.get(SUBSCRIBERS, {"group": value}).context["cl"]
        assert {row.name for row in shown.result_list} == found
        assert len(shown.result_list) == len(found)

    def test_the_filter_names_the_groups(
        self, admin_client: Client, groups: dict[str, Group]
    ) -> None:
        assert f'<a href="?group={groups["gold"].pk}">gold</a>' in page(admin_client, SUBSCRIBERS)

    def test_a_plan_chosen_for_a_new_subscriber_gives_its_groups(
        self, admin_client: Client, groups: dict[str, Group]
    ) -> None:
        plan = Plan.objects.create(name="Month", days=30)
        chosen = {"name": "gold", "subscribers": [], "plans": [plan.pk]}
        admin_client.post(f"/admin/subscriptions/group/{groups['gold'].pk}/change/", chosen)
        form = {"name": "Zoe", "token": "zoe-token-123", "plan": plan.pk, "limit_reset": "never"}
        admin_client.post(f"{SUBSCRIBERS}add/", form)
        zoe = Subscriber.objects.get(name="Zoe")
        assert list(groups["gold"].subscribers.all()) == [zoe]

"""The operator's pages about sources, their servers and groups."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from operations.models import AuditEntry
from subscriptions.models import (
    DirectConfig,
    Endpoint,
    EndpointCheck,
    Group,
    Node,
    ProviderUsage,
    Source,
)
from subscriptions.sources import refreshing, trying
from tests.subscriptions.examples import A, B, direct, source, stored, subscriber
from traffic.ledger.recording import record
from traffic.models import Subscriber
from traffic.reports import Report

pytestmark = pytest.mark.django_db

SOURCES = "/admin/subscriptions/source/"
CONFIGS = "/admin/subscriptions/directconfig/"
NODES = "/admin/subscriptions/node/"
GROUPS = "/admin/subscriptions/group/"
NEW = {
    "name": "New",
    "url": "https://new.example/sub?x=1",
    "enabled": "on",
    "priority": "5",
    "interval": "60",
}


def page(browser: Client, path: str, **query: Any) -> str:
    response = browser.get(path, query)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def text(shown: str) -> str:
    """The visible text of a page."""
    return " ".join(shown.replace("\xa0", " ").split())


def _counted() -> CaptureQueriesContext:
    return CaptureQueriesContext(connection)


def checked(at: Node | DirectConfig, *answers: tuple[int, int] | None) -> None:
    """Create checks of the endpoint, ten minutes apart: latency and loss, or no answer."""
    then = datetime(2026, 1, 1, tzinfo=UTC)
    endpoint = Endpoint.objects.create(
        server=at.server, port=at.port, state="up", latency=42, checked_at=then
    )
    for slot, (latency, loss) in enumerate(answer or (None, 100) for answer in answers):
        moment = then + slot * timedelta(minutes=10)
        # The ring has wrapped around, so the order is by time.
        EndpointCheck.objects.create(
            endpoint=endpoint, slot=(slot + 95) % 96, at=moment, latency=latency, loss=loss
        )


@pytest.fixture
def refreshed(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Records the sources that would be fetched in the background."""
    found: list[list[int]] = []
    monkeypatch.setattr(refreshing, "refresh_soon", found.append)
    return found


class TestSources:
    def test_the_list_shows_no_url(self, admin_client: Client) -> None:
        source()
        shown = page(admin_client, SOURCES)
        assert "provider" in shown
        assert "very-secret" not in shown

    def test_users_who_may_only_view_do_not_see_the_url_either(
        self, staff: Callable[..., Client]
    ) -> None:
        it = source()
        shown = page(staff("view_source"), f"{SOURCES}{it.pk}/change/")
        assert "very-secret" not in shown
        assert "http…" in shown

    def test_users_who_may_change_it_see_it_whole(self, staff: Callable[..., Client]) -> None:
        it = source()
        assert "very-secret" in page(
            staff("view_source", "change_source"), f"{SOURCES}{it.pk}/change/"
        )

    def test_an_error_is_said_in_words(self, admin_client: Client) -> None:
        source(last_error="html", failures=3)
        shown = page(admin_client, SOURCES)
        assert "failed 3 times" in shown
        assert "The answer is a web page, not a list" in shown

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({}, "not fetched yet"),
            ({"enabled": False}, "switched off"),
            ({"last_success": timezone.now()}, "fine"),
            ({"claimed_until": timezone.now() + timedelta(hours=9)}, "being fetched"),
        ],
    )
    def test_its_state_is_said(
        self, admin_client: Client, fields: dict[str, Any], said: str
    ) -> None:
        source(**fields)
        assert said in page(admin_client, SOURCES)

    def test_the_providers_quota_is_shown_as_the_bill_that_it_is(
        self, admin_client: Client
    ) -> None:
        expire = int((timezone.now() + timedelta(days=9, hours=1)).timestamp())
        source(
            provider_upload=0,
            provider_download=412 * 2**30,
            provider_total=500 * 2**30,
            provider_expire=expire,
        )
        shown = text(page(admin_client, SOURCES))
        assert "412" in shown
        assert "500" in shown
        assert "expires in 9 days" in shown

    def test_a_quota_that_has_ended_is_expired(self, admin_client: Client) -> None:
        source(provider_download=1, provider_expire=1)
        assert "expired" in page(admin_client, SOURCES)

    def test_it_may_be_the_account_of_one_subscriber(self, admin_client: Client) -> None:
        ann = subscriber("ann", name="Ann Smith")
        admin_client.post(f"{SOURCES}add/", NEW | {"subscriber": ann.pk})
        it = Source.objects.get()
        assert it.subscriber == ann
        assert "Ann Smith" in page(admin_client, SOURCES)
        assert "Ann Smith" in page(admin_client, f"{SOURCES}{it.pk}/change/")

    def test_an_account_of_one_subscriber_has_no_groups(self, admin_client: Client) -> None:
        fields = {"subscriber": subscriber().pk, "groups": [Group.objects.create(name="VIP").pk]}
        response = admin_client.post(f"{SOURCES}add/", NEW | fields)
        assert "The account of one subscriber has no groups." in response.content.decode()
        assert not Source.objects.exists()

    def test_its_page_compares_what_the_provider_counts_with_what_was_reported(
        self, admin_client: Client
    ) -> None:
        it = source()
        stored(it, A)
        path = f"{SOURCES}{it.pk}/change/"
        assert "the provider must send Subscription-Userinfo at least twice" in page(
            admin_client, path
        )
        ProviderUsage.objects.create(source=it, day=timezone.now().date(), download=4 * 2**30)
        ann = subscriber()
        report = Report(
            ann.token, "a.example", 1, "trojan", 0, 2**30, int(timezone.now().timestamp())
        )
        record([report], timezone.now())
        shown = text(page(admin_client, path))
        assert "4.00 GB" in shown
        assert "25 %" in shown

    def test_the_page_of_an_own_account_shows_the_provider_alone(
        self, admin_client: Client
    ) -> None:
        it = source(subscriber=subscriber())
        ProviderUsage.objects.create(source=it, day=timezone.now().date(), download=4 * 2**30)
        shown = text(page(admin_client, f"{SOURCES}{it.pk}/change/"))
        assert "4.00 GB" in shown
        assert "Reported by subscribers" not in shown

    def test_a_new_one_is_added(self, admin_client: Client) -> None:
        vip = Group.objects.create(name="VIP")
        response = admin_client.post(f"{SOURCES}add/", NEW | {"groups": [vip.pk]})
        assert response.status_code == 302
        it = Source.objects.get()
        assert (it.url, it.priority, list(it.groups.all())) == (NEW["url"], 5, [vip])

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://new.example/", "Plain http is not allowed"),
            ("https://127.0.0.1/", "An IP address instead of a name"),
            ("nonsense", "must begin with https://"),
        ],
    )
    def test_a_url_that_may_not_be_fetched_is_not_saved(
        self, admin_client: Client, url: str, said: str
    ) -> None:
        response = admin_client.post(f"{SOURCES}add/", NEW | {"url": url})
        assert said in html.unescape(response.content.decode())
        assert not Source.objects.exists()

    def test_a_private_url_may_be_saved_for_a_source_inside_the_network(
        self, admin_client: Client
    ) -> None:
        admin_client.post(
            f"{SOURCES}add/", NEW | {"url": "http://10.0.0.5:3000/", "allow_private": "on"}
        )
        assert Source.objects.get().allow_private

    def test_another_url_forgets_what_was_learned_of_the_old_one(
        self, admin_client: Client
    ) -> None:
        it = source(etag='"1"')
        admin_client.post(f"{SOURCES}{it.pk}/change/", NEW | {"url": it.url})
        it.refresh_from_db()
        assert it.etag == '"1"'
        admin_client.post(f"{SOURCES}{it.pk}/change/", NEW)
        it.refresh_from_db()
        assert it.etag == ""

    def test_one_may_be_refreshed_at_once(
        self, admin_client: Client, refreshed: list[list[int]]
    ) -> None:
        it = source()
        assert f"{SOURCES}{it.pk}/refresh/" in page(admin_client, SOURCES)
        response = admin_client.post(f"{SOURCES}{it.pk}/refresh/", follow=True)
        assert "1 source is being fetched" in response.content.decode()
        assert refreshed == [[it.pk]]

    def test_several_may_be_refreshed_at_once(
        self, admin_client: Client, refreshed: list[list[int]]
    ) -> None:
        pks = [source("a").pk, source("b").pk]
        admin_client.post(SOURCES, {"action": "refresh_now", "_selected_action": pks})
        assert [sorted(found) for found in refreshed] == [pks]

    def test_a_get_refreshes_nothing(
        self, admin_client: Client, refreshed: list[list[int]]
    ) -> None:
        assert admin_client.get(f"{SOURCES}{source().pk}/refresh/").status_code == 405
        assert refreshed == []

    def test_users_who_may_only_view_may_not_refresh(
        self, staff: Callable[..., Client], refreshed: list[list[int]]
    ) -> None:
        assert staff("view_source").post(f"{SOURCES}{source().pk}/refresh/").status_code == 403
        assert refreshed == []

    @pytest.mark.parametrize(("action", "enabled"), [("switch_on", True), ("switch_off", False)])
    def test_several_are_switched_at_once(
        self, admin_client: Client, action: str, enabled: bool
    ) -> None:
        it, other = source("it", enabled=not enabled), source("other", enabled=not enabled)
        admin_client.post(SOURCES, {"action": action, "_selected_action": [it.pk]})
        it.refresh_from_db()
        other.refresh_from_db()
        assert (it.enabled, other.enabled) == (enabled, not enabled)

    def test_fifty_take_as_many_queries_as_one(self, admin_client: Client) -> None:
        source("first")
        with _counted() as one:
            page(admin_client, SOURCES)
        for number in range(49):
            stored(source(f"s{number}"), A)
        with _counted() as many:
            page(admin_client, SOURCES)
        assert len(many) == len(one)


class TestNodes:
    def test_the_list_shows_state_latency_and_since_when(self, admin_client: Client) -> None:
        stored(source(), A, B, "hysteria2://pw@u.example:1#H", "trojan://pw@c.example:3#C")
        now = timezone.now()
        Endpoint.objects.create(
            server="a.example", port=1, state="up", latency=42, loss=33, checked_at=now
        )
        Endpoint.objects.create(
            server="b.example", port=2, state="down", down_since=now, loss=100, checked_at=now
        )
        shown = text(page(admin_client, NODES))
        for said in ("42 ms, −33 %", "down", f"{now:%Y-%m-%d}", "UDP, not checked", "not checked"):
            assert said in shown

    def test_a_private_one_is_said_to_be_private(self, admin_client: Client) -> None:
        stored(source(allow_private=True), "trojan://pw@10.0.0.7:1#A")
        assert "private, not checked" in page(admin_client, NODES)

    def test_its_page_draws_and_tells_the_last_checks(self, admin_client: Client) -> None:
        (node,) = stored(source(), A)
        checked(node, None, (42, 33), (57, 0))
        shown = text(page(admin_client, f"{NODES}{node.pk}/change/"))
        assert "Checks answered: 2 of 3. Times are in UTC." in shown
        notes = re.findall(r"<title>([^<]+)</title><rect", shown)
        assert notes == [
            "2026-01-01 00:00: no answer",
            "2026-01-01 00:10: 42 ms, −33 %",
            "2026-01-01 00:20: 57 ms",
        ]
        told = re.findall(r"<td>\s*(?:<bdi[^>]*>)?([^<]+?)(?:</bdi>)?\s*</td>", shown)
        assert told == ["57 ms", "42 ms, −33 %", "no answer"]

    def test_without_checks_its_page_draws_none(self, admin_client: Client) -> None:
        (node,) = stored(source(), A)
        assert "Last checks" not in page(admin_client, f"{NODES}{node.pk}/change/")

    def test_links_are_masked(self, admin_client: Client) -> None:
        (node,) = stored(source(), "trojan://very-secret@a.example:1#A")
        assert "very-secret" not in page(admin_client, NODES) + page(
            admin_client, f"{NODES}{node.pk}/change/"
        )

    def test_a_hostile_name_is_text(self, admin_client: Client) -> None:
        stored(source(), "trojan://pw@a.example:1#%3Cscript%3Ealert(1)%3C/script%3E")
        assert b"<script>alert(1)" not in admin_client.get(NODES).content

    def test_a_server_is_switched_off(self, admin_client: Client) -> None:
        one, two = stored(source(), A, B)
        admin_client.post(NODES, {"action": "switch_off", "_selected_action": [one.pk]})
        assert list(Node.objects.filter(is_enabled=True)) == [two]
        admin_client.post(NODES, {"action": "switch_on", "_selected_action": [one.pk]})
        assert Node.objects.filter(is_enabled=True).count() == 2

    def test_a_server_is_limited_to_a_group(self, admin_client: Client) -> None:
        (node,) = stored(source(), A)
        vip = Group.objects.create(name="VIP")
        admin_client.post(f"{NODES}{node.pk}/change/", {"is_enabled": "on", "groups": [vip.pk]})
        assert list(node.groups.all()) == [vip]
        node.refresh_from_db()
        assert node.raw == A

    def test_nobody_adds_or_deletes_one_by_hand(self, admin_client: Client) -> None:
        (node,) = stored(source(), A)
        assert admin_client.get(f"{NODES}add/").status_code == 403
        assert admin_client.post(f"{NODES}{node.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_they_are_found_by_name_and_by_source(self, admin_client: Client) -> None:
        it = source("it")
        stored(it, A)
        stored(source("other"), B)
        assert "b.example" not in page(admin_client, NODES, q="a.example")
        assert "b.example" not in page(admin_client, NODES, source__id__exact=it.pk)

    def test_a_hundred_take_as_many_queries_as_one(self, admin_client: Client) -> None:
        it = source()
        stored(it, A)
        with _counted() as one:
            page(admin_client, NODES)
        stored(it, *(f"trojan://pw@s{number}.example:1" for number in range(90)))
        with _counted() as many:
            page(admin_client, NODES)
        assert len(many) == len(one)


class TestDirectConfigurations:
    def test_reachability_is_shown(self, admin_client: Client) -> None:
        up, down, *_ = direct(
            A,
            B,
            "hysteria2://pw@u.example:1#H",
            "trojan://pw@10.0.0.7:3#P",
            "trojan://pw@d.example:3#D",
        )
        now = timezone.now()
        Endpoint.objects.create(
            server=up.server, port=up.port, state="up", latency=42, loss=33, checked_at=now
        )
        Endpoint.objects.create(
            server=down.server, port=down.port, state="down", down_since=now, checked_at=now
        )
        shown = text(page(admin_client, CONFIGS))
        states = re.findall(r'<td class="field-state[^>]*>(?:<span[^>]*>)?([^<]+)', shown)
        assert states == ["up", "down", "UDP, not checked", "private, not checked", "not checked"]
        assert "42 ms, −33 %" in shown

    def test_its_page_draws_the_last_checks(self, admin_client: Client) -> None:
        (config,) = direct(A)
        checked(config, (57, 0), None)
        assert "Checks answered: 1 of 2." in page(admin_client, f"{CONFIGS}{config.pk}/change/")

    def test_no_chart_is_drawn_for_a_server_over_udp(self, admin_client: Client) -> None:
        (config,) = direct("hysteria2://pw@u.example:1#H")
        checked(config, None)
        assert "Last checks" not in page(admin_client, f"{CONFIGS}{config.pk}/change/")

    def test_ninety_take_as_many_queries_as_one(self, admin_client: Client) -> None:
        direct(A)
        with _counted() as one:
            page(admin_client, CONFIGS)
        direct(*(f"trojan://pw@s{number}.example:1" for number in range(90)))
        with _counted() as many:
            page(admin_client, CONFIGS)
        assert len(many) == len(one)


class TestGroups:
    def test_a_group_is_made_with_its_subscribers(self, admin_client: Client) -> None:
        person = subscriber(name="Anna")
        admin_client.post(f"{GROUPS}add/", {"name": "VIP", "subscribers": [person.pk]})
        assert list(Group.objects.get().subscribers.all()) == [person]
        assert "VIP" in page(admin_client, GROUPS)

    def test_a_group_may_have_thousands(self, admin_client: Client) -> None:
        people = Subscriber.objects.bulk_create(
            Subscriber(name=f"user{number}") for number in range(2000)
        )
        admin_client.post(
            f"{GROUPS}add/", {"name": "VIP", "subscribers": [person.pk for person in people]}
        )
        assert Group.objects.get().subscribers.count() == 2000

    def test_a_direct_configuration_is_limited_to_one(self, admin_client: Client) -> None:
        (config,) = direct(A)
        vip = Group.objects.create(name="VIP")
        path = f"/admin/subscriptions/directconfig/{config.pk}/change/"
        admin_client.post(
            path, {"raw": A, "remarks": "", "is_active": "on", "position": "1", "groups": [vip.pk]}
        )
        assert list(DirectConfig.objects.get().groups.all()) == [vip]


def test_a_switch_stands_in_the_history(admin_client: Client) -> None:
    it = source()
    (node,), (config,) = stored(it, A), direct(B)
    for path, found in ((SOURCES, it), (NODES, node), (CONFIGS, config)):
        admin_client.post(path, {"action": "switch_off", "_selected_action": [found.pk]})
        assert "Switched off" in page(admin_client, f"{path}{found.pk}/history/")


@pytest.mark.parametrize(
    ("path", "lookup"), [(SOURCES, "url__startswith"), (NODES, "raw__contains")]
)
def test_a_secret_cannot_be_found_out_by_a_filter_typed_by_hand(
    admin_client: Client, path: str, lookup: str
) -> None:
    answer = admin_client.get(path, {lookup: "https"})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{path}?e=1")


class TestDeletingGroups:
    def test_a_group_that_limits_something_cannot_be_deleted(self, admin_client: Client) -> None:
        group, it = Group.objects.create(name="VIP"), source("for the few")
        it.groups.add(group)
        answer = admin_client.get(f"{GROUPS}{group.pk}/delete/")
        assert "for the few" in answer.content.decode()
        admin_client.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"})
        admin_client.post(
            GROUPS, {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
        )
        assert Group.objects.filter(pk=group.pk).exists()

    def test_it_goes_once_another_group_has_it_too(self, admin_client: Client) -> None:
        group, it = Group.objects.create(name="VIP"), source("for the few")
        it.groups.set([group, Group.objects.create(name="others")])
        admin_client.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"})
        assert not Group.objects.filter(pk=group.pk).exists()


def test_rules_of_a_source_are_saved_and_have_it_fetched_again(admin_client: Client) -> None:
    it = source(etag='"1"', next_fetch=timezone.now())
    rules = {"keep": "DE", "drop": "x2", "rename": "a => b", "prefix": "P", "flags": "on"}
    admin_client.post(f"{SOURCES}{it.pk}/change/", NEW | rules)
    it.refresh_from_db()
    assert (it.keep, it.drop, it.rename, it.prefix, it.flags) == ("DE", "x2", "a => b", "P", True)
    assert (it.etag, it.next_fetch) == ("", None)


def test_a_bad_rule_stays_in_the_form_with_its_place(admin_client: Client) -> None:
    response = admin_client.post(f"{SOURCES}add/", NEW | {"keep": "DE(", "rename": "a => b\nc"})
    assert "Line 1, character 3: this is not a regular expression." in response.content.decode()
    assert not Source.objects.exists()


class TestTryingOut:
    @pytest.fixture(autouse=True)
    def tried(self, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
        """Those that were tried; each gives three rows."""
        found: list[Source] = []

        def try_out(it: Source) -> trying.Trial:
            found.append(it)
            return trying.Trial(
                "",
                [trying.Row("A", "Alpha"), trying.Row("B", "B"), trying.Row("C", code="dropped")],
            )

        monkeypatch.setattr(trying, "try_out", try_out)
        return found

    def test_a_new_source_is_shown_and_not_saved(
        self, admin_client: Client, tried: list[Source]
    ) -> None:
        response = admin_client.post(f"{SOURCES}add/", NEW | {"_try": "1", "drop": "c"})
        shown = text(html.unescape(response.content.decode()))
        assert "Taken: 2, renamed: 1, left out: 1." in shown
        assert "The name matches “leave out”." in shown
        assert 'value="https://new.example/sub?x=1"' in shown
        assert (tried[0].url, tried[0].drop) == (NEW["url"], "c")
        assert not Source.objects.exists()

    def test_a_stored_source_stays_as_it_was(self, admin_client: Client) -> None:
        it = source()
        admin_client.post(f"{SOURCES}{it.pk}/change/", NEW | {"_try": "1"})
        it.refresh_from_db()
        assert (it.name, AuditEntry.objects.count()) == ("provider", 0)

    def test_a_form_with_errors_is_not_fetched(
        self, admin_client: Client, tried: list[Source]
    ) -> None:
        response = admin_client.post(f"{SOURCES}add/", NEW | {"_try": "1", "keep": "("})
        assert "this is not a regular expression" in response.content.decode()
        assert tried == []

    def test_users_who_may_not_save_it_may_not_try_it(
        self, staff: Callable[..., Client], tried: list[Source]
    ) -> None:
        viewer, it = staff("subscriptions.view_source"), source()
        path = f"{SOURCES}{it.pk}/change/"
        assert viewer.post(path, NEW | {"_try": "1"}).status_code == 403
        assert viewer.post(f"{SOURCES}add/", NEW | {"_try": "1"}).status_code == 403
        assert tried == []
        assert "xp-trial" not in viewer.get(path).content.decode()

    def test_a_source_that_is_gone_is_not_tried(
        self, admin_client: Client, tried: list[Source]
    ) -> None:
        admin_client.post(f"{SOURCES}999/change/", NEW | {"_try": "1"})
        assert tried == []

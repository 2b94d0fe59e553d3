"""``GET /api/xpert/sub`` and ``/api/xpert/direct-configs/sub``."""

import base64
import json
import re
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import pytest
import yaml
from django.db import InterfaceError, OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from subscriptions.direct_configs import store
from subscriptions.models import DirectConfig
from subscriptions.serving import catalogue
from tests.subscriptions.examples import DIRECT, SUB, A, B, ask, direct, subscriber, use
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

VPN_APP = {"user-agent": "HiddifyNext/4.1.0"}
GUIDE = {
    "Profile-Update-Interval": "1",
    "Subscription-Userinfo": "upload=64000000; download=128000000; total=192000000; expire=0",
    "Profile-Title": "Xpert Panel",
    "Traffic-Webhook": "https://your-domain.com/api/xpert/traffic-webhook",
    "User-Token": "user123",
}


@pytest.fixture
def person() -> Subscriber:
    return subscriber()


@pytest.fixture
def links() -> list[DirectConfig]:
    return direct(A, B)


class TestTheGuide:
    @pytest.fixture(autouse=True)
    def used(self, settings: Settings, person: Subscriber) -> None:
        settings.XPERT_DOMAIN = "your-domain.com"
        settings.XPERT_OPEN_ACCESS = True
        use(person, 64000000, 128000000)

    def test_the_headers_are_those_of_the_guide(self) -> None:
        response = ask()
        assert response.status_code == 200
        assert {name: response.headers[name] for name in GUIDE} == GUIDE
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"

    def test_the_direct_list_has_a_title_of_its_own(self) -> None:
        response = ask(path=DIRECT)
        assert {name: response.headers[name] for name in GUIDE} == GUIDE | {
            "Profile-Title": "Xpert Direct"
        }

    def test_a_304_carries_them_but_no_content_type(self) -> None:
        response = ask(headers={"if-none-match": ask().headers["ETag"]})
        assert response.status_code == 304
        assert response.content == b""
        assert {name: response.headers[name] for name in GUIDE} == GUIDE
        assert "Content-Type" not in response.headers

    def test_head_answers_with_the_same_headers_and_no_body(
        self, links: list[DirectConfig]
    ) -> None:
        got, head = (
            ask(),
            Client(headers={"host": "127.0.0.1:8000"}).head(SUB, {"user_token": "user123"}),
        )
        del got.headers["X-Request-Id"], head.headers["X-Request-Id"]
        assert head.headers == got.headers
        assert head.content == b""
        assert head.headers["Content-Length"] == str(len(f"{A}\n{B}\n"))


class TestBody:
    @pytest.mark.parametrize("path", [SUB, f"{SUB}/", DIRECT, f"{DIRECT}/"])
    def test_it_is_one_link_a_line(
        self, person: Subscriber, links: list[DirectConfig], path: str
    ) -> None:
        assert ask(path=path).content.decode() == f"{A}\n{B}\n"

    @pytest.mark.parametrize("name", ["plain", "universal"])
    def test_plain_is_plain(self, person: Subscriber, links: list[DirectConfig], name: str) -> None:
        assert ask(format=name).content.decode() == f"{A}\n{B}\n"

    def test_base64_is_base64(self, person: Subscriber, links: list[DirectConfig]) -> None:
        response = ask(format="base64")
        assert base64.b64decode(response.content, validate=True).decode() == f"{A}\n{B}\n"
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize("name", ["nonsense", "html\0", "Mihomo"])
    def test_any_other_format_is_refused_by_name(self, person: Subscriber, name: str) -> None:
        response = ask(format=name)
        assert response.status_code == 400
        assert list(response.json()) == ["format"]

    @pytest.mark.parametrize("name", ["mihomo", "clash"])
    def test_mihomo_is_yaml(self, person: Subscriber, links: list[DirectConfig], name: str) -> None:
        response = ask(format=name)
        assert response.headers["Content-Type"] == "text/yaml; charset=utf-8"
        assert [proxy["server"] for proxy in yaml.safe_load(response.content)["proxies"]] == [
            "a.example",
            "b.example",
        ]

    @pytest.mark.parametrize("name", ["sing-box", "xray"])
    def test_the_other_cores_get_json(
        self, person: Subscriber, links: list[DirectConfig], name: str
    ) -> None:
        response = ask(format=name)
        assert response.headers["Content-Type"] == "application/json"
        assert {"a.example", "b.example"} <= set(
            re.findall(r"\w\.example", json.dumps(response.json()))
        )

    @pytest.mark.parametrize(
        ("agent", "kind"),
        [
            ("clash.meta/v1.19", "text/yaml; charset=utf-8"),
            ("SFA/1.14.4", "application/json"),
            (
                "HiddifyNext/4.1.0 (android) like ClashMeta v2ray sing-box",
                "text/plain; charset=utf-8",
            ),
            ("curl/8.5.0", "text/plain; charset=utf-8"),
            ("python-requests/2.34.2", "text/plain; charset=utf-8"),
            ("", "text/plain; charset=utf-8"),
        ],
    )
    def test_without_a_format_the_app_decides(
        self, person: Subscriber, links: list[DirectConfig], agent: str, kind: str
    ) -> None:
        assert ask(headers={"user-agent": agent}).headers["Content-Type"] == kind

    def test_a_format_that_is_asked_for_beats_the_app(
        self, person: Subscriber, links: list[DirectConfig]
    ) -> None:
        response = ask(headers={"user-agent": "clash.meta/v1.19"}, format="plain")
        assert response.content.decode() == f"{A}\n{B}\n"

    def test_without_links_it_is_empty(self, person: Subscriber) -> None:
        response = ask()
        assert (response.status_code, response.content) == (200, b"")

    def test_it_shows_a_change_at_once(self, person: Subscriber, links: list[DirectConfig]) -> None:
        ask()
        store(links[0], A, "new")
        assert ask().content.decode() == f"trojan://pw@a.example:1#new\n{B}\n"


class TestSubscriptionUserinfo:
    def test_an_app_that_reads_total_as_a_quota_gets_0_for_unlimited(
        self, person: Subscriber
    ) -> None:
        use(person, 1, 2)
        assert (
            ask(headers=VPN_APP).headers["Subscription-Userinfo"]
            == "upload=1; download=2; total=0; expire=0"
        )

    def test_any_other_client_gets_the_sum(self, person: Subscriber) -> None:
        use(person, 1, 2)
        assert ask().headers["Subscription-Userinfo"] == "upload=1; download=2; total=3; expire=0"

    @pytest.mark.parametrize(("mode", "agent", "total"), [("used", VPN_APP, 3), ("quota", {}, 0)])
    def test_a_setting_forces_one(
        self, settings: Settings, person: Subscriber, mode: str, agent: dict[str, str], total: int
    ) -> None:
        settings.XPERT_USERINFO_TOTAL = mode
        use(person, 1, 2)
        assert f"total={total};" in ask(headers=agent).headers["Subscription-Userinfo"]

    @pytest.mark.parametrize("agent", [VPN_APP, {}])
    def test_a_data_limit_is_the_total_for_everybody(self, agent: dict[str, str]) -> None:
        subscriber(data_limit=1000)
        assert (
            ask(headers=agent).headers["Subscription-Userinfo"]
            == "upload=0; download=0; total=1000; expire=0"
        )

    @pytest.mark.parametrize("agent", ["Happ/3.1.3", "NekoBox/Android/1.4.2", "Throne/1.0.5"])
    def test_apps_that_would_show_1970_for_never_get_a_far_moment(
        self, person: Subscriber, agent: str
    ) -> None:
        found = ask(headers={"User-Agent": agent}).headers["Subscription-Userinfo"]
        assert found == "upload=0; download=0; total=0; expire=4102444800"

    def test_an_end_is_the_same_for_every_app(self) -> None:
        subscriber(
            expires_at=datetime.fromtimestamp(2_000_000_000, tz=timezone.get_default_timezone())
        )
        found = ask(headers={"User-Agent": "Happ/3.1.3"}).headers["Subscription-Userinfo"]
        assert found.endswith("expire=2000000000")

    def test_expire_is_unix_seconds(self) -> None:
        subscriber(
            expires_at=datetime.fromtimestamp(4102444800, tz=timezone.get_default_timezone())
        )
        assert ask().headers["Subscription-Userinfo"].endswith("expire=4102444800")


class TestOtherHeaders:
    def test_the_profile_has_a_name_in_content_disposition(self, person: Subscriber) -> None:
        assert ask(path=DIRECT).headers["Content-Disposition"] == (
            "attachment; filename=\"Xpert Direct\"; filename*=UTF-8''Xpert%20Direct"
        )

    def test_headers_keep_it_out_of_caches_and_search_engines(self, person: Subscriber) -> None:
        headers = ask().headers
        assert headers["Cache-Control"] == "private"
        assert headers["X-Robots-Tag"] == "noindex"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert {"User-Agent", "Accept"} <= set(headers["Vary"].split(", "))

    def test_links_to_pages_are_sent_when_set(self, settings: Settings, person: Subscriber) -> None:
        settings.XPERT_SUPPORT_URL = "tg://resolve?domain=me"
        settings.XPERT_PROFILE_WEB_PAGE_URL = "https://example.com/"
        headers = ask().headers
        assert headers["Support-Url"] == "tg://resolve?domain=me"
        assert headers["Profile-Web-Page-Url"] == "https://example.com/"

    def test_links_to_pages_are_not_sent_when_not_set(self, person: Subscriber) -> None:
        assert not {"Support-Url", "Profile-Web-Page-Url"} & set(ask().headers)

    def test_without_a_domain_the_webhook_is_where_the_request_came_to(
        self, person: Subscriber
    ) -> None:
        assert ask().headers["Traffic-Webhook"] == "http://127.0.0.1:8000/api/xpert/traffic-webhook"

    def test_the_etag_changes_with_the_body(
        self, person: Subscriber, links: list[DirectConfig]
    ) -> None:
        before = ask().headers["ETag"]
        links[0].delete()
        assert ask().headers["ETag"] != before

    def test_an_etag_of_another_format_does_not_match(
        self, person: Subscriber, links: list[DirectConfig]
    ) -> None:
        assert (
            ask(format="base64", headers={"if-none-match": ask().headers["ETag"]}).status_code
            == 200
        )

    @pytest.mark.parametrize("sent", ["*", 'W/"x", {tag}', "W/{tag}"])
    def test_a_304_is_given_for_lists_weak_tags_and_the_star(
        self, person: Subscriber, sent: str
    ) -> None:
        response = ask(headers={"if-none-match": sent.replace("{tag}", ask().headers["ETag"])})
        assert response.status_code == 304
        assert {"ETag", "Vary", "Cache-Control"} <= set(response.headers)


class TestWhoGetsNoServers:
    @pytest.mark.parametrize(
        ("fields", "language", "text"),
        [
            ({"is_active": False}, "en", "⛔ Subscription is disabled"),
            ({"expires_at": timezone.now() - timedelta(seconds=1)}, "ru", "⛔ Срок подписки истёк"),
            ({"data_limit": 3}, "fa", "⛔ حجم مجاز تمام شده است"),
        ],
    )
    @pytest.mark.parametrize("path", [SUB, DIRECT])
    @pytest.mark.parametrize("open_access", [True, False])
    def test_one_pseudo_link_says_why(
        self,
        settings: Settings,
        links: list[DirectConfig],
        fields: dict[str, Any],
        language: str,
        text: str,
        path: str,
        open_access: bool,
    ) -> None:
        settings.XPERT_OPEN_ACCESS = open_access
        settings.XPERT_LANGUAGE = language
        use(subscriber(**fields), 1, 2)
        response = ask(path=path)
        assert response.status_code == 200
        assert unquote(response.content.decode()) == (
            f"vless://00000000-0000-0000-0000-000000000000@127.0.0.1:1?encryption=none&security=none&type=tcp#{text}\n"
        )

    def test_the_pseudo_link_comes_in_base64_too(self, links: list[DirectConfig]) -> None:
        subscriber(is_active=False)
        assert base64.b64decode(ask(format="base64").content).startswith(b"vless://00000000-")

    @pytest.mark.parametrize("name", ["mihomo", "sing-box", "xray"])
    def test_every_format_says_why(self, links: list[DirectConfig], name: str) -> None:
        subscriber(is_active=False)
        body = ask(format=name).content.decode()
        assert "⛔ Subscription is disabled" in body
        assert "a.example" not in body

    def test_one_byte_below_the_limit_is_served(self, links: list[DirectConfig]) -> None:
        use(subscriber(data_limit=4), 1, 2)
        assert ask().content.decode() == f"{A}\n{B}\n"

    def test_a_new_period_opens_the_subscription_again(self, links: list[DirectConfig]) -> None:
        person = subscriber(data_limit=3, limit_reset="daily")
        use(person, 1, 2)
        with patch(
            "subscriptions.serving.views.timezone.now",
            return_value=timezone.now() + timedelta(days=1),
        ):
            assert ask().content.decode() == f"{A}\n{B}\n"


class TestTokens:
    @pytest.mark.parametrize(
        "token", ["nobody", "", "a b", "a\0b", "ü", "x" * 5000, "global", "a/b", "'\"<"]
    )
    @pytest.mark.parametrize("path", [SUB, DIRECT])
    def test_an_unknown_or_ill_formed_one_is_404_with_an_empty_body(
        self, token: str, path: str
    ) -> None:
        response = ask(token, path)
        assert (response.status_code, response.content) == (404, b"")
        assert not Subscriber.objects.exists()

    def test_a_missing_one_is_404(self) -> None:
        assert Client().get(SUB).status_code == 404

    def test_a_deleted_subscriber_is_404(self) -> None:
        subscriber(hidden_at=timezone.now())
        assert ask().status_code == 404

    def test_open_access_makes_a_subscriber_on_first_use(self, settings: Settings) -> None:
        settings.XPERT_OPEN_ACCESS = True
        assert ask("newcomer").headers["User-Token"] == "newcomer"
        assert Subscriber.objects.get().token == "newcomer"

    def test_open_access_does_not_bring_back_a_deleted_subscriber(self, settings: Settings) -> None:
        settings.XPERT_OPEN_ACCESS = True
        subscriber(hidden_at=timezone.now())
        assert ask().status_code == 404

    @pytest.mark.parametrize("token", ["", "a\0b", "ü", "x" * 256])
    def test_open_access_creates_no_subscriber_for_a_malformed_token(
        self, settings: Settings, token: str
    ) -> None:
        settings.XPERT_OPEN_ACCESS = True
        response = ask(token)
        assert (response.status_code, response.content) == (404, b"")
        assert not Subscriber.objects.exists()

    def test_a_token_that_is_not_utf8_is_404(self) -> None:
        assert Client().get(f"{SUB}?user_token=%ff%fe&format=%00").status_code == 404


class TestMethods:
    @pytest.mark.parametrize(
        "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"]
    )
    @pytest.mark.parametrize("path", [SUB, DIRECT])
    def test_other_methods_are_405_and_list_the_allowed_ones(self, method: str, path: str) -> None:
        response = Client(enforce_csrf_checks=True).generic(method, path)
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert response.json() == {"detail": f'Method "{method}" not allowed.'}


class TestLimits:
    def test_a_token_over_its_rate_is_429_with_the_seconds_to_wait(
        self, settings: Settings, person: Subscriber
    ) -> None:
        settings.XPERT_RATE_SUBSCRIPTIONS = "2/min"
        assert [ask().status_code for _ in range(3)] == [200, 200, 429]
        response = ask()
        assert 1 <= int(response.headers["Retry-After"]) <= 120
        assert list(response.json()) == ["detail"]

    def test_a_tokens_rate_does_not_touch_another_token(
        self, settings: Settings, person: Subscriber
    ) -> None:
        settings.XPERT_RATE_SUBSCRIPTIONS = "1/min"
        subscriber("other")
        assert [ask().status_code, ask("other").status_code] == [200, 200]

    def test_an_address_over_its_rate_is_429(self, settings: Settings, person: Subscriber) -> None:
        settings.XPERT_RATE_ADDRESS = "1/min"
        assert [ask().status_code for _ in range(2)] == [200, 429]

    def test_an_unknown_token_counts_double_for_its_address(
        self, settings: Settings, person: Subscriber
    ) -> None:
        settings.XPERT_RATE_ADDRESS = "2/min"
        assert [ask("nobody").status_code, ask().status_code] == [404, 429]


class TestDatabase:
    @pytest.mark.parametrize(
        "error", [OperationalError("database is locked"), InterfaceError("gone")]
    )
    def test_one_that_is_busy_or_gone_is_503_with_the_seconds_to_wait(
        self, error: Exception
    ) -> None:
        with patch("traffic.people.subscribers.find", side_effect=error):
            response = ask()
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert "locked" not in response.content.decode()

    def test_a_request_takes_four_queries(
        self,
        person: Subscriber,
        links: list[DirectConfig],
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        ask()
        with django_assert_num_queries(4):
            ask()

    def test_the_first_request_reads_the_links_templates_and_gateways_as_well(
        self,
        person: Subscriber,
        links: list[DirectConfig],
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        catalogue.shelf.clear()
        with django_assert_num_queries(10):
            ask()

    def test_an_unknown_token_takes_one_query(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(1):
            ask("nobody")

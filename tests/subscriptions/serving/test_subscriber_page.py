"""The page that a browser gets under the two subscription URLs."""

import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import segno
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import Client
from django.utils import timezone, translation
from pytest_django import DjangoAssertNumQueries, Settings

from subscriptions.models import Brand, Device, Endpoint, SubscriptionHit
from subscriptions.serving import subscriber_page
from subscriptions.serving.app_links import APPS
from subscriptions.serving.hits import writer
from tests.subscriptions.examples import DIRECT, SUB, A, ask, direct, subscriber, use
from traffic.ledger.recording import record
from traffic.models import Subscriber
from traffic.reports import Report

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

pytestmark = pytest.mark.django_db

BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
}
NOW = datetime(2024, 2, 10, 19, 20, 30, tzinfo=UTC)
DAY = timedelta(days=1)
GB = 2**30
STATES: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "Subscription is active", "Подписка активна", "اشتراک فعال است"),
    ({"is_active": False}, "Subscription is disabled", "Подписка отключена", "اشتراک غیرفعال است"),
    (
        {"expires_at": NOW},
        "Subscription has expired",
        "Срок подписки истёк",
        "اشتراک منقضی شده است",
    ),
    ({"data_limit": 3}, "Data limit is used up", "Лимит трафика исчерпан", "حجم مجاز تمام شده است"),
]


@pytest.fixture
def person() -> Subscriber:
    return subscriber()


@pytest.fixture(autouse=True)
def public(settings: Settings, tmp_path: Path) -> Path:
    """Where ``script/server`` would have built the agent, and has not."""
    settings.PUBLIC_FOLDER = tmp_path
    return tmp_path


@pytest.fixture
def built(public: Path) -> str:
    """The digest of the agent that this panel serves."""
    (public / "agent").mkdir()
    (public / "agent" / "xpert-agent.pyz.sha256").write_text(f"{'ab' * 32}  xpert-agent.pyz\n")
    return "ab" * 32


def browse(
    token: str = "user123", path: str = SUB, headers: dict[str, str] | None = None, **query: str
) -> "Response":
    return ask(token, path, BROWSER | (headers or {}), **query)


def shown(**query: Any) -> str:
    """The visible words of the page, with one blank between them."""
    return words_of(browse(**query).content.decode())


def words_of(markup: str) -> str:
    inside = re.sub(
        r"<(svg|script|title)\b.*?</\1>", " ", markup.partition("<body>")[2], flags=re.DOTALL
    )
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", inside)).replace("\u202f", "_").split())


def report(at: datetime, size: int, server: str = "vpn.example.com", port: int = 443) -> None:
    moment = int(at.timestamp())
    record([Report("user123", server, port, "vless", 0, size, moment)], at)


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


class TestWhoGetsIt:
    @pytest.mark.parametrize("path", [SUB, f"{SUB}/", DIRECT, f"{DIRECT}/"])
    @pytest.mark.parametrize("open_access", [True, False])
    def test_a_browser_gets_the_page(
        self, person: Subscriber, path: str, open_access: bool, settings: Settings
    ) -> None:
        settings.XPERT_OPEN_ACCESS = open_access
        response = browse(path=path)
        assert (response.status_code, response.headers["Content-Type"]) == (
            200,
            "text/html; charset=utf-8",
        )
        assert response.content.startswith(b"<!DOCTYPE html>")

    def test_html_with_a_weight_counts_as_well(self, person: Subscriber) -> None:
        response = browse(headers={"accept": "application/xml;q=0.9, text/html;q=0.9, */*;q=0.8"})
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"

    @pytest.mark.parametrize(
        "agent", ["", "curl/8", "HiddifyNext/4.1.0", "clash.meta/v1.19", "Mozilla/5.0"]
    )
    def test_whoever_asks_for_html_gets_the_page(self, person: Subscriber, agent: str) -> None:
        response = ask(headers={"user-agent": agent, "accept": "*/*"}, format="html")
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"

    @pytest.mark.parametrize(
        "accept", ["", "*/*", "text/*", "text/plain", "application/json", "text/html;q=0, */*"]
    )
    def test_a_client_that_does_not_accept_html_gets_the_list(
        self, person: Subscriber, accept: str
    ) -> None:
        response = ask(headers={"user-agent": "Mozilla/5.0", "accept": accept})
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize(
        "agent", ["HiddifyNext/4.1.0", "v2rayNG/2.3.1", "Shadowrocket/2000 CFNetwork", "Happ/3.5.0"]
    )
    def test_an_app_gets_its_list_whatever_it_accepts(self, person: Subscriber, agent: str) -> None:
        direct(A)
        assert browse(headers={"user-agent": agent}).content.decode() == f"{A}\n"

    @pytest.mark.parametrize("name", ["plain", "universal", "base64"])
    def test_a_browser_that_asks_for_a_list_gets_it(self, person: Subscriber, name: str) -> None:
        assert browse(format=name).headers["Content-Type"].startswith("text/plain")

    def test_an_unknown_format_is_refused(self, person: Subscriber) -> None:
        assert browse(format="nonsense").status_code == 400

    @pytest.mark.parametrize("open_access", [True, False])
    @pytest.mark.parametrize("path", [SUB, DIRECT])
    @pytest.mark.parametrize("token", ["", "a b", "a\0b", "ü", "x" * 256, "global"])
    def test_an_ill_formed_token_is_404_with_a_page(
        self, settings: Settings, token: str, path: str, open_access: bool
    ) -> None:
        settings.XPERT_OPEN_ACCESS = open_access
        response = browse(token, path)
        assert response.status_code == 404
        assert "This link does not work" in words_of(response.content.decode())

    @pytest.mark.parametrize("path", [SUB, DIRECT])
    def test_an_unknown_token_is_404_with_a_page(self, path: str) -> None:
        for response in (browse("nobody", path), ask("nobody", path, format="html")):
            assert (response.status_code, response.headers["Cache-Control"]) == (404, "no-store")
            assert "This link does not work" in words_of(response.content.decode())
        assert not Subscriber.objects.exists()

    def test_an_app_with_an_unknown_token_gets_an_empty_body(self) -> None:
        response = browse("nobody", headers={"user-agent": "Happ/3.5.0"})
        assert (response.status_code, response.content) == (404, b"")

    def test_the_page_of_an_unknown_token_shows_brand_and_support(self) -> None:
        Brand.objects.create(pk=1, title="Fast VPN", support_url="https://t.me/fast")
        markup = browse("nobody", lang="ru").content.decode()
        assert "Эта ссылка не работает" in words_of(markup)
        assert "<title>Fast VPN</title>" in markup
        assert "https://t.me/fast" in [link["href"] for link in Tags(markup).all("a")]

    @pytest.mark.parametrize("path", [SUB, DIRECT])
    def test_under_open_access_an_unknown_token_is_made_a_subscriber(
        self, settings: Settings, path: str
    ) -> None:
        settings.XPERT_OPEN_ACCESS = True
        assert browse("newcomer", path).status_code == 200
        assert Subscriber.objects.get().token == "newcomer"

    def test_the_visit_is_recorded_as_html(self, person: Subscriber) -> None:
        browse()
        writer.flush()
        hit = SubscriptionHit.objects.get()
        assert (hit.format, hit.client, hit.status) == ("html", "browser", 200)


class TestHeaders:
    @pytest.mark.parametrize("path", [SUB, DIRECT])
    def test_it_carries_the_headers_that_apps_read(self, person: Subscriber, path: str) -> None:
        use(person, 1, 2)
        about_the_body = {
            "Content-Type",
            "Content-Length",
            "Content-Disposition",
            "Content-Security-Policy",
            "ETag",
        }
        own = about_the_body | {"Vary", "X-Request-Id"}
        as_list = {name: value for name, value in ask(path=path).headers.items() if name not in own}
        assert as_list.items() <= dict(browse(path=path).headers.items()).items()
        assert {
            "Subscription-Userinfo",
            "Profile-Title",
            "User-Token",
            "Traffic-Webhook",
        } <= as_list.keys()

    def test_a_browser_shows_it_instead_of_saving_it(self, person: Subscriber) -> None:
        assert browse().headers["Content-Disposition"].startswith('inline; filename="Xpert Panel"')

    def test_nothing_but_our_own_files_may_run(self, person: Subscriber) -> None:
        policy = browse().headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy

    def test_the_address_is_not_leaked_to_other_sites(self, person: Subscriber) -> None:
        headers = browse().headers
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Robots-Tag"] == "noindex"
        assert headers["Cache-Control"] == "private"

    def test_it_depends_on_the_language_too(self, person: Subscriber) -> None:
        assert browse().headers["Vary"] == "User-Agent, Accept, Accept-Language"

    def test_it_has_no_etag_and_is_never_a_304(self, person: Subscriber) -> None:
        response = browse(headers={"if-none-match": "*"})
        assert response.status_code == 200
        assert "ETag" not in response.headers

    def test_head_answers_with_the_same_headers_and_no_body(self, person: Subscriber) -> None:
        got = browse()
        head = Client(headers={"host": "127.0.0.1:8000"} | BROWSER).head(
            SUB, {"user_token": "user123"}
        )
        for response in (got, head):
            response.headers.pop("X-Request-Id")
        assert head.headers == got.headers
        assert head.content == b""
        assert head.headers["Content-Length"] == str(len(got.content))


class TestStates:
    @pytest.mark.parametrize(("fields", "english", "russian", "persian"), STATES)
    @pytest.mark.parametrize("path", [SUB, DIRECT])
    @pytest.mark.parametrize("open_access", [True, False])
    def test_each_state_is_shown_in_words_at_both_addresses(
        self,
        settings: Settings,
        fields: dict[str, Any],
        english: str,
        russian: str,
        persian: str,
        path: str,
        open_access: bool,
    ) -> None:
        settings.XPERT_OPEN_ACCESS = open_access
        use(subscriber(**fields), 1, 2)
        for language, text in (("en", english), ("ru", russian), ("fa", persian)):
            response = browse(path=path, lang=language)
            assert response.status_code == 200
            assert text in words_of(response.content.decode())

    def test_the_page_holds_no_server_and_no_pseudo_link(self, person: Subscriber) -> None:
        direct(A)
        assert b"trojan://" not in browse().content
        Subscriber.objects.update(is_active=False)
        assert b"vless://" not in browse().content


class TestNumbers:
    def test_figures_are_shown_to_the_byte(self) -> None:
        use(subscriber(data_limit=10 * GB), 1_234_567, 3 * GB)
        text = shown()
        assert "Upload 1.18 MB 1_234_567 bytes" in text
        assert "Download 3.00 GB 3_221_225_472 bytes" in text
        assert "Used 3.00 GB 3_222_460_039 bytes" in text
        assert "Data limit 10.00 GB 10_737_418_240 bytes" in text
        assert "Left 7.00 GB 7_514_958_201 bytes" in text

    def test_they_have_the_units_of_the_language(self) -> None:
        use(subscriber(data_limit=10 * GB), 0, 3 * GB)
        assert "Использовано 3,00 ГБ" in shown(lang="ru")
        assert " GB" not in shown(lang="ru")

    @pytest.mark.parametrize(
        ("used", "percent", "level"),
        [
            (0, 0, "low"),
            (79, 79, "low"),
            (80, 80, "high"),
            (99, 99, "high"),
            (100, 100, "over"),
            (250, 250, "over"),
        ],
    )
    def test_a_bar_shows_how_much_of_the_limit_is_used(
        self, used: int, percent: int, level: str
    ) -> None:
        use(subscriber(data_limit=100), 0, used)
        assert f"{percent} % used, {max(100 - used, 0)} B left" in shown()
        (bar,) = Tags(browse().content.decode()).all("progress")
        assert (bar["value"], bar["class"], bar["aria-label"]) == (
            str(min(percent, 100)),
            level,
            "Used",
        )

    def test_without_a_limit_there_is_no_bar(self, person: Subscriber) -> None:
        use(person, 1, 2)
        assert "3 B no data limit" in shown()
        assert not Tags(browse().content.decode()).all("progress")

    def test_one_byte_is_not_bytes(self, person: Subscriber) -> None:
        use(person, 1, 0)
        assert "Upload 1 B 1 byte Download 0 B 0 bytes" in shown()

    def test_a_subscriber_without_usage_sees_that(self, person: Subscriber) -> None:
        text = shown()
        assert "Last used not yet" in text
        assert "No traffic in this period." in text

    def test_without_a_reset_it_counts_since_the_beginning(self, person: Subscriber) -> None:
        text = shown()
        assert "Usage resets never" in text
        assert "Since the beginning" in text
        assert "All time" not in text

    @pytest.mark.parametrize("zone", ["UTC", "Asia/Tehran", "America/New_York"])
    def test_the_period_changes_on_the_second_even_without_a_report(
        self, settings: Settings, zone: str
    ) -> None:
        settings.XPERT_TIME_ZONE = zone
        person = subscriber(data_limit=5, limit_reset="monthly", reset_day=31)
        edges = {"UTC": (0, 0), "Asia/Tehran": (-4, 30), "America/New_York": (5, 0)}
        hours, minutes = edges[zone]
        edge = datetime(2024, 2, 29, tzinfo=UTC) + timedelta(hours=hours, minutes=minutes)
        report(edge - timedelta(seconds=1), 5)
        with time_machine.travel(edge - timedelta(seconds=1), tick=False):
            before = shown()
            assert ask().headers["Subscription-Userinfo"].startswith("upload=0; download=5;")
        with time_machine.travel(edge, tick=False):
            after = shown()
            assert ask().headers["Subscription-Userinfo"].startswith("upload=0; download=0;")
        assert "Data limit is used up" in before
        assert "29 February 2024 00:00 · in less than an hour" in before
        assert "Subscription is active" in after
        assert "Since 29 February 2024 00:00 Upload 0 B" in after
        assert "31 March 2024 00:00 · in 3" in after
        assert "All time 5 B" in after
        assert person.reset_day == 31


class TestTimes:
    @pytest.mark.parametrize(
        ("ahead", "distance"),
        [
            (timedelta(days=38, hours=3), "in 38 days"),
            (timedelta(days=1), "in 1 day"),
            (timedelta(days=1, seconds=-1), "in 23 hours"),
            (timedelta(hours=1), "in 1 hour"),
            (timedelta(minutes=59), "in less than an hour"),
            (timedelta(), "in less than an hour"),
            (timedelta(seconds=-1), "within the last hour"),
            (timedelta(hours=-1), "1 hour ago"),
            (timedelta(hours=-23), "23 hours ago"),
            (timedelta(days=-1), "1 day ago"),
            (timedelta(days=-400), "400 days ago"),
        ],
    )
    def test_a_distance_is_never_more_than_there_is(self, ahead: timedelta, distance: str) -> None:
        with translation.override("en"):
            assert subscriber_page._distance(ahead) == distance

    def test_the_last_day_is_shown_in_the_panels_zone(self, settings: Settings) -> None:
        settings.XPERT_TIME_ZONE = "Europe/Moscow"
        subscriber(expires_at=datetime(2024, 12, 31, 21, tzinfo=UTC))
        with time_machine.travel(NOW, tick=False):
            assert "Works until the end of 31 December 2024 in 325 days" in shown()
            assert "Последний день 31 декабря 2024 через 325 дней" in shown(lang="ru")
            assert "آخرین روز ۱۱ دی ۱۴۰۳" in shown(lang="fa")
            assert "Times and days are in Europe/Moscow." in shown()

    def test_without_an_expiry_the_page_shows_none(self, person: Subscriber) -> None:
        assert "Works until the end of no expiry" in shown()

    def test_an_end_during_a_day_has_a_time_in_the_readers_zone(self) -> None:
        subscriber(expires_at=datetime(2024, 12, 31, 21, tzinfo=UTC))
        with time_machine.travel(NOW, tick=False):
            cookie = {"cookie": "xpert_zone=Asia%2FTehran"}
            markup = browse(headers=cookie).content.decode()
            assert "Works until the end of 31 December 2024 00:30 · in 325 days" in words_of(markup)
            assert "Times and days are in Asia/Tehran." in words_of(markup)

    @pytest.mark.parametrize(
        "told", ["", "Mars/Base", "../etc/passwd", "America", "\u0660", "x" * 999]
    )
    def test_a_zone_that_nobody_knows_is_the_panels(self, told: str) -> None:
        assert subscriber_page.chosen_zone(told).key == "UTC"


class TestChart:
    def test_it_shows_each_day_and_each_server(self, person: Subscriber) -> None:
        report(NOW - DAY, 2 * GB, "b.example")
        report(NOW - DAY, 1 * GB, "a.example")
        report(NOW, 512 * 2**20, "a.example")
        with time_machine.travel(NOW, tick=False):
            markup = browse().content.decode()
        text = words_of(markup)
        assert "b.example:443 vless 2.00 GB 2_147_483_648 bytes" in text
        assert "a.example:443 vless 1.50 GB 1_610_612_736 bytes" in text
        assert "3.50 GB 3_758_096_384 bytes" in text
        assert "10 February 512.00 MB 0 B 512.00 MB 9 February 3.00 GB 2.00 GB 1.00 GB" in text
        assert "<title>9 February: 3.00 GB</title>" in markup
        assert "<title>8 February: 0 B</title>" in markup
        assert len(re.findall(r'class="xp-layer-0" x=', markup)) == 1
        assert len(re.findall(r'class="xp-layer-1" x=', markup)) == 2

    @pytest.mark.parametrize(
        ("asked", "days"), [("7", 7), ("30", 30), ("90", 90), ("", 30), ("8", 30), ("x", 30)]
    )
    def test_it_is_of_so_many_days(self, person: Subscriber, asked: str, days: int) -> None:
        report(NOW, 5)
        with time_machine.travel(NOW, tick=False):
            markup = browse(days=asked).content.decode()
        assert markup.count('class="xp-column"') == days + (
            days != 90
        )  # 90 reach into folded days: whole ones only
        current = [link["href"] for link in Tags(markup).all("a") if "aria-current" in link]
        assert f"?user_token=user123&lang=en&days={days}" in current

    def test_days_begin_at_midnight_of_the_panels_zone(
        self, person: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_TIME_ZONE = "Europe/Moscow"
        report(datetime(2024, 2, 9, 20, 59, tzinfo=UTC), 1)
        report(datetime(2024, 2, 9, 21, tzinfo=UTC), 2)
        with time_machine.travel(NOW, tick=False):
            assert "10 February 2 B 2 B 9 February 1 B 1 B" in shown()

    @pytest.mark.parametrize(("count", "rows"), [(5, 5), (6, 6), (7, 6), (12, 6)])
    def test_servers_beyond_the_colours_share_one(
        self, person: Subscriber, count: int, rows: int
    ) -> None:
        for number in range(count):
            report(NOW, 1000 - number, f"s{number}.example")
        with time_machine.travel(NOW, tick=False):
            markup = browse().content.decode()
        assert markup.count('class="key xp-layer-') == rows
        text = words_of(markup)
        assert ("other server" in text) is (count > rows)
        if count == 12:
            assert "7 other servers 6.78 KB 6_944 bytes" in text

    def test_an_ipv6_server_is_shown_in_brackets(self, person: Subscriber) -> None:
        report(timezone.now(), 5, "2001:db8::1", 8443)
        assert "[2001:db8::1]:8443 vless" in shown()


class TestLanguage:
    @pytest.mark.parametrize(
        ("asked", "accepted", "setting", "language"),
        [
            ("fa", "ru", "en", "fa"),
            ("", "ru", "en", "ru"),
            ("", "ru-RU,ru;q=0.9,en;q=0.8", "fa", "ru"),
            ("", "de,fa-IR;q=0.3,en;q=0.5", "ru", "en"),
            ("", "fa;q=0,de", "ru", "ru"),
            ("", "de", "ru", "ru"),
            ("", "", "fa", "fa"),
            ("", "*", "fa", "fa"),
            ("", ";;q=,,\x7f", "fa", "fa"),
            ("xx", "ru", "en", "ru"),
            ("../fa", "", "en", "en"),
        ],
    )
    def test_it_is_asked_for_then_accepted_then_set(
        self,
        person: Subscriber,
        settings: Settings,
        asked: str,
        accepted: str,
        setting: str,
        language: str,
    ) -> None:
        settings.XPERT_LANGUAGE = setting
        response = browse(lang=asked, headers={"accept-language": accepted})
        html = Tags(response.content.decode()).all("html")[0]
        assert (html["lang"], response.headers["Content-Language"]) == (language, language)

    @pytest.mark.parametrize(
        ("language", "direction"), [("en", "ltr"), ("ru", "ltr"), ("fa", "rtl")]
    )
    def test_persian_runs_from_right_to_left(
        self, person: Subscriber, language: str, direction: str
    ) -> None:
        assert Tags(browse(lang=language).content.decode()).all("html")[0]["dir"] == direction

    @pytest.mark.parametrize("language", ["ru", "fa"])
    @pytest.mark.parametrize(
        "fields", [{}, {"data_limit": 10**10, "limit_reset": "monthly", "expires_at": NOW}]
    )
    def test_nothing_is_left_in_english(
        self, language: str, fields: dict[str, Any], settings: Settings, built: str
    ) -> None:
        settings.XPERT_SUPPORT_URL = "https://help.example/"
        subscriber(**fields)
        for number in range(8):
            report(timezone.now(), 5, f"s{number}.example")
        markup = browse(lang=language).content.decode()
        markup = re.sub(r"<(textarea|code)\b.*?</\1>", "", markup, flags=re.DOTALL)
        spoken = " ".join(re.findall(r'(?:aria-label|data-done)="([^"]*)"', markup))
        known = r"Xpert Panel|English|UTC|QR|VPN|Python|PowerShell|\bG?B\b|s\d\.example:443 vless"
        apps = {word for app in APPS for word in re.split(r"[ ,]+", f"{app.name} {app.systems}")}
        apps |= {
            "https",
            *re.findall(
                r"[A-Za-z][A-Za-z0-9-]+",
                " ".join(url for app in APPS for url in app.stores.values()),
            ),
        }
        words = set(
            re.findall(r"[A-Za-z][A-Za-z0-9-]+", re.sub(known, "", words_of(markup) + spoken))
        )
        assert words <= apps

    def test_it_leaves_the_language_of_others_alone(self, person: Subscriber) -> None:
        before = translation.get_language()
        browse(lang="fa")
        assert translation.get_language() == before

    def test_a_wrong_setting_is_the_operators_to_mend(self, settings: Settings) -> None:
        settings.XPERT_LANGUAGE = "xx"
        with pytest.raises(ImproperlyConfigured):
            subscriber_page.chosen_language("", "")


class TestAddress:
    @pytest.mark.parametrize(("path", "asked"), [(SUB, SUB), (DIRECT, DIRECT), (SUB, f"{SUB}/")])
    def test_the_qr_code_holds_the_address_of_its_list(
        self, person: Subscriber, settings: Settings, path: str, asked: str
    ) -> None:
        settings.XPERT_DOMAIN = "panel.example.com"
        url = f"https://panel.example.com{path}?user_token=user123"
        markup = browse(path=asked, lang="ru", days="7").content.decode()
        tags = Tags(markup)
        (field,) = tags.all("input")
        assert field["value"] == url
        assert "readonly" in field
        code = segno.make(url, error="m", micro=False).svg_inline(
            omitsize=True, border=4, dark="#000", light="#fff"
        )
        assert code in markup
        assert f"happ://add/{url}" in {link.get("href") for link in tags.all("a")}

    def test_the_copy_button_waits_for_the_script(self, person: Subscriber) -> None:
        (button,) = Tags(browse().content.decode()).all("button")
        assert "hidden" in button

    def test_the_title_holds_no_secret(self) -> None:
        subscriber("secret-token-123")
        markup = browse("secret-token-123").content.decode()
        assert "<title>Xpert Panel</title>" in markup
        assert (
            browse("secret-token-123", DIRECT).content.decode().count("<title>Xpert Direct</title>")
            == 1
        )

    def test_the_longest_token_fits_the_code(self, settings: Settings) -> None:
        settings.XPERT_DOMAIN = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.example.com"
        subscriber("@" * 255)
        assert browse("@" * 255).status_code == 200

    def test_help_is_offered_when_there_is_any(
        self, person: Subscriber, settings: Settings
    ) -> None:
        assert "Write to support" not in shown()
        settings.XPERT_SUPPORT_URL = "tg://resolve?domain=me&x=1"
        assert "tg://resolve?domain=me&x=1" in [
            a["href"] for a in Tags(browse().content.decode()).all("a")
        ]


class TestWhatToDo:
    @pytest.mark.parametrize(
        ("fields", "advice"),
        [
            ({"is_active": False}, "Ask support why, and how to go on."),
            ({"expires_at": NOW}, "Renew it, and the servers come back."),
            ({"data_limit": 1}, "The servers come back when you renew."),
            (
                {"data_limit": 1, "limit_reset": "monthly"},
                "The servers come back on 1 March 2024, or when you renew.",
            ),
        ],
    )
    def test_a_subscription_without_servers_says_how_to_go_on(
        self, fields: dict[str, Any], advice: str
    ) -> None:
        Brand.objects.create(pk=1, renewal_url="https://t.me/shop", support_url="https://t.me/help")
        subscriber(**fields)
        with time_machine.travel(NOW, tick=False):
            report(NOW, 5)
            assert advice in shown()
            assert "Renew Write to support" in shown()

    def test_the_browsers_system_gets_one_app_with_its_store_and_link(
        self, person: Subscriber
    ) -> None:
        agent = {
            "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1"
        }
        links = [link["href"] for link in Tags(browse(headers=agent).content.decode()).all("a")]
        assert "https://apps.apple.com/app/id6504287215" in links
        assert [link for link in links if link.startswith("happ://add/")]

    def test_the_apps_that_the_brand_names_are_offered_alone(self, person: Subscriber) -> None:
        Brand.objects.create(pk=1, apps=["Karing", "V2Box"])
        assert "Install Karing." in shown(system="Android")
        assert "Happ" not in shown(system="Android")

    def test_another_system_can_be_chosen(self, person: Subscriber) -> None:
        assert "windows" in browse(system="Windows").content.decode().lower()
        assert "Add to Happ" in shown(system="Windows")


class TestServers:
    def test_each_has_its_state_and_the_one_asked_for_its_code(self, person: Subscriber) -> None:
        [config] = direct(A)
        Endpoint.objects.create(
            server=config.server, port=config.port, state="down", checked_at=timezone.now()
        )
        markup = browse().content.decode()
        assert "does not answer" in words_of(markup)
        query = next(link["href"] for link in Tags(markup).all("a") if "&server=" in link["href"])
        key = query.partition("&server=")[2].partition("#")[0]
        assert browse(server=key).content.count(b"<svg") == markup.encode().count(b"<svg") + 1

    def test_without_an_active_subscription_there_are_none(self) -> None:
        direct(A)
        subscriber(is_active=False)
        assert "Servers" not in shown()


class TestBrand:
    def test_it_has_title_logo_colour_and_announcement(self, person: Subscriber) -> None:
        Brand.objects.create(
            pk=1, title="Fast VPN", logo=b"\x89PNG", logo_type="image/png", colour="#c2410c",
            announcement="Work tonight",
        )  # fmt: skip
        response = browse()
        markup = response.content.decode()
        assert "<title>Fast VPN</title>" in markup
        assert 'src="data:image/png;base64,iVBORw=="' in markup
        assert "Work tonight" in words_of(markup)
        style = markup.partition("<style>")[2].partition("</style>")[0]
        digest = b64encode(sha256(style.encode()).digest()).decode()
        assert "#c2410c" in style
        assert f"'sha256-{digest}'" in response.headers["Content-Security-Policy"]

    def test_lists_carry_its_headers(self, person: Subscriber) -> None:
        Brand.objects.create(
            pk=1, title="Быстрый", announcement="Work", support_url="https://t.me/help"
        )
        headers = ask().headers
        assert headers["Profile-Title"] == "base64:0JHRi9GB0YLRgNGL0Lk="
        assert (headers["Announce"], headers["Support-Url"]) == ("Work", "https://t.me/help")

    def test_direct_lists_keep_their_own_title(self, person: Subscriber) -> None:
        Brand.objects.create(pk=1, title="Fast VPN")
        assert ask(path=DIRECT).headers["Profile-Title"] == "Xpert Direct"

    def test_a_change_shows_at_once(self, person: Subscriber) -> None:
        brand = Brand.objects.create(pk=1, title="Fast VPN")
        assert ask().headers["Profile-Title"] == "Fast VPN"
        brand.title = "Faster VPN"
        brand.save()
        assert ask().headers["Profile-Title"] == "Faster VPN"

    def test_without_one_nothing_is_announced(self, person: Subscriber) -> None:
        assert "Announce" not in ask().headers


class TestSafety:
    def test_a_name_is_only_text(self) -> None:
        subscriber(name="<script>alert(1)</script>\"'&")
        markup = browse().content.decode()
        assert "<script>alert" not in markup
        assert "<script>alert(1)</script>\"'&" in words_of(markup)

    def test_the_page_has_no_inline_code_and_no_external_resources(
        self, person: Subscriber
    ) -> None:
        report(timezone.now(), 5)
        tags = Tags(browse().content.decode())
        assert not tags.all("style")
        assert all(
            script["src"].startswith("/static/subscriptions/") for script in tags.all("script")
        )
        assert all(link["href"].startswith("/static/subscriptions/") for link in tags.all("link"))
        assert not [
            name
            for _, attributes in tags.found
            for name in attributes
            if name == "style" or name[:2] == "on"
        ]
        assert not [
            tag for tag, _ in tags.found if tag in {"img", "iframe", "form", "object", "embed"}
        ]

    def test_a_hostile_query_changes_nothing(self, person: Subscriber) -> None:
        response = browse(lang='"><script>', days="<b>")
        assert response.status_code == 200
        assert b'"><script>' not in response.content
        assert b"<b>" not in response.content

    def test_it_takes_thirteen_queries_the_first_time(
        self, person: Subscriber, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(8):
            report(timezone.now(), 5, f"s{number}.example")
        with django_assert_num_queries(13):
            browse()

    def test_a_database_that_is_busy_is_503(self, person: Subscriber) -> None:
        with patch(
            "traffic.figures.statistics.subscriber_days", side_effect=OperationalError("locked")
        ):
            assert browse().status_code == 503


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("en", "Count the traffic of a computer"),
        ("ru", "Учёт трафика на компьютере"),
        ("fa", "شمارش ترافیک رایانه"),
    ],
)
def test_the_lines_for_computers_have_digest_and_the_persons_own_url(
    person: Subscriber, built: str, language: str, title: str
) -> None:
    page = unescape(browse(lang=language).content.decode())
    assert title in words_of(page)
    own = re.search(r'<input id="address"[^>]*value="([^"]*)"', page)
    assert own
    lines = re.findall(r"<textarea id=\"agent-\w+\"[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert len(lines) == 2
    assert all(built in line and f"'{own[1]}'" in line for line in lines)
    assert all(f"{own[1].partition('/api')[0]}/agent/xpert-agent.pyz" in line for line in lines)


def test_where_readings_need_a_key_there_is_no_line_for_computers(
    person: Subscriber, built: str, settings: Settings
) -> None:
    settings.XPERT_REPORTS_NEED_KEY = True
    assert "xpert-agent" not in browse().content.decode()


def test_without_an_agent_there_is_no_line_for_computers(
    person: Subscriber,
) -> None:
    assert "xpert-agent" not in browse().content.decode()


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "does not get the list"), ("ru", "не получает список"), ("fa", "فهرست را نمی‌گیرد")],
)
def test_devices_are_listed_where_they_are_limited(
    person: Subscriber, language: str, words: str
) -> None:
    now = timezone.now()
    for number, model in enumerate(("Pixel", "<b>iPad</b>", "")):
        Device.objects.create(
            subscriber=person, fingerprint=str(number), model=model, system="Android", system_version="14",
            first_seen=now, last_seen=now,
        )  # fmt: skip
    assert "Pixel" not in shown(lang=language)
    Subscriber.objects.update(device_limit=2)
    page = shown(lang=language)
    assert "Pixel Android 14" in page
    assert page.count(words) == 1
    assert b"<b>iPad" not in browse(lang=language).content


def test_a_limit_of_devices_without_devices_is_explained(person: Subscriber) -> None:
    Subscriber.objects.update(device_limit=1)
    assert "the first 1 gets the list" in shown()

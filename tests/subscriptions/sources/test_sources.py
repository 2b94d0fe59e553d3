"""Refreshing sources: a good list is stored, and a bad one changes nothing."""

import gzip
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from operations.outbound.exchange import Limits
from operations.outbound.pacing import backoff
from subscriptions.models import Edition, Source
from subscriptions.serving import catalogue
from subscriptions.sources import refreshing, source_errors, source_lists
from subscriptions.sources.name_rules import clean_name
from subscriptions.sources.refreshing import Outcome, State, parse_userinfo
from tests.subscriptions.examples import A, B, C, ask, source, stored, subscriber
from tests.subscriptions.hostile import Behaviour, InternetInThread, answer, raw

pytestmark = pytest.mark.django_db

Refresh = Callable[..., Outcome]
PATIENT = Limits(connect=20, gap=20, total=20)
HEAD = b"HTTP/1.1 200 OK\r\n"


def lines(*links: str) -> bytes:
    return "\n".join(links).encode()


@pytest.fixture
def it(settings: Settings) -> Source:
    settings.XPERT_SOURCES_ALLOW = ["http"]
    return source("provider", url="http://provider.example/sub?token=very-secret")


@pytest.fixture
def refresh(it: Source, internet: InternetInThread) -> Refresh:
    """Set the provider's answer, refresh, and return the outcome."""

    def refreshed(behaviour: Behaviour, limits: Limits = PATIENT) -> Outcome:
        internet.serve("provider.example", behaviour)
        (found,) = refreshing.refresh([it.pk], limits=limits, network=internet.network)
        it.refresh_from_db()
        return found

    return refreshed


def present(it: Source) -> list[str]:
    return [node.remarks for node in it.nodes.filter(is_present=True).order_by("position")]


class TestGoodLists:
    def test_servers_are_kept_with_where_and_when_they_were_seen(
        self, it: Source, refresh: Refresh
    ) -> None:
        outcome = refresh(answer(lines(A, B)))
        assert (outcome.state, outcome.servers) == (State.FETCHED, 2)
        node = it.nodes.get(position=1)
        assert (node.protocol, node.server, node.port, node.remarks, node.raw) == (
            "trojan",
            "a.example",
            1,
            "A",
            A,
        )
        assert node.first_seen == node.last_seen == it.last_fetched == it.last_success

    def test_the_fetch_is_written_down(self, it: Source, refresh: Refresh) -> None:
        body = lines(A, A, "vless://")
        refresh(answer(body, ETag='"1"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT"))
        assert (it.size, it.parsed, it.skipped) == (len(body), 1, {"duplicate": 1, "empty": 1})
        assert (it.last_error, it.failures, it.etag) == ("", 0, '"1"')
        assert it.milliseconds is not None
        assert it.claimed_until is None
        assert it.last_fetched is not None
        assert it.next_fetch == it.last_fetched + timedelta(minutes=60)

    def test_the_providers_quota_is_kept(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(lines(A), Subscription_Userinfo="upload=1; download=2; total=3; expire=4"))
        assert (
            it.provider_upload,
            it.provider_download,
            it.provider_total,
            it.provider_expire,
        ) == (1, 2, 3, 4)

    def test_a_quota_stays_when_an_answer_names_none(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(lines(A), Subscription_Userinfo="total=3"))
        refresh(answer(lines(A)))
        assert it.provider_total == 3

    def test_the_quota_comes_from_a_comment_if_there_is_no_header(
        self, it: Source, refresh: Refresh
    ) -> None:
        body = lines("#subscription-userinfo: upload=1; download=2; total=3", A)
        refresh(answer(body))
        assert (it.provider_upload, it.provider_download, it.provider_total) == (1, 2, 3)
        refresh(answer(body, Subscription_Userinfo="total=9"))
        assert (it.provider_upload, it.provider_total) == (None, 9)

    def test_names_are_read_in_the_charset_that_the_server_names(
        self, it: Source, refresh: Refresh
    ) -> None:
        refresh(answer(A.encode() + "香港".encode("gbk"), Content_Type="text/plain; charset=gbk"))
        assert present(it) == ["A香港"]

    def test_notes_about_the_account_are_left_out_and_counted(
        self, it: Source, refresh: Refresh
    ) -> None:
        noted = A.replace("#A", "#剩余流量：%s GB")
        for left in ("89.03", "88.03"):
            refresh(answer(lines(noted % left, noted % "0", A)))
            assert present(it) == ["A"]
            assert it.skipped == {"pseudo": 2}

    def test_it_never_reaches_subscribers(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(lines(A), Subscription_Userinfo="upload=1; download=2; total=3; expire=4"))
        assert catalogue.current("plain").content == f"{A}\n".encode()

    def test_a_new_list_replaces_the_old_one(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(lines(A, B)))
        first = it.nodes.get(remarks="B")
        refresh(answer(lines(C, B.replace("#B", "#renamed"))))
        assert present(it) == ["C", "renamed"]
        again = it.nodes.get(remarks="renamed")
        assert (again.pk, again.first_seen) == (first.pk, first.first_seen)
        assert again.last_seen > first.last_seen

    def test_a_server_that_is_gone_is_remembered_as_it_was(
        self, it: Source, refresh: Refresh
    ) -> None:
        refresh(answer(lines(A, B)))
        it.nodes.filter(remarks="B").update(is_enabled=False)
        refresh(answer(lines(A)))
        assert present(it) == ["A"]
        refresh(answer(lines(A, B)))
        assert present(it) == ["A", "B"]
        assert not it.nodes.get(remarks="B").is_enabled

    def test_an_unchanged_list_renders_nothing_again(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(lines(A, B)))
        before = Edition.current()
        refresh(answer(lines(A, B)))
        assert Edition.current() == before

    def test_a_private_server_is_left_out(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(lines(A, "trojan://pw@127.0.0.1:22#trap")))
        assert present(it) == ["A"]
        assert it.skipped == {"private_host": 1}

    def test_a_hostile_name_is_made_harmless(self, it: Source, refresh: Refresh) -> None:
        name = "%E2%80%AE%3Cscript%3E%E2%80%8Balert(1)%20%20x" + "y" * 3000
        refresh(answer(f"trojan://pw@a.example:1#{name}".encode()))
        assert present(it) == [("<script>alert(1) x" + "y" * 3000)[:128]]

    def test_2000_servers_take_a_few_queries(
        self, it: Source, django_assert_max_num_queries: Any
    ) -> None:
        parsed = source_lists.nodes_of(
            f"trojan://pw{number}@a.example:1#{number}" for number in range(2000)
        )
        refreshing._store_nodes(it, parsed.nodes, timezone.now())
        moved = parsed.nodes[1:] + parsed.nodes[:1]
        with django_assert_max_num_queries(40):
            refreshing._store_nodes(it, moved, timezone.now())
        assert present(it)[-1] == "0"


class TestConditionalRequests:
    def test_the_etag_is_sent_and_a_304_keeps_the_list(
        self, it: Source, refresh: Refresh, internet: InternetInThread
    ) -> None:
        refresh(answer(lines(A), ETag='"1"'))
        seen = it.nodes.get().last_seen
        outcome = refresh(answer(status="304 Not Modified", Content_Length=None))
        assert (outcome.state, outcome.servers) == (State.UNCHANGED, 1)
        assert b'If-None-Match: "1"' in internet.internet.requests[-1]
        assert (it.etag, it.last_error) == ('"1"', "")
        assert it.nodes.get().last_seen > seen

    def test_after_a_change_of_the_url_no_etag_is_sent(
        self, it: Source, refresh: Refresh, internet: InternetInThread
    ) -> None:
        refresh(answer(lines(A), ETag='"1"'))
        refreshing.forget_copy(it)
        it.save()
        refresh(answer(lines(A)))
        assert b"If-None-Match" not in internet.internet.requests[-1]


NOTES = lines(
    "trojan://1@1.1.1.1#%E2%9C%96 Package Ended", A.replace("#A", "#套餐到期：2024-01-01")
)
FAILURES: dict[str, tuple[Behaviour, str]] = {
    "an error": (answer(b"", "500 Oops"), "http_500"),
    "nothing": (answer(b""), "empty"),
    "a page": (answer(b"<html>"), "html"),
    "notes about the account": (answer(NOTES), "no_nodes"),
    "no usable server": (answer(b"vless://x\nvless://y"), "no_nodes"),
    "binary": (answer(bytes(range(256)) * 4000), "unknown"),
    "100,000 lines": (
        answer(lines(A) * 1 + b"\n" + b"\n".join([b"trojan://pw@a.example:1"] * 100_000)),
        "too_many_lines",
    ),
    "a bomb": (answer(gzip.compress(bytes(40 * 2**20)), Content_Encoding="gzip"), "too_large"),
    "a redirect to loopback": (
        answer(b"", "302 Found", Location="http://127.0.0.1/"),
        "ip_literal",
    ),
    "a wrong length": (raw(HEAD + b"Content-Length: 1000\r\n\r\n" + A.encode()), "bad_response"),
    "a drip": (raw(HEAD + b"\r\n", b"x", pause=0.05, forever=True), "timeout"),
}


class TestFailures:
    @pytest.mark.parametrize(("behaviour", "code"), FAILURES.values(), ids=FAILURES)
    def test_whatever_comes_the_last_good_list_stays(
        self, it: Source, refresh: Refresh, behaviour: Behaviour, code: str
    ) -> None:
        refresh(answer(lines(A, B)))
        edition, served = Edition.current(), catalogue.current("plain").content
        limits = Limits(connect=20, gap=20, total=0.5 if code == "timeout" else 20)
        outcome = refresh(behaviour, limits)
        assert (outcome.state, outcome.error, it.last_error) == (State.FAILED, code, code)
        assert present(it) == ["A", "B"]
        assert (Edition.current(), catalogue.current("plain").content) == (edition, served)
        assert it.claimed_until is None

    def test_failures_are_counted_until_a_fetch_succeeds(
        self, it: Source, refresh: Refresh
    ) -> None:
        for failures in (1, 2):
            refresh(answer(b"", "500 Oops"))
            assert it.failures == failures
            assert it.last_fetched is not None
            assert it.next_fetch == it.last_fetched + backoff(failures, None)
        refresh(answer(lines(A)))
        assert (it.failures, it.last_error) == (0, "")

    def test_a_provider_says_when_to_come_back(self, it: Source, refresh: Refresh) -> None:
        refresh(answer(b"", "429 Too Many", Retry_After="7200"))
        assert it.last_fetched is not None
        assert it.next_fetch == it.last_fetched + timedelta(hours=2)

    def test_the_log_holds_no_url(self, refresh: Refresh, caplog: pytest.LogCaptureFixture) -> None:
        refresh(answer(b"secret body", "500 Oops"))
        assert "provider" in caplog.text
        assert "very-secret" not in caplog.text
        assert "secret body" not in caplog.text

    def test_an_accident_with_one_does_not_stop_the_others(
        self, it: Source, internet: InternetInThread, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = source("other", url="http://other.example/")
        internet.serve("provider.example", answer(lines(A)))
        internet.serve("other.example", answer(lines(B)), "1.1.1.1")
        real = refreshing._store_nodes

        def failing(at: Source, *rest: Any) -> None:
            if at.pk == it.pk:
                raise ZeroDivisionError
            real(at, *rest)

        monkeypatch.setattr(refreshing, "_store_nodes", failing)
        found = refreshing.refresh([it.pk, other.pk], limits=PATIENT, network=internet.network)
        assert [(outcome.state, outcome.error) for outcome in found] == [
            (State.FAILED, "internal"),
            (State.FETCHED, ""),
        ]
        assert Source.objects.get(pk=it.pk).claimed_until is None


class TestWhoFetches:
    def test_a_source_that_is_being_fetched_is_skipped(
        self, it: Source, internet: InternetInThread
    ) -> None:
        assert refreshing._poller.claim(it.pk, timezone.now())
        (outcome,) = refreshing.refresh([it.pk], network=internet.network)
        assert outcome.state is State.BUSY
        assert internet.internet.dialled == []

    def test_one_that_another_process_has_fetched_meanwhile_is_no_longer_due(
        self, it: Source, internet: InternetInThread
    ) -> None:
        Source.objects.update(next_fetch=timezone.now() + timedelta(hours=1))
        (outcome,) = refreshing.refresh([it.pk], network=internet.network, only_due=True)
        assert outcome.state is State.BUSY
        assert internet.internet.dialled == []

    def test_one_that_is_still_due_is_fetched(self, it: Source, internet: InternetInThread) -> None:
        Source.objects.update(next_fetch=timezone.now() - timedelta(seconds=1))
        (outcome,) = refreshing.refresh([it.pk], network=internet.network, only_due=True)
        assert outcome.state is not State.BUSY

    def test_a_claim_that_was_left_behind_ends(self, it: Source) -> None:
        now = timezone.now()
        assert refreshing._poller.claim(it.pk, now)
        assert refreshing._poller.claim(it.pk, now + timedelta(minutes=1)) is None
        assert refreshing._poller.claim(it.pk, now + timedelta(minutes=3))

    def test_giving_back_leaves_the_claim_of_another_alone(self, it: Source) -> None:
        first = refreshing._poller.claim(it.pk, timezone.now() - timedelta(minutes=5))
        second = refreshing._poller.claim(it.pk, timezone.now())
        assert first
        assert second
        refreshing._poller.give_back(it.pk, first.claimed_until)
        it.refresh_from_db()
        assert it.claimed_until == second.claimed_until

    def test_one_that_was_deleted_is_gone(self, internet: InternetInThread) -> None:
        (outcome,) = refreshing.refresh([10**9], network=internet.network)
        assert outcome.state is State.GONE

    def test_a_list_from_an_old_url_is_discarded(
        self, it: Source, internet: InternetInThread
    ) -> None:
        internet.serve("provider.example", answer(lines(A)))
        real = refreshing._fetched

        async def slow(*args: Any) -> Any:
            found = await real(*args)
            await sync_to_async(Source.objects.filter(pk=it.pk).update)(url="https://new.example/")
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(refreshing, "_fetched", slow)
            (outcome,) = refreshing.refresh([it.pk], limits=PATIENT, network=internet.network)
        assert outcome.state is State.GONE
        assert not it.nodes.exists()

    def test_no_more_than_four_are_fetched_at_once(
        self, settings: Settings, internet: InternetInThread
    ) -> None:
        settings.XPERT_SOURCES_ALLOW = ["http"]
        running, most, lock = 0, 0, threading.Lock()

        async def behaviour(request: bytes, writer: Any) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            await raw(HEAD + b"\r\n", A.encode(), pause=0.02)(request, writer)
            with lock:
                running -= 1

        internet.serve("provider.example", behaviour)
        pks = [
            source(f"s{number}", url=f"http://provider.example/{number}").pk for number in range(10)
        ]
        progress: list[Outcome] = []
        found = refreshing.refresh(pks, progress.append, limits=PATIENT, network=internet.network)
        assert {outcome.state for outcome in found} == {State.FETCHED}
        assert [outcome.pk for outcome in found] == pks
        assert sorted(outcome.pk for outcome in progress) == pks
        assert most <= 4


@pytest.mark.django_db(transaction=True)
def test_two_refreshes_at_once_fetch_once(settings: Settings, internet: InternetInThread) -> None:
    settings.XPERT_SOURCES_ALLOW = ["http"]
    it = source("provider", url="http://provider.example/sub")
    asked, both = threading.Event(), threading.Barrier(2, timeout=20)

    async def behaviour(request: bytes, writer: Any) -> None:
        asked.set()
        await answer(lines(A))(request, writer)

    internet.serve("provider.example", behaviour)
    states: list[State] = []

    def one() -> None:
        both.wait()
        try:
            states.extend(
                found.state
                for found in refreshing.refresh([it.pk], limits=PATIENT, network=internet.network)
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert State.FETCHED in states
    assert set(states) <= {State.FETCHED, State.BUSY}
    assert present(it) == ["A"]


class TestWhen:
    NOW = datetime(2026, 1, 1, tzinfo=timezone.get_fixed_timezone(0))

    @pytest.fixture
    def waiting(self) -> Iterator[dict[str, int]]:
        later, past = self.NOW + timedelta(minutes=1), self.NOW
        yield {
            "new": source("new").pk,
            "due": source("due", next_fetch=past).pk,
            "fresh": source("fresh", next_fetch=later).pk,
            "failed": source("failed", next_fetch=later, last_error="http_500").pk,
            "told to wait": source("wait", next_fetch=later, last_error="http_429").pk,
            "off": source("off", enabled=False).pk,
        }

    def test_a_timer_takes_those_whose_time_has_come(self, waiting: dict[str, int]) -> None:
        assert refreshing.due(self.NOW) == [waiting["new"], waiting["due"]]

    def test_a_person_takes_all_but_those_that_asked_to_wait(self, waiting: dict[str, int]) -> None:
        assert refreshing.enabled(self.NOW) == [
            waiting[name] for name in ("new", "due", "fresh", "failed")
        ]


class TestForgetting:
    def test_servers_are_forgotten_after_30_days(self, it: Source) -> None:
        stored(it, A, B)
        stored(it, A)
        it.nodes.filter(remarks="B").update(last_seen=timezone.now() - timedelta(days=31))
        stored(it, A)
        assert [node.remarks for node in it.nodes.all()] == ["A"]

    def test_a_source_that_invents_servers_does_not_fill_the_disk(
        self, it: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refreshing, "_MOST_ABSENT", 3)
        for number in range(6):
            stored(it, f"trojan://pw@a.example:{number + 1}#{number}")
        assert sorted(node.remarks for node in it.nodes.all()) == ["2", "3", "4", "5"]

    def test_servers_of_another_source_are_left_alone(self, it: Source) -> None:
        other = source("other")
        stored(other, A)
        stored(it, A)
        stored(it, B)
        assert present(other) == ["A"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("upload=1; download=2; total=3; expire=4", (1, 2, 3, 4)),
        ("Upload=1;Download=2;total=3", (1, 2, 3, None)),
        ("total=0; expire=0", (None, None, None, None)),
        ("upload=1.5; download=-2; total=abc", (1, None, None, None)),
        ("upload=9223372036854775807", (2**63 - 1, None, None, None)),
        ("upload=9223372036854775808", (None, None, None, None)),
        (
            "upload=1.5E+9; download=2e9; total=1.0737418240e+14; expire=1.893456e9",
            (1_500_000_000, 2_000_000_000, 107_374_182_400_000, 1_893_456_000),
        ),
        ("upload=1e99; total=5e", (None, None, None, None)),
        ("expire=1893456000000", (None, None, None, 1_893_456_000)),
        ("", (None, None, None, None)),
    ],
)
def test_the_providers_quota_is_read_leniently(text: str, found: tuple[int | None, ...]) -> None:
    assert tuple(parse_userinfo(text).values()) == found


@given(st.text(max_size=200))
def test_a_name_is_one_visible_line(text: str) -> None:
    name = clean_name(text)
    assert len(name) <= 128
    assert name == name.strip()
    assert all(letter == "\u200d" or letter == " " or letter.isprintable() for letter in name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("🇦🇹 Вена", "🇦🇹 Вена"),
        ("👨‍👩‍👧 a", "👨‍👩‍👧 a"),
        ("❤️", "❤️"),
        ("e\u0301", "é"),
        ("a\u202eb\u200bc", "abc"),
        ("a\t\n b", "a b"),
    ],
)
def test_emoji_survive_and_tricks_do_not(text: str, name: str) -> None:
    assert clean_name(text) == name


def test_every_code_has_words() -> None:
    codes = [
        "http_404",
        "http_429",
        "http_418",
        "http_999",
        "clash-yaml",
        "private_address",
        "internal",
    ]
    assert len({source_errors.sentence(code) for code in codes}) == len(codes)
    assert "418" in source_errors.sentence("http_418")


def test_sources_are_asked_as_the_settings_say(settings: Settings) -> None:
    settings.XPERT_SOURCES_ALLOW = ["http", "addresses"]
    policy = refreshing.policy_of(allow_private=False)
    assert (policy.http, policy.addresses, policy.ports, policy.credentials, policy.private) == (
        True,
        True,
        False,
        False,
        False,
    )
    assert refreshing.policy_of(allow_private=True).private
    settings.XPERT_ALLOW_PRIVATE_SOURCES = True
    assert refreshing.policy_of(allow_private=False).private


def test_a_refresh_in_the_background_survives_an_accident(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(refreshing, "refresh", broken)
    refreshing.refresh_soon([1]).join(20)
    assert "could not be refreshed" in caplog.text


class TestRules:
    @pytest.fixture
    def ruled(self, it: Source, refresh: Refresh) -> Callable[..., Outcome]:
        def with_rules(*links: str, **rules: Any) -> Outcome:
            Source.objects.filter(pk=it.pk).update(**rules)
            return refresh(answer(lines(*links), ETag='"1"'))

        return with_rules

    def test_what_the_rules_leave_out_is_not_stored_and_counted(
        self, it: Source, ruled: Callable[..., Outcome]
    ) -> None:
        ruled(A, B, C, keep="a|b", drop="b")
        assert present(it) == ["A"]
        assert (it.parsed, it.skipped) == (1, {"dropped": 1, "not_kept": 1})

    def test_new_names_reach_subscribers_and_equal_ones_stay_apart(
        self, it: Source, ruled: Callable[..., Outcome]
    ) -> None:
        ruled(A, B, rename="[AB] => Same", prefix="P")
        assert present(it) == ["P Same", "P Same"]
        subscriber()
        answered = ask(format="mihomo").content.decode()
        assert '"name": "P Same"' in answered
        assert '"name": "P Same 2"' in answered

    def test_rules_that_leave_nothing_change_nothing(
        self, it: Source, ruled: Callable[..., Outcome]
    ) -> None:
        ruled(A)
        assert ruled(B, keep="nobody").error == "nothing_taken"
        assert present(it) == ["A"]

    def test_a_refresh_with_old_rules_is_not_stored(self, it: Source) -> None:
        claimed = Source.objects.get(pk=it.pk)
        Source.objects.filter(pk=it.pk).update(drop="x")
        result = refreshing._Result(1, parsed=source_lists.parse(A.encode()))
        assert refreshing._store(claimed, result, timezone.now()).state is State.GONE
        assert present(it) == []

    def test_a_rule_of_a_broken_database_fails_in_words(
        self, it: Source, ruled: Callable[..., Outcome]
    ) -> None:
        assert ruled(A, keep="(").error == "bad_rule"
        assert source_errors.sentence("bad_rule") != source_errors.sentence("slow_rules")


def test_a_configuration_of_an_app_is_a_list(it: Source, refresh: Refresh) -> None:
    body = b"proxies:\n  - {name: A, type: trojan, server: a.example, port: 1, password: pw}\n  - {type: x}\n"
    refresh(answer(body))
    assert present(it) == ["A"]
    assert it.skipped == {"unsupported": 1}


def test_notes_of_a_provider_are_notes_in_every_form(it: Source, refresh: Refresh) -> None:
    entry = "{type: trojan, server: a.example, port: 1, password: pw, name: "
    notes = ["剩余流量：88 GB", "套餐到期：2030-01-01", "A"]
    body = "proxies:\n" + "".join(f'  - {entry}"{name}"}}\n' for name in notes)
    refresh(answer(body.encode()))
    assert present(it) == ["A"]
    assert it.skipped == {"pseudo": 2}

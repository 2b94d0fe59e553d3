"""One address: Marzban's own subscription URLs with the external servers in them."""

import gzip
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from integrations.marzban import merged_lists, merging, subscription_tokens, views
from integrations.marzban.models import PanelIdentity, PanelLink
from integrations.marzban.panel_client import MARKER
from subscriptions.direct_configs import store
from subscriptions.models import DirectConfig, SubscriptionHit
from subscriptions.serving import catalogue, hits
from tests.integrations.marzban.lists_panel import (
    HEADERS,
    ListsPanel,
    listed,
    running_lists_panel,
)
from tests.integrations.marzban.merging.examples import (
    CLASH,
    OWN,
    REALITY,
    SING_BOX_NODE,
    TROJAN,
    as_json,
    base64_body,
    sing_box,
    xray,
)
from tests.integrations.marzban.panel import Reply, pasarguard_token, subscription_token
from tests.ports import free_port
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

TOKEN = subscription_token("alice", 1_764_000_000)
URL = f"/sub/{TOKEN}"
MIHOMO, CURL = "clash-verge/v2.0.0", "curl/8.0"


@pytest.fixture
def panel() -> Iterator[ListsPanel]:
    subscription_tokens.forget_all()
    merged_lists.forget_all()
    with running_lists_panel() as found:
        found.knows(TOKEN)
        found.replies[URL] = listed("text/plain; charset=utf-8", base64_body(*OWN))
        yield found
    subscription_tokens.forget_all()


@pytest.fixture(autouse=True)
def link(panel: ListsPanel) -> PanelLink:
    return PanelLink.objects.create(name="Marzban", url=panel.url, signs_in=True)


@pytest.fixture(autouse=True)
def external() -> None:
    for raw in (REALITY, TROJAN):
        store(DirectConfig(), raw)


def ask(url: str = URL, **headers: str) -> Any:
    return Client(headers=headers).get(url)


def lines(answer: Any) -> list[str]:
    return b64decode(answer.content).decode().split("\n")


# --- every format ------------------------------------------------------------------


def test_base64_holds_both_kinds_of_servers() -> None:
    assert lines(ask()) == [*OWN, REALITY, TROJAN]


def test_clash_meta_does(panel: ListsPanel) -> None:
    panel.replies[URL] = listed("text/yaml; charset=utf-8", CLASH.encode())
    found = yaml.safe_load(ask(user_agent=MIHOMO).content)
    assert [proxy["name"] for proxy in found["proxies"]] == ["alice [Trojan]", "Berlin", "Paris"]


@pytest.mark.parametrize(
    ("rest", "agent", "expected"),
    [
        ("", "Clash/1.0", ["alice [Trojan]", "Paris"]),
        ("", "Stash/2.5", ["alice [Trojan]", "Paris"]),
        ("/clash", MIHOMO, ["alice [Trojan]", "Paris"]),
        ("/clash-meta", "Clash/1.0", ["alice [Trojan]", "Berlin", "Paris"]),
    ],
)
def test_old_clash_gets_what_it_knows(
    panel: ListsPanel, rest: str, agent: str, expected: list[str]
) -> None:
    panel.replies[URL + rest] = listed("text/yaml", CLASH.encode())
    found = yaml.safe_load(ask(URL + rest, user_agent=agent).content)
    assert [proxy["name"] for proxy in found["proxies"]] == expected


def test_sing_box_does(panel: ListsPanel) -> None:
    panel.replies[URL] = listed("application/json", as_json(sing_box(SING_BOX_NODE)))
    found = ask(user_agent="SFA/1.11").json()
    assert found["outbounds"][0]["outbounds"][-2:] == ["Berlin", "Paris"]


def test_xray_does(panel: ListsPanel) -> None:
    panel.replies[f"{URL}/v2ray-json"] = listed("application/json", as_json([xray()]))
    found = ask(f"{URL}/v2ray-json").json()
    assert [config["remarks"] for config in found][1:] == ["Berlin", "Paris"]


@pytest.mark.parametrize("rest", ["", "/", "/v2ray"])
def test_every_address_of_the_list_is_merged(panel: ListsPanel, rest: str) -> None:
    panel.replies[URL + rest] = panel.replies[URL]
    assert lines(ask(URL + rest))[-1] == TROJAN


def test_a_person_of_pasarguard_whose_token_holds_only_an_id_gets_them_too(
    panel: ListsPanel,
) -> None:
    PanelLink.objects.update(kind=PanelLink.Kind.PASARGUARD)
    token = pasarguard_token()
    panel.knows(token)
    panel.replies[f"/sub/{token}"] = panel.replies[URL]
    for _ in range(2):
        assert lines(ask(f"/sub/{token}"))[-1] == TROJAN


# --- headers -------------------------------------------------------------------------


def test_the_panel_s_headers_are_kept_and_those_for_reports_are_added() -> None:
    answer = ask()
    for name, value in HEADERS:
        assert answer.headers[name] == value
    assert answer.headers["User-Token"] == TOKEN
    assert answer.headers["Traffic-Webhook"] == "http://testserver/api/xpert/traffic-webhook"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_the_panel_is_asked_as_the_app_asked(panel: ListsPanel, settings: Settings) -> None:
    settings.XPERT_TRUSTED_PROXIES = 1
    settings.ALLOWED_HOSTS = ["panel.example.com"]
    asked = {
        "host": "panel.example.com",
        "user-agent": "Häpp/3",
        "accept": "*/*",
        "x-hwid": "abc",
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-proto": "https",
    }
    Client(
        headers=asked | {"cookie": "sessionid=x", "if-none-match": "*", "range": "bytes=0-1"}
    ).get(f"{URL}?a=b%20c&d")
    (seen,) = panel.lists()
    assert seen.path == f"{URL}?a=b%20c&d"
    assert {name: seen.headers[name] for name in asked} == asked
    assert seen.headers["accept-encoding"] == "identity"
    assert not {"cookie", "if-none-match", "range"} & seen.headers.keys()


def test_what_a_client_says_of_its_address_is_not_passed_on(panel: ListsPanel) -> None:
    ask(x_forwarded_for="198.51.100.7", forwarded="for=198.51.100.7")
    (seen,) = panel.lists()
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    assert "forwarded" not in seen.headers


def test_an_unchanged_list_is_a_304_with_all_headers() -> None:
    first = ask()
    second = ask(if_none_match=first.headers["ETag"])
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["Subscription-Userinfo"] == "upload=0; download=5; total=10; expire=0"
    store(DirectConfig(), "trojan://pw@new.example.com:443#New")
    assert ask(if_none_match=first.headers["ETag"]).status_code == 200


def test_tags_and_digests_of_the_panel_s_body_are_dropped(panel: ListsPanel) -> None:
    panel.replies[URL] = listed(
        "text/plain", base64_body(*OWN), ("etag", '"theirs"'), ("content-md5", "x")
    )
    answer = ask()
    assert answer.headers["ETag"] != '"theirs"'
    assert "Content-MD5" not in answer.headers


def test_a_list_that_came_compressed_is_merged(panel: ListsPanel) -> None:
    panel.replies[URL] = listed(
        "text/plain", gzip.compress(base64_body(*OWN)), ("content-encoding", "gzip")
    )
    answer = ask()
    assert lines(answer)[-1] == TROJAN
    assert "Content-Encoding" not in answer.headers


# --- who gets them -------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["active", "on_hold"])
def test_whoever_may_connect_gets_external_servers(panel: ListsPanel, status: str) -> None:
    panel.knows(TOKEN, status)
    assert len(lines(ask())) == 4


@pytest.mark.parametrize("status", ["limited", "expired", "disabled", "", "unheard-of"])
def test_nobody_else_does(panel: ListsPanel, status: str) -> None:
    panel.knows(TOKEN, status)
    answer = ask()
    assert answer.content == base64_body(*OWN)
    assert "User-Token" not in answer.headers


@pytest.mark.parametrize(
    "ours",
    [
        {"is_active": False},
        {"expires_at": timezone.now() - timedelta(days=1)},
        {"suspension": "limited"},
        {"hidden_at": timezone.now()},
    ],
)
def test_our_own_stricter_limits_apply(ours: dict[str, Any]) -> None:
    ask()
    Subscriber.objects.update(**ours)
    assert ask().content == base64_body(*OWN)


def test_a_verified_person_becomes_a_subscriber() -> None:
    ask()
    person = Subscriber.objects.get()
    assert (person.name, PanelIdentity.objects.get().subscriber) == ("alice", person)


def test_a_forged_token_makes_nobody_and_gets_what_the_panel_answers(panel: ListsPanel) -> None:
    forged = subscription_token("alice", secret="forged")
    answer = ask(f"/sub/{forged}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert not Subscriber.objects.exists()


def test_a_panel_that_serves_a_list_without_knowing_the_token_is_not_believed(
    panel: ListsPanel,
) -> None:
    del panel.replies[f"{URL}/info"]
    assert ask().content == base64_body(*OWN)
    assert not Subscriber.objects.exists()


def test_whoever_is_switched_off_loses_them_within_seconds(
    panel: ListsPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(lines(ask())) == 4
    panel.knows(TOKEN, "disabled")
    later = subscription_tokens._checks._clock() + 5
    monkeypatch.setattr(subscription_tokens._checks, "_clock", lambda: later)
    assert ask().content == base64_body(*OWN)


def test_the_name_that_the_panel_confirms_counts_and_not_the_one_in_the_token(
    panel: ListsPanel, link: PanelLink
) -> None:
    victim = Subscriber.objects.create(name="alice", is_active=True)
    PanelIdentity.objects.create(link=link, username="alice", subscriber=victim)
    panel.knows(TOKEN, name="bob")
    ask()
    hits.writer.flush()
    assert SubscriptionHit.objects.get().subscriber.name == "bob"


def test_hits_are_recorded_for_the_person() -> None:
    ask(user_agent=MIHOMO)
    hits.writer.flush()
    hit = SubscriptionHit.objects.get()
    assert (hit.subscriber, hit.client, hit.format, hit.status) == (
        Subscriber.objects.get(),
        "clash-verge",
        "base64",
        200,
    )


# --- byte for byte ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=utf-8", b"<html><script>1</script></html>"),
        ("text/plain", b"not a list"),
        ("text/yaml", b"proxies: {"),
        ("application/json", b'{"method": "aes-256-gcm", "password": "x"}'),
        ("application/json", b"{}"),
        ("application/json", b"[]"),
        ("application/octet-stream", bytes(range(256))),
        ("text/plain", bytes(5 * 2**20)),
    ],
)
def test_what_cannot_be_merged_is_passed_on(
    panel: ListsPanel, content_type: str, body: bytes
) -> None:
    panel.replies[URL] = listed(content_type, body)
    answer = ask(accept="text/html")
    assert b"".join(answer) == body
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Profile-Update-Interval"] == "12"
    assert "Content-Security-Policy" not in answer.headers
    assert "X-Frame-Options" not in answer.headers


def test_a_long_answer_frees_its_place_when_it_is_closed(
    panel: ListsPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_turns", threading.BoundedSemaphore(1))
    panel.replies[URL] = listed("text/plain", bytes(5 * 2**20))
    for _ in range(2):
        assert len(b"".join(ask())) == 5 * 2**20


@pytest.mark.parametrize("rest", ["/info", "/usage", "/nonsense"])
@pytest.mark.parametrize("status", [200, 404, 422, 500])
def test_every_other_address_and_answer_is_passed_on(
    panel: ListsPanel, rest: str, status: int
) -> None:
    panel.replies[URL + rest] = Reply(status, b'{"x": 1}', (("content-type", "application/json"),))
    answer = ask(f"{URL}{rest}?start=2026-01-01")
    assert (answer.status_code, answer.content) == (status, b'{"x": 1}')


def test_head_is_passed_on(panel: ListsPanel) -> None:
    panel.replies[URL] = Reply(405, b"", (("allow", "GET"), ("content-length", "31")))
    answer = Client().head(URL)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert panel.seen[0].method == "HEAD"


def test_no_other_method_is(panel: ListsPanel) -> None:
    assert Client().post(URL, "x", content_type="text/plain").status_code == 405
    assert panel.seen == []


def test_an_unexpected_answer_about_the_person_leaves_the_list_as_it_is(panel: ListsPanel) -> None:
    panel.replies[f"{URL}/info"] = Reply(500, b"")
    assert ask().content == base64_body(*OWN)


def test_a_failing_database_leaves_the_list_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(merged_lists, "merge", fail)
    assert ask().content == base64_body(*OWN)


def test_a_failure_while_merging_leaves_the_list_as_it_is_and_is_logged_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a password")

    monkeypatch.setattr(catalogue, "entries_of", fail)
    assert ask().content == base64_body(*OWN)
    assert "ValueError" in caplog.text
    assert "a password" not in caplog.text


def test_without_external_servers_the_list_is_as_it_was() -> None:
    DirectConfig.objects.all().delete()
    answer = ask()
    assert answer.content == base64_body(*OWN)
    assert "User-Token" not in answer.headers


# --- when nothing can be answered -----------------------------------------------------------


def test_a_panel_that_is_down_is_a_503(link: PanelLink) -> None:
    PanelLink.objects.update(url=f"http://127.0.0.1:{free_port()}")
    answer = ask()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("limit", ["_places", "_turns"])
def test_too_many_questions_at_once_are_a_503(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(views, limit, threading.BoundedSemaphore(1))
    monkeypatch.setattr(views, "_PATIENCE", 0.01)
    assert [ask().status_code for _ in range(2)] == [200, 200]
    getattr(views, limit).acquire()
    assert ask().status_code == 503
    getattr(views, limit).release()
    assert ask().status_code == 200


def test_our_own_question_that_comes_back_is_a_503(panel: ListsPanel) -> None:
    assert ask(**{MARKER.lower(): "1"}).status_code == 503
    assert panel.seen == []
    ask()
    assert MARKER.lower() in panel.lists()[0].headers


def test_an_address_that_belongs_to_no_link_is_not_found(panel: ListsPanel) -> None:
    assert ask(f"/other/{TOKEN}").status_code == 404
    assert ask("/sub/short").status_code == 404
    assert panel.seen == []


def test_another_subscription_path_is_the_link_s(panel: ListsPanel) -> None:
    PanelLink.objects.update(subscription_path="a/b")
    panel.replies[f"/a/b/{TOKEN}"] = panel.replies[URL]
    panel.replies[f"/a/b/{TOKEN}/info"] = panel.replies[f"{URL}/info"]
    assert len(lines(ask(f"/a/b/{TOKEN}"))) == 4


def test_of_several_links_the_chosen_one_is_asked(panel: ListsPanel, settings: Settings) -> None:
    first = PanelLink.objects.create(name="other", url="http://127.0.0.1:1", number=1)
    assert len(lines(ask())) == 4
    PanelLink.objects.update(signs_in=False)
    settings.XPERT_MARZBAN_URL = panel.url
    PanelLink.objects.filter(pk=first.pk).update(verifies_tokens=True)
    assert len(lines(ask())) == 4


def test_the_setting_alone_is_enough(panel: ListsPanel, settings: Settings) -> None:
    PanelLink.objects.all().delete()
    settings.XPERT_MARZBAN_URL = panel.url
    assert ask(f"/other/{TOKEN}").status_code == 404
    for _ in range(2):
        assert len(lines(ask())) == 4
    assert PanelIdentity.objects.get().link == PanelLink.objects.get()


def test_a_token_has_a_rate_limit(settings: Settings, panel: ListsPanel) -> None:
    settings.XPERT_RATE_SUBSCRIPTIONS = "2/min"
    assert [ask().status_code for _ in range(3)] == [200, 200, 429]
    assert len(panel.lists()) == 2


def test_forged_tokens_cost_the_address_double(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "4/min"
    forged = [f"/sub/{subscription_token('alice', secret=str(n))}" for n in range(3)]
    assert [ask(url).status_code for url in forged] == [404, 404, 429]


def test_the_same_list_is_read_once(panel: ListsPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    monkeypatch.setattr(merging, "merged", None)
    assert len(lines(ask())) == 4


def test_json_of_the_answer_is_not_changed_in_the_cache(panel: ListsPanel) -> None:
    panel.replies[URL] = listed("application/json", as_json([xray()]))
    assert json.loads(ask().content) == json.loads(ask().content)


# --- devices -----------------------------------------------------------------------


def test_a_device_beyond_the_limit_gets_a_line_in_place_of_the_external_servers() -> None:
    ask()
    Subscriber.objects.update(device_limit=1)
    assert lines(ask(x_hwid="phone-1"))[-1] == TROJAN
    refused = lines(ask(x_hwid="phone-2"))
    assert refused[: len(OWN)] == list(OWN)
    assert [unquote(line.partition("#")[2]) for line in refused[len(OWN) :]] == [
        "⛔ Device limit reached: 1"
    ]
    assert lines(ask(x_hwid="phone-1"))[-1] == TROJAN

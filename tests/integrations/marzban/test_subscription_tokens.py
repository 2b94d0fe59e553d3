"""Marzban's subscription tokens: many of them name one person, and only Marzban knows whether they are true."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from integrations.marzban import subscription_tokens
from integrations.marzban.models import PanelIdentity, PanelLink
from integrations.marzban.subscription_tokens import is_subscription_token
from subscriptions.models import DirectConfig, SubscriptionHit
from subscriptions.serving import hits
from tests.integrations.marzban.panel import (
    Panel,
    Reply,
    admin_token,
    as_json,
    old_subscription_token,
    pasarguard_token,
    running_panel,
    subscription_token,
)
from tests.ports import free_port
from tests.traffic.examples import STATISTICS, WEBHOOK, wire
from traffic.models import Balance, Subscriber, Usage

pytestmark = pytest.mark.django_db

JSON = "application/json"
FIRST = subscription_token("alice", 1_764_000_000)
SECOND = subscription_token("alice", 1_764_000_001)


@pytest.fixture
def panel() -> Iterator[Panel]:
    subscription_tokens.forget_all()
    with running_panel() as found:
        yield found
    subscription_tokens.forget_all()


@pytest.fixture
def link(panel: Panel) -> PanelLink:
    return PanelLink.objects.create(name="Marzban", url=panel.url, signs_in=True)


@pytest.fixture
def alice(panel: Panel, link: PanelLink) -> str:
    panel.serves(SECOND, "alice")
    return panel.serves(FIRST, "alice")


def report(token: str, **more: Any) -> Any:
    return Client().post(WEBHOOK, wire(user_token=token) | more, content_type=JSON)


def subscription(token: str, **headers: str) -> Any:
    return Client(headers=headers).get("/api/xpert/sub", {"user_token": token})


# --- its form ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["abc", "alice", "a.b-c_d@e", "x" * 32])
def test_a_token_of_marzban_is_recognised(name: str) -> None:
    assert is_subscription_token(subscription_token(name))
    assert is_subscription_token(old_subscription_token(name))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "alice",
        "user123",
        "x" * 43,
        "alice,1764000000",
        urlsafe_b64encode(b"alice,1764000000").decode().rstrip("="),
        urlsafe_b64encode(b"alice").decode() + "0123456789",
        urlsafe_b64encode(b"alice,17640").decode().rstrip("=") + "0123456789",
        admin_token("alice"),
        FIRST + "\n",
        "y" * 201,
    ],
)
def test_anything_else_is_not_and_marzban_is_not_asked(
    token: str, panel: Panel, link: PanelLink
) -> None:
    assert not is_subscription_token(token)
    assert subscription_tokens.own_token(token) is None
    assert panel.asked == []


# --- counted for the person ------------------------------------------------------------


def test_two_tokens_of_one_person_are_counted_for_one_person(alice: str) -> None:
    assert report(FIRST).status_code == report(SECOND).status_code == 200
    person = Subscriber.objects.get()
    assert person.name == "alice"
    assert Balance.objects.get(subscriber=person).life_upload == 2 * wire()["bytes_uploaded"]
    assert PanelIdentity.objects.get().subscriber == person


def test_the_person_s_own_token_is_none_of_marzban_s(alice: str) -> None:
    report(FIRST)
    assert not {Subscriber.objects.get().token} & {FIRST, SECOND, "alice"}


def test_a_person_whom_the_node_has_made_known_is_found(alice: str, link: PanelLink) -> None:
    known = Subscriber.objects.create(token="known")
    baker.make(PanelIdentity, link=link, username="Alice", user_id=7, subscriber=known)
    assert report(FIRST).status_code == 200
    assert Usage.objects.get().subscriber == known
    assert PanelIdentity.objects.count() == Subscriber.objects.count() == 1


def test_a_person_without_a_subscriber_gets_one(alice: str, link: PanelLink) -> None:
    baker.make(PanelIdentity, link=link, username="alice", user_id=7, subscriber=None)
    assert report(FIRST).status_code == 200
    assert PanelIdentity.objects.get().subscriber == Subscriber.objects.get()


def test_who_had_the_name_before_gets_nothing(alice: str, link: PanelLink) -> None:
    before = Subscriber.objects.create(token="before")
    baker.make(
        PanelIdentity, link=link, username="alice", subscriber=before, closed_at=timezone.now()
    )
    assert report(FIRST).status_code == 200
    assert Usage.objects.get().subscriber != before


def test_a_deleted_subscriber_stays_deleted(alice: str) -> None:
    report(FIRST)
    Subscriber.objects.update(hidden_at=timezone.now())
    assert report(SECOND).status_code == 403
    assert subscription(FIRST).status_code == 404
    assert Subscriber.objects.count() == 1


@pytest.mark.parametrize("sent", [subscription_token("alice", secret="forged"), "alice", "ALICE"])
def test_a_forged_token_or_a_name_by_itself_counts_for_nobody(alice: str, sent: str) -> None:
    report(FIRST)
    for answer in (report(sent), subscription(sent)):
        assert answer.status_code in {403, 404}
    assert Client().get(f"{STATISTICS}/{sent}").json()["servers"] == []
    assert Usage.objects.get().reports == 1
    assert Subscriber.objects.count() == 1


def test_a_token_that_is_known_here_is_not_marzban_s(alice: str, panel: Panel) -> None:
    own = Subscriber.objects.create(token=FIRST)
    assert report(FIRST).status_code == 200
    assert Usage.objects.get().subscriber == own
    assert panel.asked == []


def test_a_batch_counts_each_row_for_its_person(alice: str, panel: Panel, reporter: Client) -> None:
    Subscriber.objects.create(token="plain")
    bob = panel.serves(subscription_token("bob"), "bob")
    forged = subscription_token("eve")
    rows = [wire(user_token=token) for token in (FIRST, SECOND, bob, "plain", forged)]
    answer = reporter.post(WEBHOOK, {"reports": rows}, content_type=JSON).json()
    assert answer["recorded"] == 4
    assert [row["index"] for row in answer["rejected"]] == [4]
    counted = Balance.objects.values_list("subscriber__name", "life_upload")
    size = wire()["bytes_uploaded"]
    assert dict(counted) == {"alice": 2 * size, "bob": size, "": size}


def test_an_event_under_two_tokens_of_one_person_counts_once(alice: str) -> None:
    report(FIRST, event_id="e1")
    assert report(SECOND, event_id="e1").json()["duplicate"] is True
    assert Usage.objects.get().reports == 1


# --- subscriptions and statistics ---------------------------------------------------


def test_a_subscription_echoes_the_token_that_was_sent_and_never_the_own_one(alice: str) -> None:
    report(FIRST)
    baker.make(DirectConfig, raw="vless://x@a.example:443", position=1)
    own = Subscriber.objects.get().token
    for token in (FIRST, SECOND):
        found = subscription(token)
        assert found.status_code == 200
        assert found["User-Token"] == token
        assert f"upload={wire()['bytes_uploaded']};" in found["Subscription-Userinfo"]
        page = subscription(token, accept="text/html", user_agent="Mozilla/5.0")
        assert token in page.content.decode()
        assert own not in page.content.decode() + str(page.headers) + str(found.headers)


def test_a_subscription_makes_the_subscriber_of_a_verified_person(alice: str) -> None:
    assert subscription(FIRST).status_code == 200
    assert Subscriber.objects.get().name == "alice"


def test_a_hit_is_recorded_for_the_person(alice: str) -> None:
    subscription(FIRST)
    hits.writer.flush()
    assert SubscriptionHit.objects.get().subscriber == Subscriber.objects.get()


def test_statistics_show_the_person_under_the_token_that_was_sent(alice: str) -> None:
    report(FIRST)
    found = Client().get(f"{STATISTICS}/{SECOND}").json()
    assert found["user_token"] == SECOND
    assert found["servers"][0]["connections"] == 1
    series = Client().get(f"{STATISTICS}/{SECOND}/series").json()
    assert sum(point["connections"] for point in series["points"]) == 1


# --- which panel is asked -------------------------------------------------------------


def test_only_panels_that_are_marked_are_asked(panel: Panel, alice: str, link: PanelLink) -> None:
    PanelLink.objects.update(signs_in=False)
    assert report(FIRST).status_code == 403
    assert panel.asked == []
    PanelLink.objects.update(verifies_tokens=True)
    assert report(FIRST).status_code == 200


def test_the_panel_of_the_setting_is_asked_in_place_of_the_one_that_signs_in(
    panel: Panel, alice: str, settings: Settings
) -> None:
    settings.XPERT_MARZBAN_URL = f"http://127.0.0.1:{free_port()}"
    assert report(FIRST).status_code == 503
    settings.XPERT_MARZBAN_URL = panel.url
    assert report(FIRST).status_code == 200


def test_the_setting_alone_is_enough_and_makes_the_link_with_its_first_person(
    panel: Panel, settings: Settings
) -> None:
    settings.XPERT_MARZBAN_URL = panel.url
    other = PanelLink.objects.create(name="other", url="http://127.0.0.1:1")
    assert report(subscription_token("alice", secret="forged")).status_code == 403
    assert list(PanelLink.objects.all()) == [other]
    for token in (FIRST, SECOND):
        assert report(panel.serves(token, "alice")).status_code == 200
    link = PanelLink.objects.exclude(pk=other.pk).get()
    assert (link.url, link.number, link.client_certificate) == (panel.url, 1, "")
    assert PanelIdentity.objects.get().link == link


def test_the_path_is_the_one_of_the_link(panel: Panel, alice: str) -> None:
    PanelLink.objects.update(subscription_path="sub/x")
    report(FIRST)
    assert panel.paths[0] == f"/sub/x/{FIRST}/info"


def test_two_panels_may_have_a_user_of_one_name(panel: Panel, alice: str, link: PanelLink) -> None:
    with running_panel() as other:
        theirs = other.serves(subscription_token("alice", secret="other"), "alice")
        PanelLink.objects.create(name="Other", url=other.url, number=1, verifies_tokens=True)
        assert report(FIRST).status_code == report(theirs).status_code == 200
    assert PanelIdentity.objects.count() == Subscriber.objects.count() == 2


def test_a_second_panel_is_asked_while_the_first_is_down(
    panel: Panel, alice: str, link: PanelLink
) -> None:
    PanelLink.objects.update(verifies_tokens=True, signs_in=False, number=1)
    PanelLink.objects.create(
        name="Down", url=f"http://127.0.0.1:{free_port()}", number=0, signs_in=True
    )
    assert report(FIRST).status_code == 200
    assert report(subscription_token("bob")).status_code == 503


# --- Marzban gives no answer --------------------------------------------------------


def test_while_marzban_is_down_nothing_is_counted_and_everybody_may_try_again(
    alice: str, reporter: Client
) -> None:
    Subscriber.objects.create(token="plain")
    PanelLink.objects.update(url=f"http://127.0.0.1:{free_port()}")
    rows = [wire(user_token="plain"), wire(user_token=FIRST)]
    for answer in (
        report(FIRST),
        subscription(FIRST),
        Client().get(f"{STATISTICS}/{FIRST}"),
        reporter.post(WEBHOOK, {"reports": rows}, content_type=JSON),
    ):
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) > 0
    assert not Usage.objects.exists()
    assert report("plain").status_code == 200


@pytest.mark.parametrize(
    "reply",
    [
        as_json(500, {"detail": "Internal Server Error"}),
        as_json(403, {"detail": "blocked"}),
        as_json(200, {}),
        as_json(200, {"username": ""}),
        as_json(200, {"username": "x" * 129}),
        Reply(200, b"<html></html>"),
    ],
)
def test_a_wrong_answer_names_nobody(panel: Panel, alice: str, reply: Reply) -> None:
    panel.reply = reply
    assert report(FIRST).status_code == 503
    assert not Subscriber.objects.exists()
    panel.reply = None
    assert report(FIRST).status_code == 200


def test_a_list_of_many_links_is_no_reason_to_refuse(panel: Panel, link: PanelLink) -> None:
    panel.serves(FIRST, "alice", links=["vless://x@a.example:443"] * 20_000)
    assert report(FIRST).status_code == 200


def test_verdicts_are_remembered_refusals_too(panel: Panel, alice: str) -> None:
    forged = subscription_token("eve")
    for _ in range(3):
        assert report(FIRST).status_code == 200
        assert report(forged).status_code == 403
    assert sorted(panel.asked) == sorted([FIRST, forged])


def test_neither_tokens_nor_credentials_stand_in_the_log(
    panel: Panel,
    alice: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    report(FIRST)
    subscription(SECOND)
    panel.reply = as_json(500, {})
    report(subscription_token("bob"))
    lines = caplog.text + "".join(capsys.readouterr())
    assert "http_500" in lines
    for secret in (FIRST, SECOND, subscription_token("bob"), "11111111-2222"):
        assert secret[:12] not in lines


def test_a_message_that_takes_too_long_to_name_its_people_is_refused_and_paid_for(
    alice: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.XPERT_RATE_ADDRESS = "10/hour"
    moments = iter(range(0, 1000, 2))
    rows = [wire(user_token=f"token-{number}") for number in range(5)]
    with monkeypatch.context() as patched:
        patched.setattr("traffic.intake.viewsets.monotonic", lambda: next(moments))
        late = Client().post(WEBHOOK, {"reports": rows}, content_type=JSON)
    assert late.status_code == 503
    assert int(late["Retry-After"]) > 0
    assert report(FIRST).status_code == 200
    assert [report(FIRST).status_code for _ in range(6)][-1] == 429


@pytest.mark.django_db(transaction=True)
def test_a_person_who_comes_twice_at_once_becomes_one_subscriber(alice: str) -> None:
    def come(token: str) -> str | None:
        try:
            return subscription_tokens.own_token(token)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as callers:
        found = set(callers.map(come, [FIRST, SECOND] * 4))
    assert found == {Subscriber.objects.get().token}


# --- PasarGuard ------------------------------------------------------------------


def test_a_token_of_pasarguard_is_recognised_and_names_nobody_by_itself() -> None:
    for token in (pasarguard_token(), pasarguard_token(10**17)):
        assert is_subscription_token(token)
        assert subscription_tokens.claimed_name(token) == ""
    assert subscription_tokens.claimed_name(FIRST) == "alice"
    assert subscription_tokens.claimed_name(old_subscription_token()) == "alice"
    for wrong in (pasarguard_token()[:-1], pasarguard_token() + "x", "v3.7.1764000000"):
        assert not is_subscription_token(wrong)


def test_two_tokens_of_pasarguard_are_counted_for_the_person_whom_it_names(
    panel: Panel, link: PanelLink
) -> None:
    PanelLink.objects.update(kind=PanelLink.Kind.PASARGUARD)
    for minted in (1_764_000_000, 1_764_000_001):
        token = panel.serves(pasarguard_token(minted=minted), "alice")
        assert report(token).status_code == 200
    person = Subscriber.objects.get()
    assert person.name == "alice"
    assert Balance.objects.get(subscriber=person).life_upload == 2 * wire()["bytes_uploaded"]
    assert report(pasarguard_token(secret="forged")).status_code == 403

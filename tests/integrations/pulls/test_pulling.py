"""From a foreign panel to the ledger: what is booked, for whom, and what is not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import time_machine
from django.db import OperationalError
from pytest_django import Settings

from integrations.marzban.models import PanelLink
from integrations.pulls import client, journal, pulling
from integrations.pulls.models import Panel, Reading, Total
from integrations.pulls.pulling import Outcome, State
from operations import own_mark, sealing
from operations.audit import By
from operations.outbound.exchange import Limits
from tests.integrations.pulls.stand_in import HOST, StandIn
from tests.subscriptions.hostile import Behaviour, answer, raw
from traffic.intake import acceptance
from traffic.ledger import verification
from traffic.models import Balance, KnownAs, MeteredPerson, Reporter, Server, Subscriber
from traffic.people import adoption, erasure

GB = 2**30
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BY = By("operator", NOW)
QUICK = Limits(connect=2, gap=2, total=2, body=100_000)


@pytest.fixture(autouse=True)
def clock() -> Any:
    with time_machine.travel(NOW, tick=False) as found:
        yield found


def pull(panel: Panel, there: StandIn) -> Outcome:
    (outcome,) = pulling.pull([panel.pk], network=there.network, limits=QUICK)
    panel.refresh_from_db()
    return outcome


def used(person: Subscriber) -> tuple[int, int]:
    """What the panel says of a person's whole life."""
    counters = Balance.objects.filter(pk=person.pk).values_list("life_upload", "life_download")
    return counters.first() or (0, 0)


def test_the_first_reading_is_a_baseline(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    there.has("alice", 5000 * GB)
    outcome = pull(panel, there)
    assert (outcome.state, outcome.people, outcome.grew) == (State.READ, 1, 0)
    assert used(alice) == (0, 0)


def test_only_growth_is_booked(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    there.has("alice", 5000 * GB)
    pull(panel, there)
    there.has("alice", 5000 * GB + 7)
    outcome = pull(panel, there)
    assert (outcome.grew, outcome.upload, outcome.download) == (1, 0, 7)
    assert used(alice) == (0, 7)
    (server,) = Server.objects.all()
    assert (server.host, server.port, server.protocol) == (HOST, 443, "marzban")


def test_nothing_new_is_nothing_booked(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    there.has("alice", 5)
    for _ in range(3):
        pull(panel, there)
    assert used(alice) == (0, 0)
    assert not Total.objects.exclude(download=0).exists()


def test_the_reporter_is_a_pull_of_grade_provider(panel: Panel, there: StandIn) -> None:
    there.has("alice", 5)
    pull(panel, there)
    reporter = Reporter.objects.get(origin=f"pull:{panel.pk}")
    assert (reporter.kind, reporter.grade) == (Reporter.Kind.PULL, Reporter.Grade.PROVIDER)
    assert reporter.sources[0]["name"] == "Friend"


def test_unknown_people_are_kept_and_counted_from_the_beginning_when_they_are_adopted_so(
    panel: Panel, there: StandIn, transactional_db: None
) -> None:
    there.has("somebody", 100)
    pull(panel, there)
    there.has("somebody", 142)
    pull(panel, there)
    person = MeteredPerson.objects.get(name="somebody", subscriber=None)
    bob = Subscriber.objects.create(name="bob")
    adoption.adopt(person, bob, BY, from_beginning=True)
    assert used(bob) == (0, 42)
    there.has("somebody", 150)
    pull(panel, there)
    assert used(bob) == (0, 50)


def test_people_are_found_by_the_names_that_this_panel_has_for_them(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("a1", 0)
    pull(panel, there)
    reporter = Reporter.objects.get(origin=panel.origin)
    KnownAs.objects.create(reporter=reporter, name="A1", folded="a1", subscriber=alice)
    there.has("a1", 9)
    pull(panel, there)
    assert used(alice) == (0, 9)


def test_pages_are_read_to_the_last(panel: Panel, there: StandIn) -> None:
    for number in range(450):
        there.has(f"user{number:03}", number)
    assert pull(panel, there).people == 450
    assert sum(target.startswith("GET /api/users?") for target in there.asked) == 3


def test_nothing_is_asked_but_the_sign_in_and_the_list(panel: Panel, there: StandIn) -> None:
    there.has("alice", 1)
    pull(panel, there)
    first, *others = there.asked
    assert first == "POST /api/admin/token"
    assert all(target.startswith("GET /api/users?") for target in others)


# --- What happens to people and counters there --------------------------------


def test_a_lifetime_total_that_falls_is_a_panel_put_back_and_counts_on_from_there(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    for total in (100 * GB, 101 * GB, 90 * GB, 92 * GB):
        there.has("alice", total)
        pull(panel, there)
    assert used(alice) == (0, 3 * GB)


def test_somebody_who_is_removed_and_made_again_begins_again(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 100 * GB)
    pull(panel, there)
    there.has("alice", 2 * GB, made="2026-11-29T11:59:00")
    pull(panel, there)
    assert used(alice) == (0, 2 * GB)


def test_somebody_made_again_who_has_used_more_than_before_counts_whole(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 1 * GB)
    pull(panel, there)
    there.has("alice", 5 * GB, made="2026-11-29T11:59:00")
    pull(panel, there)
    assert used(alice) == (0, 5 * GB)


def test_a_time_of_birth_that_moves_by_a_time_zone_is_nobody_new(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 100 * GB, made="2026-01-15T09:30:32")
    pull(panel, there)
    there.has("alice", 101 * GB, made="2026-01-15T12:30:32")
    pull(panel, there)
    assert used(alice) == (0, 1 * GB)


def test_somebody_who_is_removed_for_a_while_goes_on(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 10)
    pull(panel, there)
    there.marzban.clear()
    pull(panel, there)
    there.has("alice", 15)
    pull(panel, there)
    assert used(alice) == (0, 5)


def remnawave(user: str, total: int) -> Behaviour:
    traffic = {"usedTrafficBytes": 0, "lifetimeUsedTrafficBytes": total}
    users = f'[{{"uuid": "u-1", "username": "{user}", "userTraffic": {traffic}}}]'.replace("'", '"')
    return answer(f'{{"response": {{"users": {users}, "nextCursor": null}}}}'.encode())


def test_somebody_who_is_renamed_goes_on_under_the_new_name(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    bob = Subscriber.objects.create(name="bob")
    Panel.objects.update(kind="remnawave", access="key")
    for name, total in (("alice", 100), ("alice", 110), ("bob", 125), ("bob", 126)):
        there.instead = remnawave(name, total)
        assert pull(panel, there).state is State.READ
    assert (used(alice), used(bob)) == ((0, 10), (0, 16))


def three_x_ui(panel: Panel, **more: Any) -> None:
    Panel.objects.filter(pk=panel.pk).update(
        kind="3x-ui", access="key", url=f"https://{HOST}/base", **more
    )


def test_counters_of_3x_ui_that_fall_at_the_months_end_count_whole(
    panel: Panel, there: StandIn, alice: Subscriber, clock: Any
) -> None:
    three_x_ui(panel)
    for up, down in ((100, 1000), (110, 1500), (3, 40), (3, 41)):
        there.three_x_ui["alice"] = up, down
        pull(panel, there)
        clock.shift(timedelta(days=10))
    assert used(alice) == (10 + 3, 500 + 40 + 1)
    server = Server.objects.get(host=HOST)
    assert (server.port, server.protocol) == (8443, "vless")


def test_a_server_of_ones_own_is_shown_instead_of_the_panels_host(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    three_x_ui(panel, server="vpn.example.net")
    for down in (0, 1):
        there.three_x_ui["alice"] = 0, down
        pull(panel, there)
    assert Server.objects.get().host == "vpn.example.net"


def test_people_who_differ_by_letter_case_alone_are_one(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("Alice", 10)
    there.has("alice", 20)
    pull(panel, there)
    there.has("Alice", 11)
    there.has("alice", 22)
    pull(panel, there)
    assert used(alice) == (0, 3)


def test_rounding_of_hiddify_is_no_reset(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    Panel.objects.update(kind="hiddify", access="key")
    for gigabytes in (100.0, 99.9999, 100.0, 101.0, 0.5):
        there.hiddify["alice"] = gigabytes
        pull(panel, there)
    assert used(alice) == (0, GB + GB // 2)


# --- One person's link --------------------------------------------------------


@pytest.fixture
def link(panel: Panel, alice: Subscriber) -> Panel:
    panel.access, panel.url, panel.subscriber = "link", f"https://{HOST}/sub/friend", alice
    panel.save()
    return panel


def test_a_link_counts_for_its_person_whatever_the_name_there(
    link: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("friend", 10)
    pull(link, there)
    there.has("friend", 30)
    pull(link, there)
    assert used(alice) == (0, 20)
    assert there.asked == ["GET /sub/friend/info"] * 2


def test_a_new_token_of_the_person_counts_nothing_again(
    link: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("friend", 10)
    pull(link, there)
    there.has("friend", 30)
    pull(link, there)
    Subscriber.objects.filter(pk=alice.pk).update(token="another-token")
    there.has("friend", 31)
    pull(link, there)
    assert used(alice) == (0, 21)


# --- Failures ------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 502, 503])
def test_a_refusal_changes_nothing_and_is_told_in_one_sentence(
    panel: Panel, there: StandIn, alice: Subscriber, status: int
) -> None:
    there.has("alice", 10)
    pull(panel, there)
    there.instead = answer(
        b"secret text of the panel", f"{status} No", Location="https://evil.example/"
    )
    outcome = pull(panel, there)
    assert (outcome.state, outcome.error) == (State.FAILED, f"http_{status}")
    assert panel.last_error == f"http_{status}"
    there.instead = None
    there.has("alice", 12)
    pull(panel, there)
    assert (used(alice), panel.last_error, panel.failures) == ((0, 2), "", 0)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (answer(b"<html>"), "bad_answer"),
        (answer(b"x" * 100_001), "too_large"),
        (answer(b"{}", Content_Length=10**12), "bad_response"),
        (raw(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=0.1, forever=True), "timeout"),
        (raw(b"garbage\r\n\r\n"), "bad_response"),
        (raw(), "bad_response"),
    ],
)
def test_a_panel_that_answers_badly_or_never_ends(
    panel: Panel, there: StandIn, behaviour: Behaviour, code: str
) -> None:
    there.instead = behaviour
    outcome = pull(panel, there)
    assert outcome.error in {code, "stalled", "connection"}
    assert outcome.state is State.FAILED


def test_a_panel_that_asks_to_come_back_later_is_left_alone_so_long(
    panel: Panel, there: StandIn
) -> None:
    there.instead = answer(b"", "429 Too Many Requests", Retry_After="7200")
    pull(panel, there)
    assert panel.next_read == NOW + timedelta(hours=2)
    assert pulling.due(NOW + timedelta(hours=1)) == []
    assert pulling.due(NOW + timedelta(hours=2)) == [panel.pk]


def test_a_failure_is_a_problem_of_the_reporter_not_silence(panel: Panel, there: StandIn) -> None:
    there.instead = answer(b"", "401 Unauthorized")
    pull(panel, there)
    (source,) = Reporter.objects.get(origin=panel.origin).sources
    assert (source["ok"], "refuses" in source["error"]) == (False, True)


def test_a_secret_that_cannot_be_opened_is_told(
    panel: Panel, there: StandIn, settings: Settings
) -> None:
    settings.SECRET_KEY = "another-" * 8
    assert pull(panel, there).error == "sealed"
    assert there.asked == []


def test_while_tracking_is_off_nothing_is_asked(
    panel: Panel, there: StandIn, settings: Settings
) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    assert pull(panel, there).error == "tracking_off"
    assert there.asked == []


def test_one_panel_that_fails_hides_no_other(panel: Panel, there: StandIn) -> None:
    other = Panel.objects.create(
        name="Other",
        kind="marzban",
        access="login",
        url="https://nowhere.example.com",
        sealed_secret=panel.sealed_secret,
    )
    there.has("alice", 1)
    outcomes = pulling.pull([other.pk, panel.pk], network=there.network)
    assert [outcome.state for outcome in outcomes] == [State.FAILED, State.READ]
    assert outcomes[0].error == "dns"


def test_an_error_of_our_own_is_told_and_the_panel_is_given_back(
    panel: Panel, there: StandIn
) -> None:
    with mock.patch.object(journal, "take", side_effect=RuntimeError):
        assert pull(panel, there).error == "internal"
    assert panel.claimed_until is None


def test_a_private_address_is_refused_unless_it_is_allowed(panel: Panel, there: StandIn) -> None:
    Panel.objects.update(url="https://10.0.0.5")
    assert pull(panel, there).error == "private_address"
    there._internet.internet.names[HOST] = ["10.0.0.5"]
    Panel.objects.update(url=f"https://{HOST}")
    assert pull(panel, there).error == "private_address"
    assert there.asked == []


# --- From where nothing is pulled ------------------------------------------------


def test_a_panel_that_was_linked_since_is_not_read(panel: Panel, there: StandIn) -> None:
    PanelLink.objects.create(name="Link", url=f"https://{HOST}")
    assert pull(panel, there).error == "linked"
    assert there.asked == []


def test_a_panel_that_bears_our_own_mark_is_not_read(panel: Panel, there: StandIn) -> None:
    there.instead = answer(b'{"access_token": "x"}', X_Xpert_Panel=own_mark.own_mark())
    assert pull(panel, there).error == "own_panel"
    assert len(there.asked) == 1


def test_another_xpert_panel_is_read(panel: Panel, there: StandIn) -> None:
    there.instead = answer(b'{"access_token": "x", "users": []}', X_Xpert_Panel="0123456789abcdef")
    assert pull(panel, there).state is State.READ


# --- Several at once, kills, and erasure ------------------------------------------


def test_a_panel_that_is_being_read_is_not_read_again(panel: Panel, there: StandIn) -> None:
    Panel.objects.update(claimed_until=NOW + timedelta(minutes=1))
    assert pull(panel, there).state is State.BUSY
    assert there.asked == []


def test_a_panel_that_another_process_has_read_meanwhile_is_no_longer_due(
    panel: Panel, there: StandIn
) -> None:
    Panel.objects.update(next_read=NOW + timedelta(minutes=1))
    (outcome,) = pulling.pull([panel.pk], network=there.network, only_due=True)
    assert outcome.state is State.BUSY
    assert there.asked == []


def test_a_claim_that_was_left_behind_expires(panel: Panel, there: StandIn) -> None:
    Panel.objects.update(claimed_until=NOW - timedelta(seconds=1))
    assert pull(panel, there).state is State.READ


def test_a_panel_that_was_given_another_address_meanwhile_books_nothing(
    panel: Panel, there: StandIn
) -> None:
    there.has("alice", 1)
    begin = journal.take

    def late(asked: Panel, accounts: Any) -> Any:
        Panel.objects.update(url="https://elsewhere.example.com")
        return begin(asked, accounts)

    with mock.patch.object(journal, "take", late):
        assert pull(panel, there).state is State.GONE
    assert not Reading.objects.exists()


Killed = Callable[[Any], Any]


@pytest.mark.parametrize("place", ["take", "unbooked", "note_booked"])
def test_a_kill_between_the_steps_neither_doubles_nor_loses(
    panel: Panel, there: StandIn, alice: Subscriber, place: str
) -> None:
    there.has("alice", 100)
    pull(panel, there)
    there.has("alice", 107)
    with (
        mock.patch.object(journal, place, side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        pulling.pull([panel.pk], network=there.network)
    Panel.objects.update(claimed_until=None)
    pull(panel, there)
    assert used(alice) == (0, 7)
    there.has("alice", 110)
    pull(panel, there)
    assert used(alice) == (0, 10)


def test_what_was_read_before_a_kill_is_booked_even_if_the_panel_no_longer_tells_it(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 100)
    pull(panel, there)
    there.has("alice", 107)
    with (
        mock.patch.object(journal, "unbooked", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        pulling.pull([panel.pk], network=there.network)
    Panel.objects.update(claimed_until=None)
    there.marzban.clear()
    pull(panel, there)
    assert used(alice) == (0, 7)


def test_a_busy_database_loses_nothing(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    there.has("alice", 100)
    pull(panel, there)
    there.has("alice", 107)
    with mock.patch.object(acceptance, "book", side_effect=OperationalError):
        assert pull(panel, there).error == "busy"
    pull(panel, there)
    assert used(alice) == (0, 7)


def test_all_sums_agree_after_it_all(panel: Panel, there: StandIn, alice: Subscriber) -> None:
    for total in (5, 9, 4, 8):
        there.has("alice", total)
        there.has("unknown", total)
        pull(panel, there)
    assert verification.count_differences(lambda _: None) == 0
    assert used(alice) == (0, 8)


def test_an_erased_person_is_erased_here_too(
    panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 5)
    there.has("bob", 5)
    pull(panel, there)
    there.has("alice", 6)
    pull(panel, there)
    erasure.erase(alice, BY)
    assert list(Reading.objects.values_list("folded", flat=True)) == ["bob"]
    assert list(Total.objects.values_list("folded", flat=True)) == ["bob"]


def test_the_link_of_an_erased_person_is_erased(link: Panel, alice: Subscriber) -> None:
    erasure.erase(alice, BY)
    assert not Panel.objects.exists()


def test_the_password_and_the_key_are_only_sent_to_the_panel(panel: Panel, there: StandIn) -> None:
    Panel.objects.update(sealed_headers=sealing.seal("Cookie: gate=open\nX-Gate: 1"))
    pull(panel, there)
    sign_in, listing = there.requests
    assert b"X-Gate: 1" in sign_in
    assert b"Authorization: Bearer t0k3n" in listing
    assert b"s3cr3t" not in listing


def test_no_more_than_the_limit_of_answers_is_kept_in_memory() -> None:
    assert client.LIMITS.body == 4 * 2**20

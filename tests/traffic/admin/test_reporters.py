"""Reporters in the admin: the list, the page of each, unknown people, amounts set aside, names of subscribers."""

from datetime import datetime
from html import unescape
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from operations.api.authentication import create_api_key
from operations.models import ApiKey, AuditEntry
from tests.traffic.admin_pages import a_subscriber, operator, staff, text_of, url
from tests.traffic.examples import DAY, GB, HOUR, NOW, assert_sums_agree, balance
from traffic import agent_program
from traffic.agent_program import AgentProgram
from traffic.figures import reporters as figures
from traffic.intake import acceptance
from traffic.ledger import reporters as ledger
from traffic.ledger.owners import Sending
from traffic.models import KnownAs, MeteredPerson, Reporter, Server, SetAside, Subscriber, Told
from traffic.readings import Message, Row, Source, checked_rows

pytestmark = pytest.mark.django_db
RUN = int((NOW - DAY).timestamp())
PULL = Sending(origin="pull:5", kind=Reporter.Kind.PULL)
LIST = "/admin/traffic/reporter/"


@pytest.fixture(autouse=True)
def _ann() -> Any:
    a_subscriber("Ann", token="ann")
    with time_machine.travel(NOW, tick=False):
        yield
    assert_sums_agree()


@pytest.fixture
def client() -> Client:
    return operator()


def tell(
    sending: Sending = PULL,
    total: int = GB,
    at: datetime = NOW,
    sources: tuple[Source, ...] | None = None,
    **who: str,
) -> None:
    owner: dict[str, Any] = who or {"user_token": "ann"}
    row = Row(server="a.example", port=443, protocol="vless", upload=total, **owner)
    message = Message("panel", RUN, False, *checked_rows([row], at), sources=sources)
    acceptance.book(message, sending, at)


def page_of(client: Client, reporter: Reporter | None = None) -> str:
    pk = (reporter or Reporter.objects.get()).pk
    return text_of(client.get(url("reporter_reported", pk)))


def adopt(client: Client, **fields: str) -> Any:
    person = MeteredPerson.objects.get()
    address = url("reporter_adopt", person.reporter_id)
    return client.post(f"{address}?person={person.pk}", fields, follow=True)


# --- the list --------------------------------------------------------------------


def test_without_reporters_it_says_how_to_begin(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = AgentProgram("https://p.example/agent/xpert-agent.pyz", "ab" * 32)
    monkeypatch.setattr(agent_program, "served", lambda origin: program)
    page = client.get(LIST).content.decode()
    assert "No program reports yet" in page
    assert 'value="manage.py create_api_key gateway-1 --scope report"' in page
    assert "ab" * 32 in page
    assert "xpert-agent.pyz check -c agent.ini" in page


def test_the_list_shows_what_each_reports(client: Client) -> None:
    tell()
    tell(person="eve")
    page = text_of(client.get(LIST))
    assert "panel (pull 5) pull provider" in page
    assert "1 1 unknown 1.00 GB reporting" in page


def test_devices_and_accounts_of_people_are_not_in_the_list(client: Client) -> None:
    tell(Sending())
    tell(Sending(origin="account:1", kind=Reporter.Kind.ACCOUNT))
    assert "No program reports yet" in client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("interval", "after", "is_silent"),
    [(60, HOUR, False), (60, HOUR * 1.01, True), (None, DAY, False), (None, DAY * 1.01, True),
     (HOUR.seconds, 3 * HOUR, False), (HOUR.seconds, 3.01 * HOUR, True), (60, 31 * DAY, False)],
)  # fmt: skip
def test_a_reporter_that_misses_three_intervals_is_silent(
    interval: int | None, after: Any, is_silent: bool
) -> None:
    tell()
    Reporter.objects.update(interval=interval)
    found = Reporter.objects.get()
    assert bool(figures.silent_since(found, NOW + after)) == is_silent


def test_single_reports_may_pause_for_a_day() -> None:
    tell()
    Reporter.objects.update(interval=60, kind=Reporter.Kind.WEBHOOK)
    found = Reporter.objects.get()
    assert figures.silent_since(found, NOW + DAY) is None
    assert figures.silent_since(found, NOW + DAY * 1.01) == NOW


def test_the_list_shows_silence(client: Client) -> None:
    tell()
    with time_machine.travel(NOW + 2 * DAY, tick=False):
        assert '<span class="xp-badge xp-expired">silent' in client.get(LIST).content.decode()


def test_ended_and_revoked_reporters_are_not_silent() -> None:
    tell()
    ledger.end("pull:5", NOW)
    key = create_api_key("gone", "report")[0]
    tell(Sending(key.pk))
    ApiKey.objects.update(revoked_at=NOW)
    for found in Reporter.objects.all():
        assert figures.silent_since(found, NOW + 5 * DAY) is None


@pytest.mark.parametrize("news", ["silent", "problems", "unknown"])
def test_the_list_filters_by_what_needs_attention(client: Client, news: str) -> None:
    tell(sources=(Source("wg0", ok=False, error="denied"),), person="eve")
    tell(Sending(origin="link:1", kind=Reporter.Kind.LINK))
    Reporter.objects.filter(origin="pull:5").update(last_seen_at=NOW - 2 * DAY, interval=60)
    page = text_of(client.get(f"{LIST}?news={news}"))
    assert "panel (pull 5)" in page
    assert "(linked panel 1)" not in page


def test_the_list_costs_the_same_however_many_there_are(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(9):
        tell(Sending(origin=f"pull:{n}"))
    with django_assert_max_num_queries(12):
        client.get(LIST)


# --- the page of one -----------------------------------------------------------------


def test_its_page_shows_people_controls_and_problems(client: Client) -> None:
    tell(Sending(origin="link:1", grade=Reporter.Grade.MEASURED), 2 * GB)
    tell(total=GB, sources=(Source("wg0", "wireguard", ok=False, error="Permission denied"),))
    page = page_of(client, Reporter.objects.get(origin="pull:5"))
    assert "wg0 problem Permission denied wireguard" in page
    assert "Ann 0 B 1.00 GB" in page


def test_there_is_nothing_to_edit(client: Client) -> None:
    tell()
    pk = Reporter.objects.get().pk
    assert client.get(url("reporter_change", pk)).headers["location"].endswith(f"/{pk}/reported/")


def test_an_unknown_person_is_adopted(client: Client) -> None:
    tell(person="eve")
    assert "eve" in page_of(client)
    answer = adopt(client, who="ann", once="x")
    assert "eve is Ann from now on." in text_of(answer)
    tell(total=3 * GB, person="eve")
    assert balance("ann").life_upload == 2 * GB
    assert AuditEntry.objects.filter(target_id=Subscriber.objects.get().pk).exists()


def test_from_the_beginning_what_was_kept_counts_too(client: Client) -> None:
    tell(person="eve")
    adopt(client, who="Ann", whole="on", once="x")
    assert balance("ann").life_upload == GB


def test_an_unknown_person_becomes_a_new_subscriber(client: Client) -> None:
    tell(person="eve")
    adopt(client, is_new="on", whole="on", once="x")
    assert balance(Subscriber.objects.get(name="eve").token).life_upload == GB
    assert AuditEntry.objects.filter(action="added", target_name="eve").exists()


@pytest.mark.parametrize(
    ("fields", "error"),
    [({}, "Name a subscriber"), ({"who": "ann", "is_new": "on"}, "Name a subscriber"),
     ({"who": "nobody"}, "Nobody has this name"), ({"who": "Twin"}, "Several subscribers")],
)  # fmt: skip
def test_it_says_what_is_wrong_with_an_adoption(
    client: Client, fields: dict[str, str], error: str
) -> None:
    for n in range(2):
        Subscriber.objects.create(name="Twin", token=f"twin-{n}")
    tell(person="eve")
    assert error in text_of(adopt(client, once="x", **fields))
    assert MeteredPerson.objects.get().subscriber is None


def test_a_person_of_another_reporter_is_not_found(client: Client) -> None:
    tell(person="eve")
    tell(Sending(origin="pull:6"))
    other = Reporter.objects.get(origin="pull:6")
    person = MeteredPerson.objects.get()
    assert client.get(f"{url('reporter_adopt', other.pk)}?person={person.pk}").status_code == 404
    assert client.get(f"{url('reporter_adopt', other.pk)}?person=x").status_code == 404


@pytest.mark.parametrize(("query", "decision", "counted"), [("", "counted", 1), ("&drop=1", "dropped", 0)])  # fmt: skip
def test_an_amount_set_aside_is_counted_or_dropped(
    client: Client, settings: Any, query: str, decision: str, counted: int
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    tell(total=100 * GB)
    assert "Ann Count Drop a.example:443 vless 100.00 GB 0 B" in page_of(client)
    entry = SetAside.objects.get()
    address = f"{url('reporter_decide', entry.reporter_id)}?amount={entry.pk}{query}"
    assert "100.00 GB" in text_of(client.get(address))
    assert SetAside.objects.get().decision == ""
    client.post(address)
    entry.refresh_from_db()
    assert (entry.decision, entry.decided_by) == (decision, "root")
    if counted:
        assert balance("ann").life_upload == 100 * GB
    assert "before" in text_of(client.post(address, follow=True))


def test_viewers_see_and_decide_nothing() -> None:
    tell(person="eve")
    viewer, pk = staff("view_reporter"), Reporter.objects.get().pk
    assert "Adopt" not in page_of(viewer)
    person = MeteredPerson.objects.get()
    assert viewer.get(f"{url('reporter_adopt', pk)}?person={person.pk}").status_code == 403


def test_the_largest_sums_are_shown(client: Client) -> None:
    tell()
    row = Told.objects.get()
    for day in range(1, 12):
        row.pk = (row.subscriber_id, row.server_id, row.reporter_id, NOW - day * DAY)
        row.upload = row.download = row.control_upload = 2**60
        row.save(force_insert=True)
    assert "22528.00 PB 11264.00 PB" in page_of(client).replace(",", "")
    Told.objects.filter(upload=2**60).delete()


# --- the pages of subscribers and servers ---------------------------------------------


def test_a_subscribers_page_says_who_reported_what(client: Client) -> None:
    tell(Sending(origin="link:1", grade=Reporter.Grade.MEASURED), 2 * GB)
    tell(total=GB)
    tell(Sending(), total=GB)
    page = unescape(text_of(client.get(url("subscriber_usage", Subscriber.objects.get().pk))))
    assert "panel (meter readings 1) measured: an own gateway or node 2.00 GB" in page
    assert "panel (pull 5) provider: a panel's or a provider's figure 0 B 1.00 GB" in page
    assert "own device: panel reported: a person's own device 0 B 1.00 GB" in page


def test_a_servers_page_says_who_reported_what(client: Client) -> None:
    tell(total=GB)
    page = unescape(text_of(client.get(url("server_usage", Server.objects.get().pk))))
    assert "panel (pull 5) provider: a panel's or a provider's figure 1.00 GB" in page


def test_a_name_is_added_and_forgotten(client: Client) -> None:
    ann = Subscriber.objects.get()
    client.post(url("subscriber_name", ann.pk), {"name": "Annie@Example"})
    known = KnownAs.objects.get()
    assert (known.subscriber, known.reporter, known.folded) == (ann, None, "annie@example")
    assert "Annie@Example for all reporters" in text_of(client.get(url("subscriber_usage", ann.pk)))
    tell(person="ANNIE@example")
    assert balance("ann").life_upload == GB
    address = f"{url('subscriber_forget_name', ann.pk)}?name={known.pk}"
    assert "Forget the name" in text_of(client.get(address))
    client.post(address)
    assert not KnownAs.objects.exists()
    assert client.post(address).status_code == 404
    changes = list(AuditEntry.objects.order_by("pk").values_list("changes", flat=True))
    assert [entry["also known as"] for entry in changes] == [
        [None, "Annie@Example"], ["Annie@Example", None],
    ]  # fmt: skip


def test_a_name_that_means_somebody_else_is_refused(client: Client) -> None:
    bob = a_subscriber("Bob", token="bob")
    KnownAs.objects.create(name="x", folded="x", subscriber=bob)
    answer = client.post(
        url("subscriber_name", Subscriber.objects.get(name="Ann").pk), {"name": "X"}
    )
    assert "means another subscriber already" in text_of(answer)
    assert KnownAs.objects.get().subscriber == bob

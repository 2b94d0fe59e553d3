"""Who may tell of usage: keys, people, parts of this panel, and keys that an app has bound to a meter."""

import hashlib
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, OperationalError, transaction
from django.test import Client
from model_bakery import baker

from operations import extension
from operations.api.authentication import create_api_key
from operations.databases import engine
from operations.extension import Extension
from operations.metering import Meant, Meter
from operations.models import ApiKey
from tests.traffic.examples import DAY, HOUR, NOW, assert_sums_agree, balance
from tests.traffic.metering import row, send
from traffic.intake import acceptance
from traffic.ledger import metered_people, reporters
from traffic.ledger.meters import Answer
from traffic.ledger.owners import Sending
from traffic.models import KnownAs, MeteredPerson, Reporter, Subscriber, Usage
from traffic.models import Meter as MeterRow
from traffic.readings import Message, Row, checked_rows

pytestmark = pytest.mark.django_db
RUN = int((NOW - HOUR).timestamp())
PULL = Sending(origin="pull:5", kind=Reporter.Kind.PULL)


@pytest.fixture(autouse=True)
def _ann() -> Any:
    Subscriber.objects.create(token="ann", name="Ann")
    with time_machine.travel(NOW, tick=False):
        yield
    assert_sums_agree()


def one(up: int = 100, down: int = 1000, **fields: Any) -> Row:
    who = {} if "user_token" in fields else {"person": "Ann"}
    server: dict[str, Any] = {"server": "vpn.example.com", "port": 443, "protocol": "vless"}
    return Row(upload=up, download=down, **(server | who | fields))


def book(*rows: Row, sending: Sending = PULL, meter: str = "panel", **more: Any) -> Answer:
    return acceptance.book(
        Message(meter, RUN, False, *checked_rows(rows, NOW), **more), sending, NOW
    )


def used(token: str = "ann") -> tuple[int, int]:
    found = balance(token)
    return found.life_upload, found.life_download


# --- a part of this panel ----------------------------------------------------------


def test_a_part_of_this_panel_is_a_reporter_of_its_own() -> None:
    assert book(one()).recorded == 1
    found = Reporter.objects.get()
    assert (found.origin, found.kind, found.grade) == ("pull:5", "pull", "provider")
    assert (found.api_key, found.subscriber, used()) == (None, None, (100, 1000))


def test_of_the_next_total_the_growth_counts() -> None:
    book(one())
    assert book(one(150, 1000)).recorded == 1
    assert used() == (150, 1000)


def test_two_parts_of_the_panel_have_meters_of_their_own() -> None:
    book(one())
    book(one(), sending=Sending(origin="pull:6"))
    assert used() == (200, 2000)
    assert Reporter.objects.count() == 2


def test_it_may_name_people_by_token_too() -> None:
    book(one(user_token="ann"))
    assert used() == (100, 1000)


def test_unknown_people_of_it_are_kept() -> None:
    book(one(person="eve"))
    assert MeteredPerson.objects.get().subscriber is None


def test_a_row_that_a_program_could_not_send_is_rejected() -> None:
    message = Message("panel", RUN, False, *checked_rows([one(port=0), one(2**61)], NOW))
    assert sorted(message.rejected) == [0, 1]


def test_a_changed_grade_is_kept() -> None:
    book(one())
    book(one(), sending=Sending(origin="pull:5", grade=Reporter.Grade.MEASURED))
    assert Reporter.objects.get().grade == "measured"


def test_one_that_has_ended_begins_again_with_its_next_message() -> None:
    book(one())
    reporters.end("pull:5", NOW)
    assert Reporter.objects.get().ended_at == NOW
    book()
    assert Reporter.objects.get().ended_at is None


def test_while_tracking_is_off_nothing_is_booked(settings: Any) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    with pytest.raises(acceptance.TrackingOffError):
        book(one())


def test_a_reporter_has_one_sender() -> None:
    fields: dict[str, Any] = {"meter": "m", "grade": "provider", "first_seen_at": NOW}
    key = create_api_key("k", "report")[0]
    for sender in ({}, {"api_key": key, "origin": "pull:5"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Reporter.objects.create(**fields, last_seen_at=NOW, **sender)


# --- growth without totals ---------------------------------------------------------


def test_deltas_count_whole_each_time() -> None:
    for _ in range(3):
        assert book(one(10, 5), deltas=True).recorded == 1
    assert used() == (30, 15)


def test_deltas_of_nothing_are_unchanged() -> None:
    assert book(one(0, 0), deltas=True).unchanged == 1
    assert not Usage.objects.exists()


def test_deltas_of_unknown_people_are_kept_with_their_sum() -> None:
    book(one(10, 5, person="eve"), deltas=True)
    book(one(10, 5, person="eve"), deltas=True)
    found = MeterRow.objects.get()
    assert (found.subscriber_id, found.counted_upload, found.counted_download) == (0, 20, 10)


def test_deltas_beyond_what_is_plausible_are_set_aside(settings: Any) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    assert book(one(2**30, 0), deltas=True).recorded == 1
    assert book(one(2**30 + 1, 0), deltas=True).rejected
    assert used() == (2**30, 0)


def test_a_message_with_an_event_counts_once() -> None:
    first = book(one(10, 5), deltas=True, event_id="body-1")
    again = book(one(10, 5), one(10, 5, person="eve"), deltas=True, event_id="body-1")
    assert (first.is_duplicate, again.is_duplicate, again.recorded) == (False, True, 0)
    assert used() == (10, 5)
    assert not MeteredPerson.objects.filter(name="eve").exists()


def test_other_events_count() -> None:
    book(one(10, 5), deltas=True, event_id="body-1")
    book(one(10, 5), deltas=True, event_id="body-2")
    assert used() == (20, 10)


# --- names ------------------------------------------------------------------------


def test_it_is_known_which_names_mean_somebody() -> None:
    book(one())
    pull = Reporter.objects.get()
    ann = Subscriber.objects.get()
    KnownAs.objects.create(name="Annie", folded="annie", reporter=pull, subscriber=ann)
    names = ["ANN", "annie", "eve"]
    assert metered_people.known(names, origin="pull:5", meter="panel") == {"ANN", "annie"}
    assert metered_people.known(names, origin="pull:6", meter="panel") == {"ANN"}


# --- a key that an app has bound to a meter ----------------------------------------


KNOWN: dict[str, Meant] = {}


def names(asked: Collection[str]) -> Mapping[str, Meant]:
    return {name: KNOWN[name] for name in asked if name in KNOWN}


@pytest.fixture
def gateway(client: Client) -> Any:
    """A client with a key that is bound to the meter gateway-1, and the id of that key."""
    server = ("origin.example.com", 8443, "trojan")
    KNOWN.update({"p1-s1": Meant("ann", server), "p1": Meant("ann"), "p9": Meant("gone")})
    key, secret = create_api_key("gateway-1", ApiKey.Scope.BOUND)
    meter = Meter("gateway-1", Reporter.Kind.GATEWAY, Reporter.Grade.MEASURED, names)
    own = Extension(name="test-gateways", meter=lambda pk: meter if pk == key.pk else None)
    extension.register(own)
    yield Client(headers={"authorization": f"Bearer {secret}"})
    del extension._registered["test-gateways"]


def test_a_bound_key_is_a_reporter_of_its_apps_kind_and_grade(gateway: Client) -> None:
    assert send(gateway, row(person="p1-s1"), run=RUN).json()["recorded"] == 1
    found = Reporter.objects.get()
    assert (found.kind, found.grade, found.meter) == ("gateway", "measured", "gateway-1")


def test_its_names_say_who_and_where(gateway: Client) -> None:
    send(gateway, row(person="p1-s1"), run=RUN)
    found = Usage.objects.select_related("server").get()
    assert (found.server.host, found.server.port) == ("origin.example.com", 8443)
    assert not MeteredPerson.objects.exists()


def test_a_name_without_a_server_means_the_rows_own(gateway: Client) -> None:
    send(gateway, row(person="p1"), run=RUN)
    assert Usage.objects.select_related("server").get().server.host == "vpn.example.com"


def test_its_rows_go_on_under_a_new_token(gateway: Client) -> None:
    send(gateway, row(person="p1"), run=RUN)
    Subscriber.objects.update(token="new")
    KNOWN["p1"] = Meant("new")
    assert send(gateway, row(150, 1000, person="p1"), run=RUN).json()["recorded"] == 1
    assert used("new") == (150, 1000)


@pytest.mark.parametrize("who", [{"person": "p2"}, {"person": "p9"}, {"user_token": "ann"}])
def test_of_others_it_may_not_tell(gateway: Client, who: dict[str, Any]) -> None:
    answer = send(gateway, row(**who), run=RUN)
    assert answer.status_code == 400
    assert "person" in answer.json()["rejected"][0]["errors"]
    assert not Usage.objects.exists()


def test_another_meter_is_refused(gateway: Client) -> None:
    assert send(gateway, row(person="p1"), run=RUN, meter="gateway-2").status_code == 403


def test_the_webhook_refuses_it(gateway: Client) -> None:
    report = {"user_token": "ann", "server": "a.example", "port": 443, "protocol": "vless"}
    answer = gateway.post("/api/xpert/traffic-webhook", report, content_type="application/json")
    assert answer.status_code == 403


def test_a_bound_key_that_no_app_knows_may_not_report(client: Client) -> None:
    _, secret = create_api_key("else", ApiKey.Scope.BOUND)
    own = Client(headers={"authorization": f"Bearer {secret}"})
    assert send(own, row(person="p1"), run=RUN).status_code == 403


def test_an_event_is_remembered_the_next_day() -> None:
    book(one(10, 5), deltas=True, event_id="body-1")
    with time_machine.travel(NOW + DAY + timedelta(seconds=1), tick=False):
        assert book(one(10, 5), deltas=True, event_id="body-1").is_duplicate


@pytest.mark.parametrize("is_part", [True, False])
def test_a_sighting_that_a_node_cannot_take_stops_no_report(
    is_part: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster whose node is away. An error of the whole database is not hidden."""
    row = baker.make(Reporter, kind="webhook", grade="reported", origin="pull:1", last_seen_at=NOW)

    def away(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(Reporter, "save", away)
    monkeypatch.setattr(engine.current(), "is_about_a_part", lambda error: is_part)
    with nullcontext() if is_part else pytest.raises(OperationalError):
        reporters.see(row, reporters.Terms("webhook", "reported"), None, NOW + DAY)
    with pytest.raises(OperationalError):
        reporters.see(row, reporters.Terms("webhook", "measured"), None, NOW + DAY)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (one(), "{}\nperson\nann\nvpn.example.com\n443\nvless"),
        (one(user_token="ann"), "{}\ntoken\nann\nvpn.example.com\n443\nvless"),
    ],
)
def test_a_meter_is_found_again_by_what_its_key_was_made_of(row: Row, text: str) -> None:
    """Another text would orphan every stored meter, and count all totals a second time."""
    book(row)
    digest = hashlib.sha256(text.format(Reporter.objects.get().pk).encode()).hexdigest()
    assert MeterRow.objects.get().key == digest[:32]

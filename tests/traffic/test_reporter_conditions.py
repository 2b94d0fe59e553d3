"""Silence, problems, unknown people and amounts set aside: in doctor, notifications, gauges and the list of what needs attention."""

from typing import Any

import pytest
import time_machine
from prometheus_client.parser import text_string_to_metric_families

from operations.api.authentication import create_api_key
from operations.findings import Level
from operations.models import Notification, Receiver
from operations.notifications import outbox
from operations.watch import attention, doctor, exposition
from tests.traffic.admin_pages import a_subscriber
from tests.traffic.examples import DAY, GB, HOUR, NOW
from traffic.intake import acceptance
from traffic.ledger import reporters as ledger
from traffic.ledger.owners import Sending
from traffic.models import Reporter
from traffic.readings import Message, Row, Source, checked_rows

pytestmark = pytest.mark.django_db
RUN = int((NOW - DAY).timestamp())
PULL = Sending(origin="pull:5", kind=Reporter.Kind.PULL)
EVENTS = ["reporter-silent", "reporter-problem", "people-unknown", "implausible"]


@pytest.fixture(autouse=True)
def _ann() -> Any:
    a_subscriber("Ann", token="ann")
    with time_machine.travel(NOW, tick=False):
        Receiver.objects.create(
            name="r", kind="webhook", target="http://127.0.0.1:1/", events=EVENTS
        )
        yield


def tell(sending: Sending = PULL, total: int = GB, **more: Any) -> None:
    who = {"person": more.pop("person")} if "person" in more else {"user_token": "ann"}
    owner: dict[str, Any] = who
    row = Row(server="a.example", port=443, protocol="vless", upload=total, **owner)
    message = Message("panel", RUN, False, *checked_rows([row], NOW), **more)
    acceptance.book(message, sending, NOW)


def lines(now: Any = NOW) -> list[str]:
    """What doctor says of reporters, with its level; the first screen shows what is not well."""
    found = [line for line in doctor.examine(now) if line.subject == "Reporters"]
    shown = " ".join(item.text for item in attention.items(now, lambda _: True))
    assert ("Reporters: " in shown) == any(line.level > Level.OK for line in found)
    return [f"{line.level.name} {line.message}" for line in found]


def noticed(now: Any = NOW) -> list[str]:
    """The texts of new notifications, each once."""
    outbox.notice(now)
    outbox.notice(now)
    found = list(Notification.objects.order_by("pk").values_list("text", flat=True))
    Notification.objects.all().delete()
    return found


def gauges() -> dict[tuple[str, ...], float]:
    text = exposition.text().decode()
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "xpert_conditions"
    }


def test_a_reporter_that_is_heard_of_is_well() -> None:
    tell()
    assert lines() == ["OK No reporter is silent."]
    assert noticed() == []


def test_a_silent_reporter_is_noticed_everywhere() -> None:
    tell()
    Reporter.objects.update(interval=60)
    later = NOW + 2 * HOUR
    with time_machine.travel(later, tick=False):
        assert lines(later) == ["WARNING Silent for longer than usual: panel."]
        assert gauges()["reporter-silent", "warning"] == 1
        (text,) = noticed(later)
    assert text.startswith("Reporter panel is silent: its last report came at 2024-02-10")


def test_a_key_of_the_webhook_is_told_once_by_its_reporter() -> None:
    """Not as a key as well."""
    key = create_api_key("shop", "report")[0]
    tell(Sending(key.pk))
    key.last_used_at = NOW
    key.save()
    later = NOW + 2 * DAY
    with time_machine.travel(later, tick=False):
        assert lines(later) == ["WARNING Silent for longer than usual: panel."]


@pytest.mark.parametrize("sending", [Sending(), Sending(origin="account:7", kind="account")])
def test_a_persons_own_device_may_be_silent(sending: Sending) -> None:
    tell(sending)
    later = NOW + 2 * DAY
    with time_machine.travel(later, tick=False):
        assert lines(later) == []
        assert noticed(later) == []


def test_what_has_ended_may_be_silent() -> None:
    tell()
    ledger.end("pull:5", NOW)
    later = NOW + 2 * DAY
    with time_machine.travel(later, tick=False):
        assert lines(later) == ["OK No reporter is silent."]


def test_problems_of_a_reporter_are_noticed_in_its_own_words() -> None:
    tell(sources=(Source("wg0", ok=False, error="Permission denied"), Source("x")))
    assert "WARNING panel cannot read everything: wg0: Permission denied" in lines()
    assert gauges()["reporter-problem", "warning"] == 1
    assert noticed() == ["Reporter panel cannot read everything: wg0: Permission denied"]


def test_problems_that_are_over_are_forgotten() -> None:
    tell(sources=(Source("wg0", ok=False, error="Permission denied"),))
    tell(sources=(Source("wg0"),))
    assert lines() == ["OK No reporter is silent."]


def test_unknown_people_are_noticed() -> None:
    tell(person="eve")
    tell(person="carl")
    assert "WARNING Unknown people of panel: 2." in lines()
    assert gauges()["people-unknown", "warning"] == 1
    assert noticed() == ["Unknown people of reporter panel: 2."]


def test_amounts_that_wait_for_a_decision_are_noticed(settings: Any) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    tell(total=100 * GB)
    waits = "Not counted because it is not plausible, and waiting for a decision: 100.00 GB."
    assert f"WARNING {waits}" in lines()
    assert gauges()["set-aside", "warning"] == 1
    assert noticed() == ["Ann: 100.00 GB at once is not plausible and was not counted."]

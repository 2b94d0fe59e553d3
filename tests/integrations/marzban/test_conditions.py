"""What doctor, notifications and metrics say of linked panels; settings; the command's pause."""

import importlib.util
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from integrations.marzban import (
    certificates,
    checks,
    condition_words,
    conditions,
    handover,
    linking,
    sightings,
)
from integrations.marzban.models import HandedServerUsage, HandedUsage, HandOver, PanelLink
from operations.audit import By
from operations.wording import findings
from tests.traffic.examples import a_report, stored
from traffic.models import Reporter, Server, Subscriber

pytestmark = pytest.mark.django_db
NOW = datetime(2024, 2, 10, 19, 20, 30, tzinfo=UTC)


def a_link(**fields: Any) -> PanelLink:
    return PanelLink.objects.create(name="Main", client_certificate="PEM", **fields)


def codes() -> list[str]:
    return [found.code for found in conditions.links(NOW)]


def test_without_a_link_nothing_is_said() -> None:
    baker.make(PanelLink, client_certificate="")
    assert [*conditions.links(NOW)] == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "marzban-never-connected"),
        ({"seen_at": NOW - conditions.SILENT}, "marzban-connected"),
        ({"seen_at": NOW - conditions.SILENT - timedelta(seconds=1)}, "marzban-silent"),
        ({"seen_at": NOW, "state": PanelLink.State.PAUSED}, "marzban-paused"),
        ({"seen_at": NOW, "node_error": "port"}, "marzban-port-taken"),
        ({"node_error": "certificate"}, "marzban-certificate-bad"),
        ({"kind": "pasarguard", "seen_at": NOW}, "marzban-connected"),
    ],
)
def test_a_link_is_told_as_it_is(fields: dict[str, object], code: str) -> None:
    a_link(**fields)
    assert codes() == [code]
    (line,) = findings(list(conditions.links(NOW)), condition_words.WORDS)
    assert "%" not in line.subject + line.message + line.advice


def test_an_account_that_does_not_work_is_reported() -> None:
    a_link(account_name="admin", reconcile_error="password")
    *_, line = findings(list(conditions.links(NOW)), condition_words.WORDS)
    assert "password" in line.message
    PanelLink.objects.update(reconcile_error="")
    assert "marzban-account-fails" not in codes()


def test_a_linked_panel_is_a_reporter_until_it_is_removed() -> None:
    link = a_link()
    sightings.note(link, NOW)
    sightings.note(link, NOW + timedelta(minutes=6))
    found = Reporter.objects.get()
    assert (found.kind, found.last_seen_at, found.ended_at) == (
        "link",
        NOW + timedelta(minutes=6),
        None,
    )
    linking.forget(link, By("ann", NOW))
    found.refresh_from_db()
    assert found.ended_at == NOW


def test_a_missing_package_for_clash_lists_is_told_when_there_is_a_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert [*conditions.lists(NOW)] == []
    a_link()
    (line,) = findings(list(conditions.lists(NOW)), condition_words.WORDS)
    assert "ruamel.yaml" in line.message
    monkeypatch.undo()
    assert [*conditions.lists(NOW)] == []


def test_a_missing_package_is_told_when_there_is_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert codes() == []
    a_link(seen_at=NOW)
    assert codes() == ["marzban-node-package-missing", "marzban-connected"]
    with pytest.raises(CommandError, match="grpcio"):
        call_command("marzban_node")


@pytest.mark.parametrize(
    ("listens", "is_told"),
    [
        ("127.0.0.1:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        ("0.0.0.0:1", True),
        ("node:1", True),
    ],
)
def test_a_grpc_port_beyond_this_machine_is_told(
    settings: Settings, listens: str, is_told: bool
) -> None:
    settings.XPERT_MARZBAN_NODE_API = listens
    a_link(seen_at=NOW)
    assert ("marzban-node-open" in codes()) == is_told


def test_unknown_bytes_are_told() -> None:
    link = a_link()
    assert "marzban-bytes-unknown" not in codes()
    for state, size in (("sent", 10), ("unknown", 7), ("unknown", 1)):
        baker.make(HandOver, link=link, what="users", state=state, download=size, made_at=NOW)
    *_, found = conditions.links(NOW)
    assert (found.code, found.figures) == ("marzban-bytes-unknown", {"lost_bytes": 8})


def test_operators_are_told_once_of_each_silence() -> None:
    (kind,) = condition_words.KINDS
    link = a_link(seen_at=NOW - timedelta(hours=1))
    (event,) = kind.events(NOW)
    assert event.data == {"panel": {"id": link.pk, "name": "Main"}}
    assert event.key == next(kind.events(NOW + timedelta(hours=1))).key
    link.seen_at = NOW
    link.save()
    assert list(kind.events(NOW)) == []


def test_the_last_call_and_unknown_bytes_are_gauges() -> None:
    link = a_link(seen_at=NOW)
    baker.make(HandOver, link=link, what="users", state="unknown", download=8, made_at=NOW)
    found = [*conditions.links(NOW)]
    seen, lost = condition_words.gauges(found)
    assert [(sample.labels, sample.value) for sample in (*seen.samples, *lost.samples)] == [
        ({"panel": "Main"}, NOW.timestamp()),
        ({"panel": "Main"}, 8),
    ]


@pytest.mark.parametrize(
    "value", ["", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:80", 62060]
)
def test_an_address_of_the_wrong_form_is_refused(settings: Settings, value: object) -> None:
    settings.XPERT_MARZBAN_NODE_LISTEN = value
    assert [message.id for message in checks.check_settings()] == ["marzban.E001"]


def test_old_hand_overs_are_dropped_but_not_pending_ones() -> None:
    link, server = a_link(), baker.make(Server)
    old, recent = NOW - timedelta(days=91), NOW - timedelta(days=89)
    for made_at, state in ((old, "sent"), (old, "pending"), (recent, "unknown")):
        baker.make(HandOver, link=link, made_at=made_at, state=state)
    for day in (old, recent - timedelta(days=0), NOW):
        HandedServerUsage.objects.create(
            link=link, server=server, day=day.replace(hour=0, minute=0, second=0)
        )
    assert handover.drop_old(NOW) == 1
    assert set(HandOver.objects.values_list("state", flat=True)) == {"pending", "unknown"}
    assert HandedServerUsage.objects.count() == 1


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"])
def test_what_is_not_a_certificate_is_refused(text: str) -> None:
    with pytest.raises(certificates.CertificateError, match="not the one from Node Settings"):
        certificates.der(text)


def test_the_nodes_own_certificate_is_made_once_and_its_key_is_private() -> None:
    own = certificates.own()
    assert own.key.stat().st_mode & 0o777 == 0o600
    before = own.certificate.read_bytes()
    assert certificates.own().certificate.read_bytes() == before


def test_a_missing_openssl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(certificates.CertificateError, match="openssl is missing"):
        certificates.own()


# --- The end of a pause ------------------------------------------------------


def resume(*arguments: str) -> str:
    out = StringIO()
    call_command("marzban_node", *arguments, stdout=out)
    return out.getvalue()


def test_a_pause_ends_with_the_command() -> None:
    link = a_link(state=PanelLink.State.PAUSED)
    now = timezone.now()
    stored(a_report(now - timedelta(days=2), upload=0, download=50), now=now)
    stored(a_report(now, upload=0, download=7), now=now)
    person = Subscriber.objects.get()
    since = (now - timedelta(hours=1)).isoformat()
    assert "Main gets what was used since" in resume("--resume", "Main", "--since", since)
    link.refresh_from_db()
    assert link.state == PanelLink.State.ACTIVE
    assert HandedUsage.objects.get().handed in {
        50,
        57,
    }  # the hour of the report may have just begun
    assert HandedUsage.objects.get().subscriber == person


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--resume", "Nobody"], "There is no linked panel Nobody. Linked: Main"),
        (["--resume", "Main", "--since", "yesterday"], "takes a moment"),
        (["--resume", "Main", "--since", "2026-13-01T00:00"], "takes a moment"),
        (["--resume", "Main", "--since", "2999-01-01T00:00"], "in the future"),
    ],
)
def test_a_pause_that_cannot_end_is_explained(arguments: list[str], sentence: str) -> None:
    a_link(state=PanelLink.State.PAUSED)
    with pytest.raises(CommandError, match=sentence):
        resume(*arguments)


def test_a_link_that_is_not_paused_is_left_alone() -> None:
    a_link()
    with pytest.raises(CommandError, match="Main is not paused"):
        resume("--resume", "Main")

"""The operator's pages for gateways."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from gateways import hours, state
from gateways.models import Gateway
from operations.audit import Action
from operations.formatting import size
from operations.models import AuditEntry
from tests.gateways.examples import BERLIN, EXOTIC, NOW, XHTTP, gateway
from tests.subscriptions.examples import direct
from traffic import agent_program
from traffic.agent_program import AgentProgram

pytestmark = pytest.mark.django_db
LIST = "/admin/gateways/gateway/"


def add(client: Client, **more: Any) -> Any:
    fields = {"name": "gw", "host": "GW.example.com", "protocols": ["shadowsocks", "hysteria2"]}
    usual = {"direct": "on", "all_sources": "on"}
    return client.post(f"{LIST}add/", fields | usual | more, follow=True)


def test_a_gateway_of_xray_is_made_in_the_form(admin_client: Client) -> None:
    add(admin_client, engine="xray", protocols=["vless"])
    made = Gateway.objects.get()
    assert made.engine == Gateway.Engine.XRAY
    assert [(one.protocol, one.port) for one in made.inbounds.all()] == [("vless", 21_000)]


def test_three_fields_make_a_gateway_and_its_key_is_shown_once(admin_client: Client) -> None:
    page = add(admin_client).content.decode()
    made = Gateway.objects.get()
    assert (made.host, made.beside, made.all_sources) == ("gw.example.com", False, True)
    assert [(one.protocol, one.port) for one in made.inbounds.all()] == [
        ("shadowsocks", 8388),
        ("hysteria2", 443),
    ]
    assert "shown only once" in page
    assert made.key.hint in page
    assert "shown only once" not in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"protocols": ["trojan", "vless"]}, "same port"),
        ({"host": "a b"}, "host"),
        ({"certificate": "/c.pem"}, "go together"),
        ({"reality_server_name": "example.org"}, "REALITY is for vless"),
    ],
)
def test_what_cannot_work_is_said_in_the_form(
    admin_client: Client, fields: dict[str, Any], sentence: str
) -> None:
    assert sentence in add(admin_client, **fields).content.decode()
    assert not Gateway.objects.exists()


def test_a_gateway_refuses_while_open_access_is_on(
    admin_client: Client, settings: Settings
) -> None:
    settings.XPERT_OPEN_ACCESS = True
    assert "Open access is on" in add(admin_client).content.decode()
    assert not Gateway.objects.exists()


def test_the_list_and_the_page_show_its_state(admin_client: Client) -> None:
    made = gateway(("shadowsocks", 8388), ("hysteria2", 443), ("vless", 444), reality_server_name="www.example.org")  # fmt: skip
    assert "never been heard of" in admin_client.get(LIST).content.decode()
    page_of = f"{LIST}{made.pk}/overview/"
    told: dict[str, Any] = {
        "core": "1.14.4",
        "tags": ["with_gvisor"],
        "complaint": "no such method",
    }
    state.store(made, state.State(**told, left_out={"s2:443/trojan": "bad cipher"}), NOW)
    for address in (LIST, page_of):
        page = admin_client.get(address).content.decode()
        assert "sing-box 1.14.4" in page
        assert "no such method" in page
    assert "Hysteria2 (with_quic)" in page
    assert "REALITY (with_utls)" in page
    assert "s2:443/trojan" in page
    assert "bad cipher" in page


def test_the_line_to_copy_has_the_agents_digest(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gateway()
    program = AgentProgram("https://panel.example.com/agent/xpert-agent.pyz", "ab" * 32)
    monkeypatch.setattr(agent_program, "served", lambda origin: program)
    page = admin_client.get(f"{LIST}{made.pk}/overview/").content.decode()
    assert "ab" * 32 in page
    assert "install --gateway --panel http://testserver --key-file /etc/xpert-gateway/key" in page


def test_its_page_shows_what_it_has_carried_by_the_hour_and_what_a_kill_cut_off(
    admin_client: Client,
) -> None:
    made = gateway()
    carried = hours.Totals("run", 5 * 2**30, 7 * 2**30, 3 * 2**20)
    state.store(made, state.State(deaths=17, carried=carried), timezone.now())
    page = admin_client.get(f"{LIST}{made.pk}/overview/").content.decode()
    assert "Traffic by hour" in page
    for text in (*map(size, (5 * 2**30, 7 * 2**30, 3 * 2**20)), ">17<"):
        assert text in page


@pytest.mark.parametrize(
    ("engine", "seconds", "unexplained"),
    [
        (Gateway.Engine.SING_BOX, 2, "carried, but for whom is not known"),
        (Gateway.Engine.XRAY, 10, "not known: Xray has no total of its own"),
    ],
)
def test_its_page_says_that_what_a_killed_core_carried_last_is_not_counted(
    admin_client: Client, engine: Gateway.Engine, seconds: int, unexplained: str
) -> None:
    made = gateway(engine=engine)
    state.store(made, state.State(deaths=1), timezone.now())
    page = admin_client.get(f"{LIST}{made.pk}/overview/").content.decode()
    assert f"up to {seconds} seconds of traffic before each" in page
    assert unexplained in page


@pytest.mark.parametrize("beside", [True, False])
def test_its_page_names_the_servers_that_do_not_go_through_it_and_why(
    admin_client: Client, beside: bool
) -> None:
    direct(BERLIN, EXOTIC, XHTTP)
    made = gateway(beside=beside)
    page = admin_client.get(f"{LIST}{made.pk}/overview/").content.decode()
    assert "Berlin" not in page
    assert "does not speak this protocol" in page
    assert "does not have this transport" in page
    assert ("stay in the lists as direct links" in page) == beside


def test_a_new_key_replaces_the_old_one_and_is_noted(admin_client: Client) -> None:
    made = gateway()
    old = made.key.hash
    admin_client.get(f"{LIST}{made.pk}/replace/")
    made.key.refresh_from_db()
    assert made.key.hash == old
    page = admin_client.post(f"{LIST}{made.pk}/replace/", follow=True).content.decode()
    made.key.refresh_from_db()
    assert made.key.hash != old
    assert "shown only once" in page
    assert AuditEntry.objects.filter(action=Action.REPLACED, target_name="gw").count() == 1


def test_a_gateway_that_was_made_is_noted_once(admin_client: Client) -> None:
    add(admin_client)
    assert AuditEntry.objects.filter(target_name="gw").count() == 1


def test_the_list_asks_as_often_for_many_gateways_as_for_one(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    gateway(name="gw0")
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as one:
        admin_client.get(LIST)
    for number in range(1, 6):
        gateway(name=f"gw{number}")
    with django_assert_num_queries(len(one)):
        admin_client.get(LIST)


def test_the_first_screen_shows_who_is_online_and_what_is_wrong(admin_client: Client) -> None:
    made = gateway()
    state.store(made, state.State(online=41, complaint="no such method"), timezone.now())
    page = admin_client.get("/admin/").content.decode()
    assert f"{LIST}{made.pk}/overview/" in page
    assert "online: 41" in page
    assert "no such method" in page


def test_settings_can_be_changed_but_not_the_name(admin_client: Client) -> None:
    made = gateway()
    fields = {"host": "new.example.com", "beside": "on", "direct": "on", "all_sources": "on"}
    admin_client.post(f"{LIST}{made.pk}/change/", fields | {"name": "other"})
    made.refresh_from_db()
    assert (made.name, made.host, made.beside) == ("gw", "new.example.com", True)

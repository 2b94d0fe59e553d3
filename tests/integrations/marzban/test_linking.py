"""manage.py connect_marzban: what it makes in both panels, and the one sentence that says what is wrong."""

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from integrations.marzban import linking, own_node, running
from integrations.marzban.conf import conf
from integrations.marzban.models import PanelIdentity, PanelLink
from integrations.marzban.running import Nodes
from operations.models import AuditEntry
from tests.integrations.marzban.panel_api import PASSWORD, PanelApiServer, running_api
from tests.integrations.marzban.simulator import Marzban
from tests.ports import free_port
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in ((own_node, ("_STARTS", "_PAUSE")), (linking, ("_CONNECTS", "_PAUSE"))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name) / 10)


@pytest.fixture
def api(marzban: Marzban) -> Iterator[PanelApiServer]:
    with running_api(marzban.certificate) as found:
        yield found


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service marzban_node."""
    monkeypatch.setattr(running, "_LINKS", 0.05)
    stopping = threading.Event()
    thread = threading.Thread(target=running.run, args=(stopping,))
    thread.start()
    yield
    stopping.set()
    thread.join()


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


def connect(url: str, password: Path, *more: str, name: str = "admin") -> str:
    output = io.StringIO()
    call_command(
        "connect_marzban",
        url,
        "--username",
        name,
        "--password-file",
        str(password),
        *more,
        stdout=output,
    )
    return output.getvalue()


def refusal(url: str, password: Path, *more: str, name: str = "admin") -> str:
    with pytest.raises(CommandError) as caught:
        connect(url, password, *more, name=name)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


# --- What it makes -----------------------------------------------------------------


@pytest.mark.usefixtures("nodes")
def test_one_command_links_both_panels(api: PanelApiServer, password: Path) -> None:
    assert "External servers" in connect(f"{api.url}/dashboard/#/users", password)
    assert api.bodies == [
        {
            "name": "External servers",
            "address": "127.0.0.1",
            "port": conf.node_listen.port,
            "api_port": conf.node_api.port,
            "usage_coefficient": 1.0,
            "add_as_new_host": False,
        }
    ]
    link = PanelLink.objects.get()
    assert (link.url, link.kind, link.node_id) == (api.url, "marzban", 1)
    assert link.client_certificate == api.certificate
    assert AuditEntry.objects.get(action="added").author == "connect_marzban"


@pytest.mark.usefixtures("nodes")
def test_run_again_it_changes_nothing(api: PanelApiServer, password: Path) -> None:
    connect(api.url, password)
    before = PanelLink.objects.values().get()
    made = api.changes()
    assert "already" in connect(f"{api.url}/", password)
    assert api.changes() == made
    assert PanelLink.objects.values(*before.keys() - {"seen_at"}).get() == {
        key: value for key, value in before.items() if key != "seen_at"
    }
    assert AuditEntry.objects.count() == 1


@pytest.mark.usefixtures("nodes")
def test_remove_undoes_it(api: PanelApiServer, password: Path) -> None:
    api.nodes.append(
        {"id": 9, "name": "DE", "address": "192.0.2.1", "port": 62050, "api_port": 62051}
    )
    connect(api.url, password)
    link = PanelLink.objects.get()
    limited = Subscriber.objects.create(name="limited", suspension="limited")
    free = Subscriber.objects.create(name="free")
    for subscriber in (limited, free):
        PanelIdentity.objects.create(link=link, username=subscriber.name, subscriber=subscriber)
    connect(api.url, password, "--remove")
    assert [node["name"] for node in api.nodes] == ["DE"]
    assert not PanelLink.objects.exists()
    assert set(Subscriber.objects.values_list("name", "is_active", "suspension")) == {
        ("limited", False, ""),
        ("free", True, ""),
    }
    assert "not linked" in refusal(api.url, password, "--remove")


@pytest.mark.usefixtures("nodes")
def test_a_node_that_was_deleted_there_is_made_again(api: PanelApiServer, password: Path) -> None:
    connect(api.url, password)
    api.nodes.clear()
    assert "already" not in connect(api.url, password)
    assert len(api.nodes) == PanelLink.objects.count() == 1


@pytest.mark.usefixtures("nodes")
def test_a_taken_name_gets_a_number(api: PanelApiServer, password: Path) -> None:
    api.nodes.append({"id": 5, "name": "External servers", "address": "192.0.2.1", "port": 1})
    connect(api.url, password)
    assert api.nodes[1]["name"] == "External servers 2"


@pytest.mark.usefixtures("nodes")
def test_the_node_may_be_reached_at_another_address(api: PanelApiServer, password: Path) -> None:
    connect(api.url, password, "--node-address", "192.0.2.7")
    assert api.nodes[0]["address"] == "192.0.2.7"
    connect(api.url, password, "--node-address", "192.0.2.8")
    assert [node["address"] for node in api.nodes] == ["192.0.2.8"]
    connect(api.url, password)
    assert api.changes()[-1] == "PUT /api/node/1"


@pytest.mark.usefixtures("nodes")
def test_two_panels_get_two_nodes(api: PanelApiServer, password: Path, marzban: Marzban) -> None:
    with running_api(marzban.certificate) as other:
        connect(api.url, password)
        connect(other.url, password)
        assert other.nodes[0]["port"] == conf.node_listen.port + 2
        assert sorted(PanelLink.objects.values_list("number", flat=True)) == [0, 1]


@pytest.mark.usefixtures("nodes")
def test_a_reinstalled_panel_brings_its_new_certificate(
    api: PanelApiServer, password: Path, tmp_path: Path
) -> None:
    connect(api.url, password)
    (tmp_path / "new").mkdir()
    api.certificate = Marzban(tmp_path / "new").certificate
    connect(api.url, password)
    assert PanelLink.objects.get().client_certificate == api.certificate


# --- What is wrong ------------------------------------------------------------------


@pytest.mark.usefixtures("nodes")
def test_a_wrong_password_and_an_admin_who_is_not_sudo(
    api: PanelApiServer, password: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("nonsense")
    assert "does not accept" in refusal(api.url, wrong)
    assert "not a sudo admin" in refusal(api.url, password, name="reseller")
    assert not PanelLink.objects.exists()
    assert not api.nodes


def test_a_wrong_address(api: PanelApiServer, password: Path) -> None:
    assert "does not answer" in refusal(f"http://127.0.0.1:{free_port()}", password)
    assert "not an address" in refusal("marzban", password)
    assert "not an address" in refusal("ftp://127.0.0.1", password)
    assert "unencrypted" in refusal("http://marzban.example.com", password)
    assert "no TLS" in refusal(api.url.replace("http:", "https:"), password)
    assert "is not a Marzban" in refusal(f"{api.url}/somewhere", password)


def test_no_service_and_a_taken_port(api: PanelApiServer, password: Path) -> None:
    assert "manage.py marzban_node" in refusal(api.url, password)
    with socket.create_server((conf.node_listen.host, conf.node_listen.port)):
        assert "is taken" in refusal(api.url, password)
    assert not PanelLink.objects.exists()
    assert not api.nodes


@pytest.mark.usefixtures("nodes")
def test_a_taken_port_of_grpc(api: PanelApiServer, password: Path) -> None:
    with socket.create_server((conf.node_api.host, conf.node_api.port)):
        assert "taken by another program" in refusal(api.url, password)
    assert not PanelLink.objects.exists()


@pytest.mark.usefixtures("nodes")
def test_a_panel_that_cannot_connect(api: PanelApiServer, password: Path) -> None:
    api.connects, api.message = "error", "Connection refused"
    assert "Connection refused" in refusal(api.url, password)
    api.nodes[0]["status"] = "disabled"
    assert "switched off" in refusal(api.url, password)
    assert PanelLink.objects.count() == len(api.nodes) == 1


def test_open_access_and_a_missing_terminal(
    api: PanelApiServer, password: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match="no terminal"):
        call_command("connect_marzban", api.url)
    with pytest.raises(CommandError, match="password file"):
        connect(api.url, password.with_name("missing"))
    settings.XPERT_OPEN_ACCESS = True
    assert "XPERT_OPEN_ACCESS=False" in refusal(api.url, password)


def test_a_node_that_listens_everywhere_needs_an_address(
    api: PanelApiServer, password: Path, settings: Settings
) -> None:
    settings.XPERT_MARZBAN_NODE_LISTEN = f"0.0.0.0:{conf.node_listen.port}"
    nodes = Nodes()
    stopping = threading.Event()

    def update() -> None:
        while not stopping.wait(0.05):
            nodes.update()
        nodes.close()
        connection.close()

    thread = threading.Thread(target=update)
    thread.start()
    try:
        assert "--node-address" in refusal(api.url, password)
        connect(api.url, password, "--node-address", "127.0.0.1")
    finally:
        stopping.set()
        thread.join()


def test_the_account_is_kept_nowhere(api: PanelApiServer, password: Path, nodes: Any) -> None:
    connect(api.url, password)
    stored = str(list(PanelLink.objects.values())) + str(list(AuditEntry.objects.values()))
    assert PASSWORD not in stored
    assert "token-admin" not in stored

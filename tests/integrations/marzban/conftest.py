"""A node in this process, a simulated Marzban, and people who use external servers."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from integrations.marzban.models import PanelLink
from integrations.marzban.running import RunningNode
from tests.integrations.marzban.simulator import Marzban
from tests.ports import free_port


@pytest.fixture(autouse=True)
def own_folder(settings: Settings, tmp_path: Path) -> None:
    settings.XPERT_MARZBAN_FOLDER = str(tmp_path / "node")
    settings.XPERT_MARZBAN_NODE_LISTEN = f"127.0.0.1:{free_port()}"
    settings.XPERT_MARZBAN_NODE_API = f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marzban")


@pytest.fixture
def marzban(installation: Path) -> Iterator[Marzban]:
    found = Marzban(installation)
    yield found
    found.leave()


@pytest.fixture
def link(transactional_db: None, marzban: Marzban) -> PanelLink:
    return PanelLink.objects.create(
        name="Marzban", url="http://127.0.0.1:8000", client_certificate=marzban.certificate
    )


Start = Callable[[PanelLink], RunningNode]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts nodes that are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def begin(link: PanelLink) -> RunningNode:
            running = RunningNode(PanelLink.objects.get(pk=link.pk))
            stack.callback(running.close)
            return running

        yield begin


@pytest.fixture
def running(link: PanelLink, start: Start) -> RunningNode:
    return start(link)

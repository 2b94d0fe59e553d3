"""From where nothing is pulled, and what would be read twice."""

import pytest
from pytest_django import Settings

from integrations.marzban.models import PanelLink
from integrations.pulls import places
from integrations.pulls.models import Panel
from operations.outbound.url_policy import Refused

pytestmark = pytest.mark.django_db


def refused(url: str, kind: str = "marzban", *, private: bool = False) -> str:
    try:
        places.check(url, kind, allow_private=private)
    except Refused as error:
        return error.code
    return ""


@pytest.fixture
def ours(settings: Settings) -> None:
    settings.XPERT_DOMAIN = "https://Panel.Example.com"
    settings.PORT = 8000


@pytest.mark.parametrize(
    "url",
    [
        "https://panel.example.com",
        "https://PANEL.example.com./x/y",
        "https://panel.example.com:443",
    ],
)
def test_this_panel_itself_is_refused(ours: None, url: str) -> None:
    assert refused(url) == "own_panel"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_panel_itself_is_refused_on_this_machine(ours: None, host: str) -> None:
    assert refused(f"http://{host}:8000", private=True) == "own_panel"
    assert refused(f"http://{host}:8001", private=True) == ""


def test_another_panel_on_our_own_host_is_none_of_ours(ours: None) -> None:
    assert refused("https://panel.example.com:2053/base", "3x-ui") == ""


@pytest.mark.parametrize(
    ("url", "kind", "code"),
    [
        ("https://marzban.example.com", "marzban", "linked"),
        ("https://marzban.example.com:8443/x", "marzban", "linked"),
        ("https://marzban.example.com", "3x-ui", "linked"),
        ("https://marzban.example.com:2053", "3x-ui", ""),
        ("https://other.example.com", "marzban", ""),
    ],
)
def test_a_linked_panel_is_refused(url: str, kind: str, code: str) -> None:
    PanelLink.objects.create(name="Link", url="https://Marzban.example.com/")
    assert refused(url, kind) == code


def test_of_panels_on_this_machine_the_port_tells_which_is_linked() -> None:
    PanelLink.objects.create(name="Link", url="http://localhost:9000")
    assert refused("http://127.0.0.1:9000", private=True) == "linked"
    assert refused("http://127.0.0.1:8100", private=True) == ""


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://panel.example.com", "http"),
        ("https://10.0.0.5", "private_address"),
        ("https://169.254.169.254", "private_address"),
        ("https://user:pw@panel.example.com", "credentials"),
        ("ftp://panel.example.com", "bad_scheme"),
        ("https://panel.example.com:22", "bad_port"),
        ("", "bad_url"),
    ],
)
def test_where_no_panel_may_be(url: str, code: str) -> None:
    assert refused(url) == code


def test_panels_may_be_on_any_high_port_and_at_an_address() -> None:
    assert refused("https://93.184.215.14:54321/secret") == ""


HOST = "https://panel.example.com"


@pytest.mark.parametrize(
    ("stored", "wanted", "is_same"),
    [
        (("key", HOST, ""), ("key", HOST, ""), True),
        (("key", HOST, ""), ("key", f"{HOST}/other", ""), False),
        (("login", HOST, "a"), ("login", HOST, "a"), True),
        (("login", HOST, "a"), ("login", HOST, "b"), False),
        (("login", HOST, "a"), ("key", HOST, ""), True),
        (("login", HOST, "a"), ("link", f"{HOST}/sub/x", ""), True),
        (("link", f"{HOST}/sub/x", ""), ("login", HOST, "a"), True),
        (("link", f"{HOST}/sub/x", ""), ("link", f"{HOST}/sub/x", ""), True),
        (("link", f"{HOST}/sub/x", ""), ("link", f"{HOST}/sub/y", ""), False),
    ],
)
def test_who_would_be_read_twice(
    stored: tuple[str, str, str], wanted: tuple[str, str, str], is_same: bool
) -> None:
    access, url, username = stored
    panel = Panel.objects.create(
        name="A", kind="marzban", access=access, url=url, username=username
    )
    access, url, username = wanted
    found = {"kind": "marzban", "access": access, "url": url, "username": username}
    assert (places.reads_the_same(found, None) == panel) is is_same
    assert places.reads_the_same(found, panel.pk) is None


def test_below_a_path_another_panel_may_share_our_domain(ours: None, settings: Settings) -> None:
    settings.XPERT_BASE_PATH = "/panel"
    assert refused("https://panel.example.com/panel/") == "own_panel"
    assert refused("https://panel.example.com/panel") == "own_panel"
    assert refused("https://panel.example.com/panels/") == ""
    assert refused("https://panel.example.com/") == ""

from base64 import b64decode
from urllib.parse import parse_qs, urlsplit

import pytest

from subscriptions.serving.app_links import APPS, App, System, import_link, system_of

# What a token may hold, as it stands in a URL.
URL = "https://panel.example.com:8443/api/xpert/sub?user_token=a%2Bb%40c%3Ad%3D~.-_"
NAME = "Панель & Co #1"
LINKS = {app.name: import_link(app, URL, NAME) for app in APPS}


def address_in(link: str) -> str:
    """The subscription that an app would read from ``link``."""
    _, _, rest = link.partition("://")
    if "?url=" in rest:
        return parse_qs(urlsplit(link).query)["url"][0]
    if "sub://" in rest:
        return b64decode(rest.partition("sub://")[2].partition("?")[0], validate=True).decode()
    return rest.partition("/")[2].partition("#")[0]


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_every_app_reads_the_address_back(app: App) -> None:
    assert address_in(LINKS[app.name]) == URL


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_every_link_is_one_valid_url(app: App) -> None:
    link = LINKS[app.name]
    assert link.isascii()
    assert not set(link) & set(" \"'<>\\^`{|}")
    assert link.count("#") <= 1


def test_links_are_as_the_apps_document_them() -> None:
    encoded = "https%3A%2F%2Fpanel.example.com%3A8443%2Fapi%2Fxpert%2Fsub%3Fuser_token%3Da%252Bb%2540c%253Ad%253D~.-_"
    name = "%D0%9F%D0%B0%D0%BD%D0%B5%D0%BB%D1%8C%20%26%20Co%20%231"
    assert LINKS["Hiddify"] == f"hiddify://import/{URL}#{name}"
    assert LINKS["Happ"] == f"happ://add/{URL}"
    assert LINKS["v2rayNG"] == f"v2rayng://install-sub?url={encoded}#{name}"
    assert LINKS["v2RayTun"] == f"v2raytun://import/{URL}"
    assert LINKS["Streisand"] == f"streisand://import/{URL}#{name}"
    assert LINKS["Clash Verge"] == f"clash://install-config?url={encoded}&name={name}"
    assert LINKS["sing-box"] == f"sing-box://import-remote-profile?url={encoded}#{name}"
    assert LINKS["NekoBox"] == f"sn://subscription?url={encoded}&name={name}"
    assert LINKS["Shadowrocket"].startswith("shadowrocket://add/sub://aHR0cHM6Ly9")
    assert LINKS["Shadowrocket"].endswith(f"?remark={name}")


@pytest.mark.parametrize(
    ("user_agent", "system"),
    [
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140", System.ANDROID),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1", System.IOS),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140", System.WINDOWS),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1", System.MACOS),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", System.LINUX),
        ("", System.ANDROID),
    ],
)
def test_the_system_is_read_from_the_user_agent(user_agent: str, system: System) -> None:
    assert system_of(user_agent) is system


@pytest.mark.parametrize("system", System)
def test_every_system_has_an_app_and_every_store_is_a_secure_page(system: System) -> None:
    stores = [app.stores[system] for app in APPS if system in app.stores]
    assert stores
    assert all(store.startswith("https://") for store in stores)

"""Deep links that import a subscription into an app. Pure.

Sources: the URL schemes in each app's documentation or code. Some apps take the address
unescaped after a slash; the others take it as a percent-encoded parameter. v2rayNG and sing-box
read the name from the fragment.
"""

from base64 import b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote


class System(StrEnum):
    ANDROID = "Android"
    IOS = "iOS"
    WINDOWS = "Windows"
    MACOS = "macOS"
    LINUX = "Linux"


class App(NamedTuple):
    """``template``: the link, with ``raw``, ``encoded`` or ``base64`` for the address, and ``name``.

    ``stores``: where each system gets the app.
    """

    name: str
    template: str
    stores: Mapping[System, str]

    @property
    def systems(self) -> str:
        return ", ".join(self.stores)


_DESKTOP = (System.WINDOWS, System.MACOS, System.LINUX)
_APPLE = (System.IOS, System.MACOS)
_PLAY, _APP_STORE = "https://play.google.com/store/apps/details?id=", "https://apps.apple.com/app/"
_GITHUB = "https://github.com/{}/releases/latest"


def _everywhere(play: str, app_store: str, repository: str) -> dict[System, str]:
    return {
        System.ANDROID: _PLAY + play,
        System.IOS: _APP_STORE + app_store,
        **dict.fromkeys(_DESKTOP, _GITHUB.format(repository)),
    }


# The first that runs on a system is the one that the page recommends there.
APPS = (
    App(
        "Happ",
        "happ://add/{raw}",
        _everywhere("com.happproxy", "id6504287215", "Happ-proxy/happ-desktop"),
    ),
    App(
        "Hiddify",
        "hiddify://import/{raw}#{name}",
        _everywhere("app.hiddify.com", "id6596777532", "hiddify/hiddify-app"),
    ),
    App(
        "v2rayNG",
        "v2rayng://install-sub?url={encoded}#{name}",
        {System.ANDROID: _GITHUB.format("2dust/v2rayNG")},
    ),
    App(
        "v2RayTun",
        "v2raytun://import/{raw}",
        {
            System.ANDROID: f"{_PLAY}com.v2raytun.android",
            **dict.fromkeys(_APPLE, f"{_APP_STORE}id6476628951"),
        },
    ),
    App(
        "Streisand",
        "streisand://import/{raw}#{name}",
        dict.fromkeys(_APPLE, f"{_APP_STORE}id6450534064"),
    ),
    App(
        "Shadowrocket",
        "shadowrocket://add/sub://{base64}?remark={name}",
        dict.fromkeys(_APPLE, f"{_APP_STORE}id932747118"),
    ),
    App(
        "Clash Verge",
        "clash://install-config?url={encoded}&name={name}",
        dict.fromkeys(_DESKTOP, _GITHUB.format("clash-verge-rev/clash-verge-rev")),
    ),
    App(
        "FlClash",
        "clash://install-config?url={encoded}&name={name}",
        dict.fromkeys((System.ANDROID, *_DESKTOP), _GITHUB.format("chen08209/FlClash")),
    ),
    App(
        "sing-box",
        "sing-box://import-remote-profile?url={encoded}#{name}",
        {
            System.ANDROID: f"{_PLAY}io.nekohasekai.sfa",
            **dict.fromkeys(_APPLE, f"{_APP_STORE}id6673731168"),
        },
    ),
    App(
        "NekoBox",
        "sn://subscription?url={encoded}&name={name}",
        {System.ANDROID: _GITHUB.format("MatsuriDayo/NekoBoxForAndroid")},
    ),
    App(
        "Karing",
        "karing://install-config?url={encoded}&name={name}",
        dict.fromkeys(System, _GITHUB.format("KaringX/karing"))
        | {System.IOS: f"{_APP_STORE}id6472431552"},
    ),
    App(
        "V2Box",
        "v2box://install-sub?url={encoded}&name={name}",
        {
            System.ANDROID: f"{_PLAY}dev.hexasoftware.v2box",
            **dict.fromkeys(_APPLE, f"{_APP_STORE}id6446814690"),
        },
    ),
)

# In this order: an Android browser also names Linux, and an iPhone's also Mac OS.
_SIGNS = (
    ("android", System.ANDROID),
    ("iphone", System.IOS),
    ("ipad", System.IOS),
    ("windows", System.WINDOWS),
    ("mac os", System.MACOS),
    ("linux", System.LINUX),
)


def system_of(user_agent: str) -> System:
    """The system of a browser; Android if its User-Agent does not tell."""
    told = user_agent.lower()
    return next((system for sign, system in _SIGNS if sign in told), System.ANDROID)


def import_link(app: App, url: str, name: str) -> str:
    """``url``: the subscription's URL, without a fragment; ``name``: the profile's name."""
    return app.template.format(
        raw=url,
        encoded=quote(url, safe=""),
        base64=b64encode(url.encode()).decode(),
        name=quote(name, safe=""),
    )

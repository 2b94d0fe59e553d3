"""Links that open an app and hand it a subscription: one table. Pure.

Sources: the URL schemes that each app documents, or reads in its own code. Some take the address
as it is, behind a slash; the others as a parameter, percent-encoded. v2rayNG and sing-box read the
name from the fragment.
"""

from base64 import b64encode
from typing import NamedTuple
from urllib.parse import quote


class App(NamedTuple):
    """``template``: of the link, with ``raw``, ``encoded`` or ``base64`` for the address, and ``name``."""

    name: str
    systems: str
    template: str


APPS = (
    App("Hiddify", "Android, iOS, Windows, macOS, Linux", "hiddify://import/{raw}#{name}"),
    App("Happ", "Android, iOS, Windows, macOS, Linux", "happ://add/{raw}"),
    App("v2rayNG", "Android", "v2rayng://install-sub?url={encoded}#{name}"),
    App("v2RayTun", "Android, iOS, Windows, macOS", "v2raytun://import/{raw}"),
    App("Streisand", "iOS, macOS", "streisand://import/{raw}#{name}"),
    App("Shadowrocket", "iOS, macOS", "shadowrocket://add/sub://{base64}?remark={name}"),
    App("Clash Verge, FlClash", "Windows, macOS, Linux, Android", "clash://install-config?url={encoded}&name={name}"),
    App("sing-box", "Android, iOS, macOS", "sing-box://import-remote-profile?url={encoded}#{name}"),
    App("NekoBox", "Android", "sn://subscription?url={encoded}&name={name}"),
    App("Karing", "Android, iOS, Windows, macOS", "karing://install-config?url={encoded}&name={name}"),
    App("V2Box", "iOS, Android, macOS", "v2box://install-sub?url={encoded}&name={name}"),
)


def import_link(app: App, url: str, name: str) -> str:
    """``url``: of the subscription, itself a valid URL without a fragment; ``name``: of the profile."""
    return app.template.format(
        raw=url,
        encoded=quote(url, safe=""),
        base64=b64encode(url.encode()).decode(),
        name=quote(name, safe=""),
    )

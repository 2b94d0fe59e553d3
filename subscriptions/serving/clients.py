"""Recognises VPN apps by their User-Agent."""

import re
from typing import NamedTuple


class Client(NamedTuple):
    """``name``: used in hits and metrics. ``format``: the one that the app reads best.

    ``total_is_quota``: the app treats ``total`` as a data limit, so it would show the sum of the
    traffic as "nothing left". v2rayNG and v2rayN read no headers at all.
    ``zero_is_1970``: the app shows ``expire=0`` as a date in 1970 instead of "never".
    """

    name: str
    format: str
    total_is_quota: bool
    zero_is_1970: bool = False


# The first match wins; each pattern is anchored at the start and ignores case.
_TABLE = (
    # pattern                                                name             format      total is quota
    (r"hiddify",                                      Client("hiddify",       "plain",    True)),
    (r"nekobox|nekoray|throne",                       Client("nekobox",       "plain",    True, zero_is_1970=True)),
    (r"v2rayng",                                      Client("v2rayng",       "plain",    True)),
    (r"v2rayn",                                       Client("v2rayn",        "plain",    True)),
    (r"happ\b",                                       Client("happ",          "plain",    True, zero_is_1970=True)),
    (r"streisand",                                    Client("streisand",     "plain",    True)),
    (r"shadowrocket",                                 Client("shadowrocket",  "plain",    True)),
    (r"v2raytun",                                     Client("v2raytun",      "plain",    True)),
    (r"incy",                                         Client("incy",          "plain",    True)),
    (r"v2box",                                        Client("v2box",         "plain",    True)),
    (r"foxray",                                       Client("foxray",        "plain",    True)),
    (r"flclash",                                      Client("flclash",       "mihomo",   True)),
    (r"clash[-. ]?verge",                             Client("clash-verge",   "mihomo",   True)),
    (r"clash[-. ]?meta|clashx meta|mihomo",           Client("mihomo",        "mihomo",   True)),
    (r"stash",                                        Client("stash",         "mihomo",   True)),
    (r"(gui\.for\.)?clash|koala|murge|flowvy|prizrak-?box", Client("clash",    "mihomo",   True)),
    (r"karing",                                       Client("karing",        "sing-box", True)),
    (r"sf[aimt]/|sing-?box|gui\.for\.singbox|inhive",        Client("sing-box",      "sing-box", True)),
    (r"husi|exclave|sagernet|surfboard|quantumult|loon/|surge\b|egern", Client("other-vpn-app", "plain", True)),
    (r"curl/",                                        Client("curl",          "plain",    False)),
    (r"python|aiohttp",                               Client("python",        "plain",    False)),
    (r"mozilla/",                                     Client("browser",       "plain",    False)),
)  # fmt: skip
# Apps that are not in the table, mostly forks, are recognised by a word anywhere in their User-Agent. Apps that
# are "like ClashMeta" or prefer its format also read links.
_ANYWHERE = (
    (r"(?:like|prefer) clash",                        Client("other-vpn-app", "plain",    True)),
    (r"clash[-._ ]?meta|mihomo",                      Client("mihomo",        "mihomo",   True)),
    (r"clash",                                        Client("clash",         "mihomo",   True)),
    (r"sing[-._ ]?box",                               Client("sing-box",      "sing-box", True)),
)  # fmt: skip
_OTHER = Client("other", "plain", total_is_quota=False)
# "match" is anchored at the start, so these patterns begin with ".*".
_COMPILED = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), client)
    for pattern, client in (
        *_TABLE,
        *((f".*?(?:{pattern})", client) for pattern, client in _ANYWHERE),
    )
)
NAMES = (*(client.name for _, client in _TABLE), _OTHER.name)


def client_of(user_agent: str) -> Client:
    return next((client for pattern, client in _COMPILED if pattern.match(user_agent)), _OTHER)

"""Which app asks, by its User-Agent: one table. Facts about the apps: docs, page on subscriptions."""

import re
from typing import NamedTuple


class Client(NamedTuple):
    """``name``: for hits and metrics. ``format``: what the app reads best.

    ``total_is_quota``: it takes ``total`` for a data limit, so that the sum of the traffic
    there would read "nothing left". v2rayNG and v2rayN read no headers at all.
    """

    name: str
    format: str
    total_is_quota: bool


# The first match wins; each pattern is anchored at the start and ignores case.
_TABLE = (
    # pattern                                                name             format      total is quota
    (r"hiddify",                                      Client("hiddify",       "plain",    True)),
    (r"nekobox|nekoray|throne",                       Client("nekobox",       "plain",    True)),
    (r"v2rayng",                                      Client("v2rayng",       "plain",    True)),
    (r"v2rayn",                                       Client("v2rayn",        "plain",    True)),
    (r"happ\b",                                       Client("happ",          "plain",    True)),
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
    (r"sf[aimt]/|sing-?box|gui\.for\.singbox",        Client("sing-box",      "sing-box", True)),
    (r"husi|exclave|sagernet|surfboard|quantumult|loon/|surge\b|egern", Client("other-vpn-app", "plain", True)),
    (r"curl/",                                        Client("curl",          "plain",    False)),
    (r"python|aiohttp",                               Client("python",        "plain",    False)),
    (r"mozilla/",                                     Client("browser",       "plain",    False)),
)  # fmt: skip
_OTHER = Client("other", "plain", total_is_quota=False)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), client) for pattern, client in _TABLE)
NAMES = (*(client.name for _, client in _TABLE), _OTHER.name)


def client_of(user_agent: str) -> Client:
    return next((client for pattern, client in _COMPILED if pattern.match(user_agent)), _OTHER)

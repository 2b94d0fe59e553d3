"""Domains and networks for rules, made by hand and shipped with the panel: nothing is fetched at run time. Pure.

They are short on purpose: the domains of the country itself, and the best-known services of the country elsewhere.
A domain stands for all its subdomains. Internationalised ones are in their ASCII form, which cores compare with.
"""

import re
from typing import Any

from .problems import refuse

_RU = """
ru su xn--p1ai xn--d1acj3b xn--80adxhks moscow tatar
vk.com vk.me userapi.com vkuservideo.net mycdn.me boosty.to
yandex.com yandex.net yandex.st yastatic.net yandexcloud.net ya.cc 2gis.com
sberbank.com vtb.com avito.st wbstatic.net ozonusercontent.com kaspersky.com
okko.tv ivi.tv litres.com habr.com aeroflot.com
"""
_IR = """
ir xn--mgba3a4f16a
aparat.com filimo.com telewebion.com varzesh3.com mehrnews.com tasnimnews.com
digikala.com torob.com sheypoor.com snapp.taxi tapsi.cab
zarinpal.com neshan.org eitaa.com bale.ai igap.net arvancloud.com
"""
DOMAINS = {"ru": tuple(_RU.split()), "ir": tuple(_IR.split())}
NETWORKS = {
    "private": (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "::1/128", "fc00::/7", "fe80::/10",
    )
}  # fmt: skip
_LIST = re.compile(r"<(domains|networks) +(\S+) *>")


def entries_of(text: object) -> tuple[str, tuple[str, ...]] | None:
    """``domains`` or ``networks``, and what a text like ``<domains ru>`` stands for; None for other texts."""
    found = _LIST.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    known = DOMAINS if found[1] == "domains" else NETWORKS
    if found[2] not in known:
        raise refuse("bad_list", found[0])
    return found[1], known[found[2]]


def expanded(value: Any, prefix: str) -> Any:
    """The value with the lists in place of their names. ``prefix``: in front of a domain, as the format writes it."""
    if isinstance(value, dict):
        return {key: expanded(inner, prefix) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    found: list[Any] = []
    for each in value:
        known = entries_of(each)
        if known is None:
            found.append(expanded(each, prefix))
        else:
            found += [f"{prefix if known[0] == 'domains' else ''}{entry}" for entry in known[1]]
    return found

"""Refuses panels that must not be read: this panel itself, linked panels, and people who are read already."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from operations.conf import LOOPBACK_NAMES, conf
from operations.extension import extensions
from operations.outbound.url_policy import Policy, Refused, Target, check_url

from .adapters.asking import Way
from .models import Panel

# The kinds that can be linked. On the host of a linked panel, they are that panel behind another port.
_LINKABLE = frozenset({"marzban", "pasarguard", "marzneshin"})
# The name for this machine, which may run several panels.
_HERE = "localhost"
_ANYWHERE = Policy(private=True, credentials=True)


def policy_of(*, allow_private: bool) -> Policy:
    """Panels may be on any high port and at an IP address, because many have no name."""
    return Policy(ports=True, addresses=True, private=allow_private)


def check(url: str, kind: str, *, allow_private: bool) -> Target:
    """Raises url_policy.Refused for a bad URL, for this panel itself (``own_panel``), and for a ``linked`` panel."""
    target = check_url(url, policy_of(allow_private=allow_private))
    if _is_own(target):
        raise Refused("own_panel")
    if any(_is_linked(target, kind, other) for other in _linked()):
        raise Refused("linked")
    return target


def reads_the_same(found: Mapping[str, Any], pk: int | None) -> Panel | None:
    """Another panel that reads the same people as the panel of a form would, because they would be counted twice."""
    wanted = Panel(kind=found["kind"], access=found["access"], url=found["url"])
    username = found.get("username", "")
    for other in Panel.objects.filter(kind=wanted.kind).exclude(pk=pk or 0):
        if _are_same(wanted, username, other):
            return other
    return None


def _are_same(wanted: Panel, username: str, other: Panel) -> bool:
    """Two admins of one panel may have separate people; a subscription link belongs to one person of the panel."""
    ways = {wanted.access, other.access}
    if Way.LINK in ways and len(ways) > 1:
        return _place_of(wanted.url) == _place_of(other.url)
    are_two_admins = ways == {Way.LOGIN} and username != other.username
    return wanted.base == other.base and not are_two_admins


def host_of(url: str) -> str:
    """The normalised host of a URL that was checked."""
    return check_url(url, _ANYWHERE).host


def shown(url: str) -> str:
    """Host and port of a URL that was checked, without its secrets."""
    target = check_url(url, _ANYWHERE)
    return target.host_header


def _is_linked(target: Target, kind: str, other: Target) -> bool:
    (host, port), (other_host, other_port) = _place(target), _place(other)
    is_one = port == other_port or (kind in _LINKABLE and host != _HERE)
    return host == other_host and is_one


def _is_own(target: Target) -> bool:
    place = _place(target)
    domain = _target(conf.domain)
    is_here = place[0] == _HERE and place[1] == getattr(settings, "PORT", None)
    is_of_domain = domain is not None and place == _place(domain)
    # Below a path of its own, the panel shares its domain with others.
    return is_here or (is_of_domain and f"{target.target}/".startswith(f"{conf.base_path}/"))


def _linked() -> list[Target]:
    asked = [extension.linked_panels() for extension in extensions() if extension.linked_panels]
    found = [_target(url) for urls in asked for url in urls]
    return [target for target in found if target is not None]


def _target(url: str) -> Target | None:
    try:
        return check_url(url, _ANYWHERE) if urlsplit(url).netloc else None
    except (Refused, ValueError):
        return None


def _place_of(url: str) -> tuple[str, int]:
    return _place(check_url(url, _ANYWHERE))


def _place(target: Target) -> tuple[str, int]:
    return _HERE if target.host in LOOPBACK_NAMES else target.host, target.port

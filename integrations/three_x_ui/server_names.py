"""Which server a name means: an e-mail may end in one, ``alice@berlin``."""

from collections.abc import Collection, Iterable

from operations.hosts import BadHost, normalised_host
from subscriptions.serving import catalogue
from traffic.ledger.lookup import Endpoint
from traffic.ledger.metered_people import folded
from traffic.models import Server


def find(names: Collection[str]) -> dict[str, Endpoint]:
    """By folded name, letter case apart; without those that no server has, or more than one.

    In this order: the name that an operator gave a server, its name in the lists of subscribers, its host.
    """
    wanted = {folded(name) for name in names}
    found: dict[str, Endpoint] = {}
    if wanted:
        for known in (_named(), catalogue.endpoints_by_name(), _hosts(wanted)):
            found = {name: known[name] for name in wanted & known.keys()} | found
    return found


def _named() -> dict[str, Endpoint]:
    rows = Server.objects.visible().exclude(name="")
    return _unique(
        (folded(name), (host, port, protocol))
        for name, host, port, protocol in rows.values_list("name", "host", "port", "protocol")
    )


def _hosts(names: Iterable[str]) -> dict[str, Endpoint]:
    hosts = {host: name for name in names if (host := _host(name))}
    rows = Server.objects.visible().filter(host__in=hosts)
    return _unique((hosts[row[0]], row) for row in rows.values_list("host", "port", "protocol"))


def _host(name: str) -> str:
    try:
        return normalised_host(name)
    except BadHost:
        return ""


def _unique(pairs: Iterable[tuple[str, Endpoint]]) -> dict[str, Endpoint]:
    servers: dict[str, set[Endpoint]] = {}
    for name, endpoint in pairs:
        servers.setdefault(name, set()).add(endpoint)
    return {name: next(iter(found)) for name, found in servers.items() if len(found) == 1}

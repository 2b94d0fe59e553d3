"""What a gateway may tell: of people and servers that its configuration has named, under the names that they have there."""

from collections.abc import Collection, Mapping
from typing import Any

from operations.databases.transactions import write_transaction
from operations.metering import Meant, Meter
from traffic.models import Reporter, Subscriber

from . import people
from .models import Gateway, GatewayServer

# Ids per query.
_STEP = 500


def meter(key: int) -> Meter | None:
    """What the gateway may tell whose key this is; None when it is another key."""
    gateway = Gateway.objects.filter(key=key).first()
    if gateway is None:
        return None
    return Meter(
        name=gateway.name,
        kind=Reporter.Kind.GATEWAY,
        grade=Reporter.Grade.MEASURED,
        names=lambda names: _meant(gateway, names),
    )


def remember_servers(gateway: Gateway, servers: Mapping[str, Mapping[str, Any]]) -> None:
    """Servers of a configuration, by tag: readings of them may come when they have left the lists."""
    known = GatewayServer.objects.filter(gateway=gateway).values_list("tag", flat=True)
    if new := servers.keys() - set(known):
        _add(gateway, {tag: servers[tag] for tag in sorted(new)})


@write_transaction
def _add(gateway: Gateway, servers: Mapping[str, Mapping[str, Any]]) -> None:
    GatewayServer.objects.bulk_create(
        (
            GatewayServer(
                gateway=gateway,
                tag=tag,
                host=one["server"],
                port=one["port"],
                protocol=one["protocol"],
            )
            for tag, one in servers.items()
        ),
        ignore_conflicts=True,
    )


def _meant(gateway: Gateway, names: Collection[str]) -> Mapping[str, Meant]:
    """Also people who are out by now: what they used before is theirs."""
    parts = {name: found for name in names if (found := people.named(name))}
    tokens = _tokens({person for person, _ in parts.values()})
    servers = _servers(gateway)
    return {
        name: Meant(tokens[person], servers[server])
        for name, (person, server) in parts.items()
        if person in tokens and server in servers
    }


def _tokens(ids: Collection[int]) -> dict[int, str]:
    ordered = sorted(ids)
    found: dict[int, str] = {}
    for start in range(0, len(ordered), _STEP):
        rows = Subscriber.objects.filter(pk__in=ordered[start : start + _STEP])
        found |= dict(rows.values_list("pk", "token"))
    return found


def _servers(gateway: Gateway) -> dict[str, tuple[str, int, str]]:
    rows = GatewayServer.objects.filter(gateway=gateway)
    return {
        tag: (host, port, protocol)
        for tag, host, port, protocol in rows.values_list("tag", "host", "port", "protocol")
    }

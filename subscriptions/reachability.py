"""Which servers answer: asked by ``check_nodes``, kept for lists and for the operator. Nothing is ever deleted for it."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Exists, OuterRef

from traffic.turns import writers_turn

from . import links, probing
from .fetching import Network
from .models import DirectConfig, Edition, Endpoint, EndpointCheck, Node
from .probing import Pace, Probe

# Checks of one endpoint that are kept.
HISTORY = 96
# When so many were asked and none answered, it is we who are offline.
_MANY = 10
_BATCH = 500
State = Endpoint.State


class Checked(NamedTuple):
    """What a check found. ``udp``: servers that TCP says nothing about; ``refused``: private ones, not dialled."""

    endpoints: list[Endpoint]
    refused: int
    udp: int
    is_offline: bool


class Targets(NamedTuple):
    endpoints: list[probing.Endpoint]
    udp: int


def targets() -> Targets:
    """Where the servers of all lists listen, each once."""
    listed = Node.objects.filter(is_present=True, source__enabled=True).order_by()
    found = list(listed.values_list("server", "port", "is_udp"))
    for raw in DirectConfig.objects.active().values_list("raw", flat=True):
        try:
            node = links.parse(raw)
        except links.LinkError:
            continue
        found.append((node.server, node.port, probing.is_udp(node)))
    once = dict.fromkeys((server, port) for server, port, is_udp in found if not is_udp)
    return Targets(list(once), len({(server, port) for server, port, is_udp in found if is_udp}))


def check(
    now: datetime,
    asked: Targets,
    progress: Callable[[], object] = lambda: None,
    pace: Pace = Pace(),  # noqa: B008  frozen
    network: Network = Network(),  # noqa: B008
) -> Checked:
    """Ask all, and keep what they say; when not one of many answered, it is the panel that is offline: nothing is kept."""
    probes = async_to_sync(probing.probe_all)(asked.endpoints, progress, pace, network)
    refused = sum(probe.refused for probe in probes.values())
    dialled = {endpoint: probe for endpoint, probe in probes.items() if not probe.refused}
    if len(dialled) >= _MANY and all(probe.latency is None for probe in dialled.values()):
        return Checked([], refused, asked.udp, is_offline=True)
    return Checked(_store(dialled, now), refused, asked.udp, is_offline=False)


def history(server: str, port: int) -> list[EndpointCheck]:
    """The last checks of an endpoint, the oldest first."""
    return list(EndpointCheck.objects.filter(endpoint__server=server, endpoint__port=port).order_by("at"))


def drop_unlisted() -> int:
    """Forget endpoints at which no server of any list is, and return how many."""
    place = {"server": OuterRef("server"), "port": OuterRef("port")}
    gone = Endpoint.objects.exclude(Exists(Node.objects.filter(**place)) | Exists(DirectConfig.objects.filter(**place)))
    return gone.delete()[1].get("subscriptions.Endpoint", 0)


def _store(probes: dict[probing.Endpoint, Probe], now: datetime) -> list[Endpoint]:
    with writers_turn(), transaction.atomic():
        Edition.lock()
        known = {(endpoint.server, endpoint.port): endpoint for endpoint in Endpoint.objects.all()}
        down = {place for place, endpoint in known.items() if endpoint.state == State.DOWN}
        endpoints = [_judged(known.get(place) or Endpoint(server=place[0], port=place[1]), probe, now)
                     for place, probe in probes.items()]  # fmt: skip
        if any((endpoint.state == State.DOWN) != ((endpoint.server, endpoint.port) in down) for endpoint in endpoints):
            Edition.renew()
        Endpoint.objects.bulk_create(
            endpoints,
            batch_size=_BATCH,
            update_conflicts=True,
            unique_fields=["server", "port"],
            update_fields=["state", "down_since", "latency", "loss", "checked_at", "checks"],
        )
        _add_history(endpoints)
        return endpoints


def _judged(endpoint: Endpoint, probe: Probe, now: datetime) -> Endpoint:
    is_down = probe.latency is None
    if not is_down:
        endpoint.down_since = None
    elif endpoint.state != State.DOWN:
        endpoint.down_since = now
    endpoint.state = State.DOWN if is_down else State.UP
    endpoint.latency, endpoint.loss = probe.latency, probe.loss
    endpoint.checked_at = now
    endpoint.checks += 1
    # A row that comes from the database would keep its key, and a conflict on the key is not the one that updates.
    endpoint.pk = None
    return endpoint


def _add_history(endpoints: Iterable[Endpoint]) -> None:
    keys = {(server, port): pk for pk, server, port in Endpoint.objects.values_list("pk", "server", "port")}
    EndpointCheck.objects.bulk_create(
        [
            EndpointCheck(
                endpoint_id=keys[endpoint.server, endpoint.port],
                slot=endpoint.checks % HISTORY,
                at=endpoint.checked_at,
                latency=endpoint.latency,
                loss=endpoint.loss,
            )
            for endpoint in endpoints
        ],
        batch_size=_BATCH,
        update_conflicts=True,
        unique_fields=["endpoint", "slot"],
        update_fields=["at", "latency", "loss"],
    )

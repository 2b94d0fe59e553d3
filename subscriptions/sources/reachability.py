"""Which servers answer: checked by ``check_nodes``, stored for lists and for the operator. No server is ever deleted."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from asgiref.sync import async_to_sync
from django.db.models import Exists, OuterRef

from operations.databases.transactions import write_transaction
from operations.outbound.dial import Network
from subscriptions import links
from subscriptions.conf import conf
from subscriptions.models import DirectConfig, Edition, Endpoint, EndpointCheck, Node

from . import probing
from .probing import Pace, Probe

# Checks kept per endpoint.
HISTORY = 96
# If at least this many servers were tried and none answered, the panel itself is offline.
_MANY = 10
_BATCH = 500
# Checks that begin closer together count as one: two machines may run the same timer.
_APART = timedelta(minutes=1)
_STORED = (
    "state", "down_since", "latency", "loss", "checked_at", "checks", "streak", "settled", "settled_at",
)  # fmt: skip
State = Endpoint.State


class Checked(NamedTuple):
    """The result of a check. ``udp``: servers that TCP cannot test; ``refused``: private servers, not dialled."""

    endpoints: list[Endpoint]
    refused: int
    udp: int
    is_offline: bool


class Targets(NamedTuple):
    endpoints: list[probing.Endpoint]
    udp: int


def targets() -> Targets:
    """The endpoints of all listed servers, each once."""
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
    """Probe all endpoints and store the results. Nothing is stored if none of many answered: the panel is then offline."""
    probes = async_to_sync(probing.probe_all)(asked.endpoints, progress, pace, network)
    refused = sum(probe.refused for probe in probes.values())
    dialled = {endpoint: probe for endpoint, probe in probes.items() if not probe.refused}
    if len(dialled) >= _MANY and all(probe.latency is None for probe in dialled.values()):
        return Checked([], refused, asked.udp, is_offline=True)
    return Checked(_store(dialled, now), refused, asked.udp, is_offline=False)


def history(server: str, port: int) -> list[EndpointCheck]:
    """The last checks of an endpoint, the oldest first."""
    return list(
        EndpointCheck.objects.filter(endpoint__server=server, endpoint__port=port).order_by("at")
    )


@write_transaction
def drop_unlisted() -> int:
    """Delete endpoints that no listed server uses, and return their number."""
    place = {"server": OuterRef("server"), "port": OuterRef("port")}
    gone = Endpoint.objects.exclude(
        Exists(Node.objects.filter(**place)) | Exists(DirectConfig.objects.filter(**place))
    )
    return gone.delete()[1].get("subscriptions.Endpoint", 0)


def _store(probes: dict[probing.Endpoint, Probe], now: datetime) -> list[Endpoint]:
    with write_transaction():
        Edition.lock()
        known = {(endpoint.server, endpoint.port): endpoint for endpoint in Endpoint.objects.all()}
        down = {place for place, endpoint in known.items() if endpoint.state == State.DOWN}
        endpoints = [_judged(known.get(place) or Endpoint(server=place[0], port=place[1]), probe, now)
                     for place, probe in probes.items()]  # fmt: skip
        if any(
            (endpoint.state == State.DOWN) != ((endpoint.server, endpoint.port) in down)
            for endpoint in endpoints
        ):
            Edition.renew()
        Endpoint.objects.bulk_create(
            endpoints,
            batch_size=_BATCH,
            update_conflicts=True,
            unique_fields=["server", "port"],
            update_fields=_STORED,
        )
        _add_history(endpoints)
        return endpoints


def _judged(endpoint: Endpoint, probe: Probe, now: datetime) -> Endpoint:
    is_down = probe.latency is None
    counts = endpoint.checked_at is None or now - endpoint.checked_at >= _APART
    if not is_down:
        endpoint.down_since = None
    elif endpoint.state != State.DOWN:
        endpoint.down_since = now
    _settle(endpoint, State.DOWN if is_down else State.UP, now, counts=counts)
    endpoint.latency, endpoint.loss = probe.latency, probe.loss
    endpoint.checked_at = now
    endpoint.checks += counts
    # A row read from the database has a key, and the upsert does not handle a conflict on that key.
    endpoint.pk = None
    return endpoint


def _settle(endpoint: Endpoint, state: State, now: datetime, *, counts: bool) -> None:
    """Count checks in a row; a state that has held for ``XPERT_SERVER_CHECKS`` of them is settled."""
    endpoint.streak = endpoint.streak + counts if endpoint.state == state else 1
    endpoint.state = state
    if endpoint.streak >= conf.server_checks and endpoint.settled != state:
        is_news = endpoint.settled != "" or state == State.DOWN
        endpoint.settled, endpoint.settled_at = state, now if is_news else None


def _add_history(endpoints: Iterable[Endpoint]) -> None:
    keys = {
        (server, port): pk
        for pk, server, port in Endpoint.objects.values_list("pk", "server", "port")
    }
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

"""Places of servers among the ports of a gateway of Xray, where each server has ways in of its own."""

from collections.abc import Collection
from itertools import count

from operations.databases.transactions import write_transaction
from subscriptions.models import Edition

from .models import Gateway, GatewayServer


def assign(gateway: Gateway, carried: Collection[str]) -> bool:
    """Each server that is carried (by tag, and known to the gateway) keeps its place or gets the first free one.

    A server that is gone loses its place only to another one. Whether any place is new.
    """
    if gateway.engine != Gateway.Engine.XRAY:
        return False
    if not gateway.servers.filter(tag__in=carried, slot=None).exists():
        return False
    _assign(gateway, carried)
    return True


@write_transaction
def _assign(gateway: Gateway, carried: Collection[str]) -> None:
    Gateway.objects.select_for_update().get(pk=gateway.pk)
    rows = list(GatewayServer.objects.filter(gateway=gateway).order_by("tag"))
    kept = [row for row in rows if row.tag in carried]
    taken = {row.slot for row in kept}
    free = (slot for slot in count() if slot not in taken)
    new = [row for row in kept if row.slot is None]
    for row in new:
        row.slot = next(free)
    rows_without = GatewayServer.objects.filter(gateway=gateway).exclude(tag__in=carried)
    rows_without.update(slot=None)
    GatewayServer.objects.bulk_update(new, ["slot"])
    Edition.renew()

"""What a limit on servers is on: a source with all its servers, or one server by the name that reports use."""

from collections.abc import Iterable
from datetime import datetime

from operations.hosts import join_host_port
from subscriptions.models import DirectConfig, Node, Source
from traffic.ledger.lookup import Endpoint
from traffic.models import Server, ServerLimit
from traffic.people import server_limits

from . import accounts

# The most servers that a form offers.
_MOST = 2000
_SOURCE = "source:"
_SERVER = "server "


def origin_of(source: Source) -> str:
    return f"{_SOURCE}{source.pk}"


def source_of(limit: ServerLimit) -> Source | None:
    """The source whose servers it limits; None if it limits one server, or the source is deleted."""
    number = source_id(limit)
    return None if number is None else Source.objects.filter(pk=number).first()


def source_id(limit: ServerLimit) -> int | None:
    """The id of that source, which may be deleted."""
    number = limit.origin.removeprefix(_SOURCE)
    return int(number) if number.isdigit() else None


def sources() -> dict[str, str]:
    """All sources that can be limited, by their value in a form."""
    return {origin_of(source): str(source) for source in Source.objects.order_by("name", "pk")}


def servers() -> dict[str, str]:
    """All servers that can be limited, by their value in a form: listed ones under their name, and reported ones."""
    names: dict[Endpoint, str] = {}
    for host, port, protocol, name in _named():
        names.setdefault((host, port, protocol), name)
    found = {value_of(endpoint): _label(endpoint, name) for endpoint, name in names.items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1].casefold())[:_MOST])


def _named() -> Iterable[tuple[str, int, str, str]]:
    columns = ("server", "port", "protocol", "remarks")
    yield from DirectConfig.objects.values_list(*columns)
    present = Node.objects.filter(is_present=True).order_by("pk")
    yield from present.values_list(*columns)
    yield from Server.objects.visible().values_list("host", "port", "protocol", "name")


def value_of(endpoint: Endpoint) -> str:
    """Its value in a form."""
    host, port, protocol = endpoint
    return f"{_SERVER}{host} {port} {protocol}"


def _label(endpoint: Endpoint, name: str) -> str:
    host, port, protocol = endpoint
    shown = f"{join_host_port(host, port)} {protocol}"
    return f"{name} · {shown}" if name else shown


def endpoints_of(value: str) -> set[Endpoint]:
    """The servers of a choice of a form."""
    if value.startswith(_SOURCE):
        return of_source(Source.objects.get(pk=value.removeprefix(_SOURCE)))
    host, port, protocol = value.removeprefix(_SERVER).split(" ")
    return {(host, int(port), protocol)}


def name_of(value: str) -> str:
    """The name that people see unless another is chosen: that of the source or of the server."""
    label = (sources() | servers()).get(value)
    if label is None:  # a server that nobody has listed or reported yet
        label = ", ".join(_label(endpoint, "") for endpoint in endpoints_of(value))
    return label.partition(" · ")[0][:200]


def origin_in(value: str) -> str:
    """The origin of a limit that was chosen with this value; "" for one server."""
    return value if value.startswith(_SOURCE) else ""


def of_source(source: Source) -> set[Endpoint]:
    """The servers that it has or had, and the account whose provider tells the usage."""
    rows = Node.objects.filter(source=source).order_by()
    found: set[Endpoint] = set(rows.values_list("server", "port", "protocol"))
    if source.subscriber_id is not None:
        found.add(accounts.endpoint(source))
    return found


def follow(source: Source, now: datetime) -> None:
    """Servers that are new in a source come under its limits."""
    limits = list(ServerLimit.objects.filter(origin=origin_of(source)))
    if not limits:
        return
    found, known = of_source(source), server_limits.servers_of([limit.pk for limit in limits])
    for limit in limits:
        if found - known[limit.pk]:
            server_limits.extend(limit, found, now)

"""What tests of subscriptions begin with."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.utils import timezone

from operations.audit import By
from subscriptions import direct_configs
from subscriptions.direct_configs import Added
from subscriptions.models import DirectConfig, Node, Source
from subscriptions.sources import refreshing, source_lists
from traffic.ledger.recording import record
from traffic.models import Subscriber
from traffic.reports import Report

SUB = "/api/xpert/sub"
DIRECT = "/api/xpert/direct-configs/sub"
CONFIGS = "/api/xpert/direct-configs"
A, B, C = "trojan://pw@a.example:1#A", "trojan://pw@b.example:2#B", "trojan://pw@c.example:3#C"


def subscriber(token: str = "user123", **fields: Any) -> Subscriber:
    return Subscriber.objects.create(token=token, **fields)


def use(person: Subscriber, upload: int, download: int) -> None:
    """Traffic of now, through the way that all reports go."""
    moment = int(timezone.now().timestamp())
    report = Report(
        user_token=person.token,
        server="vpn.example.com",
        port=443,
        protocol="vless",
        upload=upload,
        download=download,
        moment=moment,
    )
    record([report], timezone.now())


def source(name: str = "provider", **fields: Any) -> Source:
    return Source.objects.create(
        **{"name": name, "url": f"https://{name}.example/sub?token=very-secret"} | fields
    )


def stored(it: Source, *raws: str) -> list[Node]:
    """Servers of a source, as a fetch would leave them."""
    parsed = source_lists.nodes_of(raws, private=True)
    refreshing._store_nodes(it, parsed.nodes, timezone.now())
    return list(it.nodes.filter(is_present=True).order_by("position"))


BY = By("ada", timezone.now())


def add_many(raws: Iterable[str]) -> Added:
    return direct_configs.add_many(raws, BY)


def move(config: DirectConfig, *, down: bool) -> None:
    direct_configs.move(config, BY, down=down)


def direct(*raws: str) -> list[DirectConfig]:
    return add_many(raws).configs


if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response


def ask(
    token: str = "user123", path: str = SUB, headers: Mapping[str, str] | None = None, **query: str
) -> "Response":
    return Client(headers={"host": "127.0.0.1:8000"}).get(
        path, {"user_token": token} | query, headers=headers or {}
    )

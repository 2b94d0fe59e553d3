"""What tests of subscriptions begin with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.utils import timezone

from subscriptions import bodies, sources
from subscriptions.direct_configs import add_many
from subscriptions.models import DirectConfig, Node, Source
from traffic.models import Subscriber
from traffic.recording import record
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
    return Source.objects.create(**{"name": name, "url": f"https://{name}.example/sub?token=very-secret"} | fields)


def stored(it: Source, *raws: str) -> list[Node]:
    """Servers of a source, as a fetch would leave them."""
    parsed = bodies.nodes_of(raws, private=True)
    sources._store_nodes(it, parsed.nodes, timezone.now())
    return list(it.nodes.filter(is_present=True).order_by("position"))


def direct(*raws: str) -> list[DirectConfig]:
    return add_many(raws).configs


if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response


def ask(token: str = "user123", path: str = SUB, headers: Mapping[str, str] | None = None, **query: str) -> "Response":
    return Client(headers={"host": "127.0.0.1:8000"}).get(path, {"user_token": token} | query, headers=headers or {})

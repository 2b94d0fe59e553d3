"""What a gateway's agent is given: the configuration for its core, and what its words mean.

Every user of the core is one person on one server, so each byte carries both names. The core dials external
servers and nothing else: whoever has no rule is rejected, and what is asked for inside a tunnel is carried to the
external server unlooked at.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from subscriptions import links
from subscriptions.models import Edition
from subscriptions.serving import catalogue, headers
from subscriptions.serving.catalogue import Listing, Selection
from traffic.ledger.lookup import Endpoint

from . import credentials, engines, people, routes
from .models import Gateway
from .people import NEARLY_USED_UP, Person, User
from .routes import Way

# Seconds between two messages of the agent; fewer while somebody has hardly anything left.
INTERVAL, HURRIED = 60, 10

Json = dict[str, Any]


class Document(NamedTuple):
    """``servers``: by tag, as ``contents`` has them."""

    content: bytes
    etag: str
    servers: Json


class LeftOut(msgspec.Struct, frozen=True):
    """A server that was to go through the gateway and does not. ``lacks``: as ``Way.obstacle`` says."""

    name: str
    protocol: str
    lacks: str


class _Made(NamedTuple):
    """What this process has made last for a gateway. ``inputs``: of all that it depends on."""

    inputs: str
    etag: str


# By the id of the gateway. An agent asks every 15 seconds, and making it takes a quarter of a second for 1,000 people.
_made: dict[int, _Made] = {}


def unchanged(gateway: Gateway, now: datetime, tags: str) -> str:
    """The tag of the configuration if it is one of ``tags`` (``If-None-Match``) and nothing has changed; else ""."""
    made = _made.get(gateway.pk)
    if made is None or not headers.matches(tags, made.etag):
        return ""
    return made.etag if made.inputs == _inputs(people.active(now)) else ""


def _inputs(found: Sequence[Person]) -> str:
    """Taken before the configuration is made, so that it is made again after a change in between."""
    let_in = [(person.pk, person.token, person.groups, sorted(person.closed)) for person in found]
    return headers.etag(msgspec.json.encode((Edition.current(), _interval(found), let_in)))


def document(gateway: Gateway, now: datetime) -> Document:
    """As it is at this moment; the same tag as long as nothing in it changes."""
    everybody = people.active(now)
    inputs = _inputs(everybody)
    found = _contents(gateway, everybody)
    content = msgspec.json.encode(found)
    etag = headers.etag(content)
    _made[gateway.pk] = _Made(inputs, etag)
    return Document(content, etag, found["servers"])


def contents(gateway: Gateway, now: datetime) -> Json:
    return _contents(gateway, people.active(now))


def _contents(gateway: Gateway, found: Sequence[Person]) -> Json:
    way = routes.way(gateway)
    listings = _carried(way, found)
    servers = {routes.tag(one.node): one.node for kind in listings.values() for one in kind}
    left_out = [name for name, node in servers.items() if way.obstacle(node)]
    reached = {name: node for name, node in sorted(servers.items()) if name not in left_out}
    users = _users(way, found, listings, reached)
    return {
        "gateway": way.name,
        "own_certificate": _own_certificate(way),
        "interval": _interval(found),
        "servers": {name: _server(node) for name, node in reached.items()},
        "left_out": [_left_out(way, servers[name]) for name in sorted(left_out)],
        **engines.configured(gateway, way, reached, users),
    }


def _own_certificate(way: Way) -> str:
    """The name for which the agent makes a certificate; "" when it needs none."""
    needs = any(way.needs_certificate(protocol) for protocol, _ in way.inbounds)
    return way.host if needs and way.pins is not None else ""


def _carried(way: Way, found: Sequence[Person]) -> dict[tuple[int, ...], list[Listing]]:
    """The servers that go through the gateway, by groups of people. Servers that are down stay: they may come back."""
    return {
        groups: [one for one in catalogue.listed(Selection(groups)) if way.carries(one)]
        for groups in sorted({person.groups for person in found})
    }


def _users(
    way: Way,
    found: Sequence[Person],
    listings: Mapping[tuple[int, ...], Sequence[Listing]],
    reached: Mapping[str, links.Node],
) -> dict[str, list[User]]:
    """By server."""
    tags = {
        groups: [tag for tag in map(_tag, kind) if tag in reached]
        for groups, kind in listings.items()
    }
    users: dict[str, list[User]] = {tag: [] for tag in reached}
    for person in found:
        for tag in tags[person.groups]:
            if _endpoint(reached[tag]) in person.closed:
                continue
            digest = credentials.personal(way.secret, person.token, tag)
            users[tag].append(User(person.on(tag), digest))
    return users


def _tag(listing: Listing) -> str:
    return routes.tag(listing.node)


def _endpoint(node: links.Node) -> Endpoint:
    return node.server, node.port, node.protocol


def _interval(found: Sequence[Person]) -> int:
    nearly = any(person.left is not None and person.left < NEARLY_USED_UP for person in found)
    return HURRIED if nearly else INTERVAL


def _server(node: links.Node) -> Json:
    """As readings name it."""
    return {"server": node.server, "port": node.port, "protocol": node.protocol}


def _left_out(way: Way, node: links.Node) -> LeftOut:
    return LeftOut(node.remark or links.invented_name(node), node.protocol, way.obstacle(node))

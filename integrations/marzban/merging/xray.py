"""A list of complete Xray configurations, one per server. The first one is the template for the external ones."""

import json
from collections.abc import Sequence

from subscriptions.formats import Written

from . import documents
from .documents import Json
from .names import Names, NotUnderstood, renamed

# The tag of the server in Marzban's configurations and in ours.
_SERVER = "proxy"


def merged(body: bytes, servers: Sequence[Written]) -> bytes:
    own = documents.objects(documents.read(body))
    if not own:
        raise NotUnderstood
    place = _place(own[0])
    ours = renamed(servers, Names(config.get("remarks", "") for config in own))
    return documents.write([*own, *(_config(own[0], place, server) for server in ours)])


def _place(template: Json) -> int:
    """The server's index in the template. Rules, fragments and balancers refer to the other outbounds."""
    tags = [item.get("tag") for item in documents.objects(template.get("outbounds"))]
    if tags.count(_SERVER) != 1:
        raise NotUnderstood
    return tags.index(_SERVER)


def _config(template: Json, place: int, server: Written) -> Json:
    outbounds = list(template["outbounds"])
    outbounds[place] = next(
        item for item in json.loads(server.text)["outbounds"] if item["tag"] == _SERVER
    )
    return template | {"outbounds": outbounds, "remarks": server.name}

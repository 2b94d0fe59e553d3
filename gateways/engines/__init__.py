"""How each engine is configured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateways.models import Gateway
from gateways.people import User
from gateways.routes import Way
from subscriptions import links

from . import sing_box, xray

_Writer = Callable[
    [Gateway, Way, Mapping[str, links.Node], Mapping[str, Sequence[User]]], dict[str, Any]
]
# Each with the name under which the agent finds its configuration.
_WRITERS: Mapping[str, tuple[str, _Writer]] = {
    Gateway.Engine.SING_BOX: ("sing_box", sing_box.config),
    Gateway.Engine.XRAY: ("xray", xray.config),
}


def configured(
    gateway: Gateway,
    way: Way,
    reached: Mapping[str, links.Node],
    users: Mapping[str, Sequence[User]],
) -> dict[str, Any]:
    """``reached`` and ``users``: by server."""
    name, write = _WRITERS[way.engine]
    return {name: write(gateway, way, reached, users)}

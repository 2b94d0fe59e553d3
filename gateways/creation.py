"""Making a gateway: the only place where gateways are born."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
from django.core.exceptions import ValidationError

from operations import audit
from operations.api.authentication import create_api_key
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from operations.hosts import BadHost, normalised_host
from operations.models import ApiKey
from subscriptions.models import Source

from .models import Gateway, Inbound, validate_name
from .routes import PORTS

_Protocol = Inbound.Protocol
_Engine = Gateway.Engine
# By engine: what it speaks, and at which port it begins.
_DEFAULT_PORTS: Mapping[str, Mapping[str, int]] = {
    _Engine.SING_BOX: dict.fromkeys(_Protocol.values, 443) | {_Protocol.SHADOWSOCKS: 8388},
    _Engine.XRAY: {_Protocol.VLESS: 21000, _Protocol.TROJAN: 22000, _Protocol.SHADOWSOCKS: 23000},
}
_TCP = frozenset({_Protocol.SHADOWSOCKS, _Protocol.TROJAN, _Protocol.VLESS})
_UDP = frozenset({_Protocol.SHADOWSOCKS, _Protocol.HYSTERIA2, _Protocol.TUIC})


class GatewayError(ValueError):
    """Why there is no such gateway: a sentence for people."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``inbounds``: protocols with their ports. ``sources``: None = all, also those that come later."""

    name: str
    host: str
    inbounds: tuple[tuple[str, int], ...]
    certificate: str = ""
    private_key: str = ""
    reality_server_name: str = ""
    direct: bool = True
    sources: tuple[int, ...] | None = None
    beside: bool = False
    engine: str = _Engine.SING_BOX


def inbound(text: str, port: int | None = None, engine: str = _Engine.SING_BOX) -> tuple[str, int]:
    """``PROTOCOL`` or ``PROTOCOL:PORT``; raises GatewayError. ``port``: where the text names none."""
    name, colon, written = text.partition(":")
    ports = _DEFAULT_PORTS[engine]
    if name not in ports:
        known = ", ".join(one for one in _Protocol.values if one in ports)
        raise GatewayError(
            f"{_Engine(engine).label} has no protocol {name!r}; take one of {known}."
        )
    if colon and not (written.isascii() and written.isdigit()):
        raise GatewayError(f"{text!r} does not end in a port.")
    chosen = int(written) if colon else port or ports[name]
    if not 1 <= chosen <= 65_535:
        raise GatewayError(f"{chosen} is not a port from 1 to 65535.")
    return name, chosen


def create(plan: Plan, by: By) -> tuple[Gateway, str]:
    """A new gateway and the secret of its key, which is shown once. Raises GatewayError."""
    host, reality_name = _checked(plan)
    with write_transaction():
        if Gateway.objects.filter(name=plan.name).exists():
            raise GatewayError(f"There is already a gateway called {plan.name!r}.")
        sources = _sources(plan.sources)
        key, secret = create_api_key(f"gateway {plan.name}", ApiKey.Scope.BOUND)
        gateway = Gateway.objects.create(
            name=plan.name,
            host=host,
            beside=plan.beside,
            direct=plan.direct,
            all_sources=plan.sources is None,
            certificate=plan.certificate,
            private_key=plan.private_key,
            reality_server_name=reality_name,
            engine=plan.engine,
            key=key,
        )
        gateway.sources.set(sources)
        Inbound.objects.bulk_create(
            [Inbound(gateway=gateway, protocol=name, port=port) for name, port in plan.inbounds]
        )
        audit.note(Action.ADDED, gateway, by)
    return gateway, secret


def check(plan: Plan) -> None:
    """Raises GatewayError for what ``create`` would refuse."""
    _checked(plan)
    if Gateway.objects.filter(name=plan.name).exists():
        raise GatewayError(f"There is already a gateway called {plan.name!r}.")


def _checked(plan: Plan) -> tuple[str, str]:
    """The host and REALITY's server name as they are stored."""
    try:
        validate_name(plan.name)
    except ValidationError:
        raise GatewayError("NAME takes 1 to 64 characters of A-Z a-z 0-9 . _ -") from None
    _check_inbounds(plan)
    reality = plan.reality_server_name
    return _host("The host", plan.host), reality and _host("REALITY's server name", reality)


def _host(what: str, text: str) -> str:
    try:
        return normalised_host(text)
    except BadHost as error:
        raise GatewayError(f"{what} is {error}.") from None


def _check_inbounds(plan: Plan) -> None:
    if not plan.inbounds:
        raise GatewayError("A gateway needs at least one protocol.")
    names = [name for name, _ in plan.inbounds]
    if len(set(names)) < len(names):
        raise GatewayError("Each protocol may be given once.")
    for transport in (_TCP, _UDP):
        _check_ports(plan.engine, [port for name, port in plan.inbounds if name in transport])
    if bool(plan.certificate) != bool(plan.private_key):
        raise GatewayError("A certificate and its private key go together.")
    if plan.reality_server_name and _Protocol.VLESS not in names:
        raise GatewayError("REALITY is for vless.")


def _check_ports(engine: str, ports: Sequence[int]) -> None:
    """On a gateway of Xray, each protocol has a port per server."""
    span = PORTS if engine == _Engine.XRAY else 1
    if any(port + span - 1 > 65_535 for port in ports):
        raise GatewayError(
            f"Xray takes {PORTS} ports from the one that you give: at most {65_536 - span}."
        )
    ordered = sorted(ports)
    if any(after - before < span for before, after in pairwise(ordered)):
        more = f" with {PORTS} ports" if span > 1 else ""
        raise GatewayError(f"Two protocols would listen on the same port; give each its own{more}.")


def _sources(pks: Sequence[int] | None) -> list[Source]:
    found = list(Source.objects.filter(pk__in=pks or ()))
    if missing := set(pks or ()) - {source.pk for source in found}:
        raise GatewayError(f"There is no source {', '.join(map(str, sorted(missing)))}.")
    return found

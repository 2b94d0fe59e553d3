"""The page of one gateway: its state, what it has carried, what does not go through it, and how to start it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateways import conditions, hours, routes
from gateways.condition_words import LOOK, WORDS
from gateways.models import Gateway, Inbound
from operations.findings import Finding, Level
from operations.formatting import badge, left_to_right
from operations.wording import findings
from subscriptions import links
from subscriptions.serving.public_urls import public_url
from traffic import agent_program
from traffic.admin import series_charts
from traffic.admin.windows import DAYS, chosen_window
from traffic.conf import conf
from traffic.figures import reporters
from traffic.models import Reporter

KEY_FILE = "/etc/xpert-gateway/key"
# Where its own installer puts it.
XRAY = "/usr/local/bin/xray"
# What a build of sing-box must have for a protocol.
_TAGS: Mapping[str, str] = {
    Inbound.Protocol.HYSTERIA2: "with_quic",
    Inbound.Protocol.TUIC: "with_quic",
}
_REALITY_TAG = "with_utls"
# Seconds between two readings: what a core has carried since the last one ends with it when it is killed.
_READ_EVERY: Mapping[str, int] = {Gateway.Engine.SING_BOX: 2, Gateway.Engine.XRAY: 10}
_LACKS = {
    "protocol": gettext_lazy("%(engine)s does not speak this protocol"),
    "transport": gettext_lazy("%(engine)s does not have this transport"),
    "option": gettext_lazy("the link has an option that %(engine)s does not have"),
    "port": gettext_lazy("this gateway has no port left for it"),
}


class LeftOut(msgspec.Struct, frozen=True):
    name: str
    protocol: str
    reason: str


def context(request: HttpRequest, gateway: Gateway) -> dict[str, Any]:
    span, found = chosen_window(request, DAYS[0]), wrong(gateway)
    series = hours.series(gateway, span, series_charts.bucket_of(span), conf.time_zone)
    return {
        "title": gateway.name,
        "window": span,
        "day_choices": DAYS,
        "state": state_badge(found),
        "findings": [(one.message, _advice(one)) for one in found],
        "versions": versions(gateway),
        "ways": ways(gateway),
        "cannot": list(cannot(gateway)),
        "today": used_today([gateway]).get(gateway.key_id),
        "left_out": list(_left_out(gateway)),
        "refused": gateway.left_out.items(),
        "zone": conf.time_zone,
        "key_file": KEY_FILE,
        "command": command(request, gateway),
        "read_every": _READ_EVERY[gateway.engine],
        "has_control_total": gateway.engine == Gateway.Engine.SING_BOX,
        **series_charts.shown(series),
    }


def _advice(found: Finding) -> str:
    return "" if found.advice == str(LOOK) else found.advice


def _left_out(gateway: Gateway) -> Iterator[LeftOut]:
    way, engine = routes.way(gateway), gateway.get_engine_display()
    for node in routes.unreachable(way):
        reason = _LACKS[way.obstacle(node)] % {"engine": engine}
        yield LeftOut(node.remark or links.invented_name(node), node.protocol, reason)


def wrong(gateway: Gateway) -> list[Finding]:
    return findings(list(conditions.wrong(gateway, timezone.now())), WORDS)


def state_badge(found: Sequence[Finding]) -> SafeString:
    if not found:
        return badge("active", _("fine"))
    if any(one.level is Level.ERROR for one in found):
        return badge("expired", _("trouble"))
    return badge("limited", _("attention"))


def versions(gateway: Gateway) -> SafeString | str:
    engine = gateway.get_engine_display()
    told = ((engine, gateway.core_version), ("xpert-agent", gateway.agent_version))
    return left_to_right(", ".join(f"{name} {number}" for name, number in told if number)) or "—"


def ways(gateway: Gateway) -> str:
    return ", ".join(f"{one.get_protocol_display()} {one.port}" for one in gateway.inbounds.all())


def cannot(gateway: Gateway) -> Iterator[str]:
    """The ways in that the build of sing-box there lacks, with the tag that each needs."""
    if not gateway.core_tags:
        return
    if gateway.reality_server_name and _REALITY_TAG not in gateway.core_tags:
        yield f"REALITY ({_REALITY_TAG})"
    for inbound in gateway.inbounds.all():
        tag = _TAGS.get(inbound.protocol, "")
        if tag and tag not in gateway.core_tags:
            yield f"{inbound.get_protocol_display()} ({tag})"


def used_today(gateways: Collection[Gateway]) -> dict[int, int]:
    """Bytes that were counted, by the id of the key; without gateways that have reported nothing yet."""
    keys = [gateway.key_id for gateway in gateways]
    known = Reporter.objects.filter(api_key__in=keys, kind=Reporter.Kind.GATEWAY)
    by_key: Mapping[int, int] = dict(known.values_list("api_key_id", "pk"))
    found = reporters.figures_of(list(by_key.values()), timezone.now())
    return {key: found[reporter].today for key, reporter in by_key.items()}


def command(request: HttpRequest, gateway: Gateway) -> str:
    """The line to copy, with the agent's digest in it; "" while there is no agent to fetch."""
    origin = public_url(request.build_absolute_uri("/").rstrip("/"))
    program = agent_program.served(origin)
    arguments: tuple[str, ...] = ("install", "--gateway", "--panel", origin, "--key-file", KEY_FILE)
    if gateway.engine == Gateway.Engine.XRAY:
        arguments += ("--xray", XRAY)
    return program.posix_line(*arguments) if program else ""

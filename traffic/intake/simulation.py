"""Realistic usage for demonstrations and load tests: generated from a seed, recorded like any other reports."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from traffic.ledger.recording import record
from traffic.periods import HOUR, floor_hour
from traffic.reports import Report

BATCH = 5000
TOKEN_PREFIX = "demo-"  # noqa: S105  it marks tokens that guard nothing
# The load of each hour of a day, from midnight: low at night, high in the evening.
_BUSY = (3, 2, 1, 1, 1, 1, 2, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 8, 9, 10, 10, 9, 7, 5)
_PROTOCOLS = ("vless", "vless", "vless", "trojan", "shadowsocks", "hysteria2", "vmess")
_PLACES = ("de", "nl", "fi", "fr", "us", "se", "pl", "tr", "gb", "sg")
_ACTIVE_HOURS = 6


class Plan(msgspec.Struct, frozen=True):
    subscribers: int
    servers: int
    days: int
    seed: int = 1


def token(number: int) -> str:
    return f"{TOKEN_PREFIX}{number:05d}"


def simulate(plan: Plan, now: datetime) -> Iterator[int]:
    """Record the plan up to ``now``. Yields the number of stored reports after each batch."""
    waiting: list[Report] = []
    for report in _reports(plan, now):
        waiting.append(report)
        if len(waiting) == BATCH:
            yield _store(waiting, now)
            waiting = []
    if waiting:
        yield _store(waiting, now)


def _store(reports: list[Report], now: datetime) -> int:
    record(reports, now, create_subscribers=True)
    return len(reports)


def _reports(plan: Plan, now: datetime) -> Iterator[Report]:
    draw = random.Random(plan.seed)  # noqa: S311  a seed makes it repeatable; nothing secret is drawn
    servers = [_server(number, draw) for number in range(plan.servers)]
    people = [
        (token(n), _favourites(servers, draw), draw.lognormvariate(0, 1))
        for n in range(1, plan.subscribers + 1)
    ]
    hour = floor_hour(now - timedelta(days=plan.days))
    while hour <= now:
        chance = _ACTIVE_HOURS * _BUSY[hour.hour] / sum(_BUSY)
        for user_token, favourites, appetite in people:
            if draw.random() < chance:
                yield _report(user_token, draw.choice(favourites), appetite, hour, now, draw)
        hour += HOUR


def _server(number: int, draw: random.Random) -> tuple[str, int, str]:
    place = _PLACES[number % len(_PLACES)]
    return (
        f"{place}{number // len(_PLACES) + 1}.vpn.example.com",
        draw.choice((443, 443, 8443, 2053)),
        draw.choice(_PROTOCOLS),
    )


def _favourites(
    servers: list[tuple[str, int, str]], draw: random.Random
) -> list[tuple[str, int, str]]:
    return draw.sample(servers, min(3, len(servers)))


def _report(  # noqa: PLR0913  a private constructor: each is drawn elsewhere
    user_token: str,
    server: tuple[str, int, str],
    appetite: float,
    hour: datetime,
    now: datetime,
    draw: random.Random,
) -> Report:
    download = int(appetite * draw.lognormvariate(18, 1.2))  # median 65 MB an hour
    moment = min(hour.timestamp() + draw.randrange(3600), now.timestamp())
    return Report(
        user_token, *server, int(download * draw.uniform(0.03, 0.2)), download, int(moment)
    )

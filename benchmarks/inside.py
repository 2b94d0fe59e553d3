"""Measurements inside one process; ``__main__`` runs it with the database in the environment.

``python -m benchmarks.inside WHAT [ARGUMENTS]`` prints one JSON object.
"""

import gc
import itertools
import json
import sqlite3
import statistics as averages
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from integrations.marzban.models import PanelLink  # noqa: E402
from operations.api.authentication import create_api_key  # noqa: E402
from operations.audit import By  # noqa: E402
from operations.databases.transactions import write_transaction  # noqa: E402
from subscriptions import direct_configs, formats, skeletons  # noqa: E402
from subscriptions import links as share_links  # noqa: E402
from subscriptions.serving import custom_lists  # noqa: E402
from subscriptions.skeletons import ready  # noqa: E402
from traffic import readings, reports  # noqa: E402
from traffic.figures import statistics  # noqa: E402
from traffic.ledger import recording, rollups  # noqa: E402
from traffic.ledger.meters import Readings  # noqa: E402
from traffic.ledger.owners import Sending  # noqa: E402
from traffic.models import Subscriber  # noqa: E402
from traffic.periods import window  # noqa: E402

from .measure import ratio, seconds  # noqa: E402

# As ``post_worker_init`` of xpert_panel/server.py: these figures are about a server.
gc.freeze()
gc.set_threshold(10_000, 20, 20)


def batch_of_1000(scratch: str) -> dict[str, float]:
    """Decode and record 1000 reports, compared with bare sqlite3 executing the grouped upserts from lists in memory."""
    now = timezone.now()
    body = json.dumps(
        [
            {
                "user_token": f"user{n % 1000}", "server": f"vpn{n % 5}.example.com", "port": 443, "protocol": "vless",
                "bytes_uploaded": n, "bytes_downloaded": 10 * n,
            }
            for n in range(1000)
        ]
    ).encode()  # fmt: skip

    def ours() -> None:
        decoded = reports.decode(body, now)
        recording.record(list(decoded.reports.values()), now, create_subscribers=True)

    ours()
    statements = _captured(ours)
    bare = _bare(scratch)

    def reference() -> None:
        bare.execute("BEGIN IMMEDIATE")
        for sql, params in statements:
            bare.execute(sql, params).fetchall()
        bare.execute("COMMIT")

    return {"speed": 1 / ratio(ours, reference, rounds=40)}


def readings_of_1000(scratch: str) -> dict[str, float]:
    """Decode and record 1000 meter readings: all grown, against bare sqlite3 executing the same upserts; and none grown."""
    now, rounds = timezone.now(), 30
    with write_transaction():
        Subscriber.objects.bulk_create([Subscriber(token=f"user{n}") for n in range(1000)])
    sending = Sending(create_api_key("bench", "report")[0].pk, 2**62)
    bodies = iter([_readings(now, total) for total in range(1, rounds + 20)])

    def send(body: bytes) -> None:
        recording.write([Readings(readings.decode(body, now), sending)], now)

    def grown() -> None:
        send(next(bodies))

    grown()
    statements = _captured(grown)
    bare = _bare(scratch)

    def reference() -> None:
        bare.execute("BEGIN IMMEDIATE")
        for sql, params in statements:
            bare.execute(sql, params).fetchall()
        bare.execute("COMMIT")

    speed = 1 / ratio(grown, reference, rounds=rounds)
    last = next(bodies)
    send(last)
    same, more = [], []
    for body in list(bodies):
        same.append(seconds(lambda last=last: send(last)))  # type: ignore[misc]
        more.append(seconds(lambda body=body: send(body)))  # type: ignore[misc]
        last = body
    return {"speed": speed, "none grown": averages.median(same) / averages.median(more)}


def gateway_of_1000() -> dict[str, float]:
    """The share of a core that the readings of a gateway with 1000 people on each of 20 servers take, one a minute.

    Each row has grown, and the messages are as large as the agent makes them.
    """
    now = timezone.now()
    with write_transaction():
        Subscriber.objects.bulk_create([Subscriber(token=f"user{n}") for n in range(1000)])
    sending = Sending(create_api_key("bench", "report")[0].pk, 2**62)

    def minute(total: int) -> float:
        bodies = [_readings(now, total, server) for server in range(20)]
        begun = time.process_time()
        for body in bodies:
            recording.write([Readings(readings.decode(body, now), sending)], now)
        return time.process_time() - begun

    minute(1)
    return {"share": averages.median(minute(total) for total in range(2, 9)) / 60}


def _readings(now: datetime, total: int, server: int | None = None) -> bytes:
    """Totals of 1000 people on one server, or on five by turns."""
    rows = [
        {
            "user_token": f"user{n}", "server": f"vpn{n % 5 if server is None else server}.example.com", "port": 443,
            "protocol": "vless", "total_uploaded": total, "total_downloaded": 10 * total,
        }
        for n in range(1000)
    ]  # fmt: skip
    run = int(now.timestamp()) - 3600
    return json.dumps({"meter": "bench", "run": run, "readings": rows}).encode()


def _bare(scratch: str) -> sqlite3.Connection:
    """A copy of the database as it stands, without Django."""
    bare = sqlite3.connect(scratch, isolation_level=None)
    bare.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
    with sqlite3.connect(settings.DATABASES["default"]["NAME"]) as source:
        source.backup(bare)
    return bare


def _captured(work: Callable[[], object]) -> list[tuple[str, list[Any]]]:
    """The upserts that ``work`` executes, in the form that sqlite3 accepts."""
    found: list[tuple[str, list[Any]]] = []
    original = rollups._merge  # noqa: SLF001

    def capture(rollup: rollups.Rollup, rows: Any) -> Any:
        if rows:
            text = rollups._upsert(rollup, "sqlite", len(rows))  # noqa: SLF001
            found.append((text, [value for values in rows for value in values]))
        return original(rollup, rows)

    rollups._merge = capture  # noqa: SLF001
    try:
        work()
    finally:
        rollups._merge = original  # noqa: SLF001
    return found


def questions() -> dict[str, float]:
    """Median seconds of each kind of query."""
    now = timezone.now()
    subscribers = [f"user{n}" for n in range(1, 100, 3)]
    bare = sqlite3.connect(settings.DATABASES["default"]["NAME"])

    def median(work: Callable[[], object], rounds: int = 9) -> float:
        work()
        return averages.median(seconds(work) for _ in range(rounds))

    def bare_sums(days: int) -> None:
        start = int(window(days, now).start.timestamp()) // 3600
        sql = "SELECT server_id, SUM(upload), SUM(download), SUM(reports) FROM traffic_serverusage WHERE hour >= ? GROUP BY 1"
        bare.execute(sql, [start]).fetchall()

    return {
        "user 30": median(
            lambda: [statistics.user(token, window(30, now)) for token in subscribers]
        )
        / len(subscribers),
        "global 30": median(lambda: statistics.overall(window(30, now))),
        "global 365": median(lambda: statistics.overall(window(365, now))),
        "bare 30": median(lambda: bare_sums(30)),
        "bare 365": median(lambda: bare_sums(365)),
        "server 30": median(lambda: statistics.server("vpn1.example.com", 443, window(30, now))),
        "series 30": median(
            lambda: statistics.global_series(window(30, now), "day", ZoneInfo("UTC"))
        ),
        "database": median(statistics.database),
        "report": _one_report(),
    }


# Serve static files from the apps; collectstatic does not matter here.
_STATIC = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


def pages() -> dict[str, float]:
    """Median seconds of server time for each admin page."""
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(User.objects.create_superuser("bench"))
    lists = (
        "traffic_subscriber",
        "traffic_server",
        "subscriptions_subscriptionhit",
        "subscriptions_directconfig",
    )
    urls = {"dashboard": reverse("admin:index")}
    urls |= {name: reverse(f"admin:{name}_changelist") for name in lists}
    urls |= {f"one {name}": reverse(f"admin:{name}_change", args=[7]) for name in lists[:2]}
    with override_settings(STORAGES=settings.STORAGES | _STATIC):
        return {name: _page(client, url) for name, url in urls.items()}


def _page(client: Client, url: str) -> float:
    def get() -> None:
        answer = client.get(url)
        assert answer.status_code == 200, (url, answer.status_code)
        b"".join(answer)

    get()
    return averages.median(seconds(get) for _ in range(9))


def links(count: str) -> dict[str, float]:
    """Add ``count`` direct configurations."""
    raws = [
        f"trojan://password{n}@vpn{n}.example.com:443?sni=vpn{n}.example.com#Server%20{n}"
        for n in range(int(count))
    ]
    by = By("bench", timezone.now())
    return {"added": len(direct_configs.add_many(raws, by).configs)}


def templates(count: str) -> dict[str, float]:
    """Lists of ``count`` servers by the ready templates with a group per country, against the built-in ones."""
    places = itertools.cycle(("DE", "NL", "FI", "US", "FR"))
    nodes = [
        share_links.parse(f"trojan://password{n}@vpn{n}.example.com:443?sni=a.example#{place}-{n}")
        for n, place in zip(range(int(count)), places, strict=False)
    ]
    return {each.format: _by_template(each, nodes) for each in ready.READY if each.kind == "local"}


def _by_template(each: ready.Ready, nodes: list[share_links.Node]) -> float:
    skeleton = skeletons.read(each.format, each.text)
    used = [custom_lists.InUse(1, each.format, frozenset(), skeleton, {})]
    return ratio(
        lambda: custom_lists.render(used, each.format, nodes, list),
        lambda: formats.render(each.format, nodes),
    )


def marzban_link(certificate: str) -> dict[str, int]:
    """A linked Marzban that shows this certificate."""
    pem = Path(certificate).read_text()
    link = PanelLink.objects.create(
        name="Marzban", url="http://127.0.0.1:9", client_certificate=pem
    )
    return {"link": link.pk}


def all_use() -> dict[str, int]:
    """Count some bytes for every subscriber."""
    now = timezone.now()
    moment = int(now.timestamp())
    found = [
        reports.Report(token, "vpn1.example.com", 443, "vless", 1000, 2000, moment)
        for token in Subscriber.objects.values_list("token", flat=True)
    ]
    return {"counted": len(recording.record(found, now))}


def _one_report() -> float:
    """Seconds to record one report, including the commit."""
    now = timezone.now()
    times = []
    for n in range(60):
        moment = int((now - timedelta(seconds=n)).timestamp())
        report = reports.Report(
            f"user{1 + n % 7}", f"vpn{1 + n}.example.com", 443, "vless", 1, 2, moment
        )
        begun = time.perf_counter()
        recording.record([report], now)
        times.append(time.perf_counter() - begun)
    return averages.median(times)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))

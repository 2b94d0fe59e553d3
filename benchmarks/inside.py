"""What is measured inside one process, on one database; run by ``__main__`` with that database in the environment.

``python -m benchmarks.inside WHAT [ARGUMENTS]`` prints one JSON object.
"""

import json
import sqlite3
import statistics as averages
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.measure import ratio, seconds  # noqa: E402
from subscriptions import direct_configs  # noqa: E402
from traffic import recording, reports, rollups, statistics  # noqa: E402
from traffic.periods import window  # noqa: E402


def batch_of_1000(scratch: str) -> dict[str, float]:
    """Decode and record 1000 reports, against bare sqlite3 executing the grouped upserts from lists in memory."""
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
    bare = sqlite3.connect(scratch, isolation_level=None)
    bare.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
    with sqlite3.connect(settings.DATABASES["default"]["NAME"]) as source:
        source.backup(bare)

    def reference() -> None:
        bare.execute("BEGIN IMMEDIATE")
        for sql, params in statements:
            bare.execute(sql, params).fetchall()
        bare.execute("COMMIT")

    return {"speed": 1 / ratio(ours, reference, rounds=40)}


def _captured(work: Callable[[], object]) -> list[tuple[str, list[Any]]]:
    """The upserts that ``work`` sends, as sqlite3 takes them."""
    found: list[tuple[str, list[Any]]] = []
    original = rollups._run  # noqa: SLF001

    def capture(model: Any, sql: str, rows: Any, constants: str = "") -> Any:
        if rows:
            row = f"({', '.join('?' * len(rows[0]))}{constants})"
            table = rollups._quoted(model)  # noqa: SLF001
            text = sql.format(table=table, values=", ".join([row] * len(rows)), greatest="MAX")
            found.append((text, [value for values in rows for value in values]))
        return original(model, sql, rows, constants)

    rollups._run = capture  # noqa: SLF001
    try:
        work()
    finally:
        rollups._run = original  # noqa: SLF001
    return found


def questions() -> dict[str, float]:
    """Seconds of each kind of question; medians."""
    now = timezone.now()
    subscribers = [f"user{n}" for n in range(1, 100, 3)]
    bare = sqlite3.connect(settings.DATABASES["default"]["NAME"])

    def median(work: Callable[[], object], rounds: int = 9) -> float:
        work()
        return averages.median(seconds(work) for _ in range(rounds))

    def bare_sums(days: int) -> None:
        start = int(window(days, now).start.timestamp()) // 3600
        sql = "SELECT server_id, SUM(upload), SUM(download), SUM(connections) FROM traffic_serverusage WHERE hour >= ? GROUP BY 1"
        bare.execute(sql, [start]).fetchall()

    return {
        "user 30": median(lambda: [statistics.user(token, window(30, now)) for token in subscribers])
        / len(subscribers),
        "global 30": median(lambda: statistics.overall(window(30, now))),
        "global 365": median(lambda: statistics.overall(window(365, now))),
        "bare 30": median(lambda: bare_sums(30)),
        "bare 365": median(lambda: bare_sums(365)),
        "server 30": median(lambda: statistics.server("vpn1.example.com", 443, window(30, now))),
        "series 30": median(lambda: statistics.global_series(window(30, now), "day", ZoneInfo("UTC"))),
        "database": median(statistics.database),
        "report": _one_report(),
    }


# As files come with the apps: what collectstatic makes of them does not matter here.
_STATIC = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


def pages() -> dict[str, float]:
    """Seconds of server time for the admin's pages; medians."""
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(User.objects.create_superuser("bench"))
    lists = ("traffic_subscriber", "traffic_server", "subscriptions_subscriptionhit", "subscriptions_directconfig")
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
    """Gives the panel so many direct configurations."""
    raws = [
        f"trojan://password{n}@vpn{n}.example.com:443?sni=vpn{n}.example.com#Server%20{n}" for n in range(int(count))
    ]
    return {"added": len(direct_configs.add_many(raws).configs)}


def _one_report() -> float:
    """Recording one report, commit included."""
    now = timezone.now()
    times = []
    for n in range(60):
        moment = int((now - timedelta(seconds=n)).timestamp())
        report = reports.Report(f"user{1 + n % 7}", f"vpn{1 + n}.example.com", 443, "vless", 1, 2, moment)
        begun = time.perf_counter()
        recording.record([report], now)
        times.append(time.perf_counter() - begun)
    return averages.median(times)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))

"""Fills big databases quickly: SQLite generates the rows, and all sums agree, as ``check_traffic`` requires."""

import sqlite3
import time
from pathlib import Path

import msgspec

ACTIVE_HOURS = 6
SERVERS_EACH = 3
HOURLY_DAYS = 32


class Size(msgspec.Struct, frozen=True):
    """The size of a panel; each subscriber uses 3 of the servers, 6 hours a day."""

    subscribers: int
    servers: int = 200
    days: int = 365

    @property
    def rows(self) -> int:
        hours = HOURLY_DAYS * ACTIVE_HOURS + max(self.days - HOURLY_DAYS, 0)
        return self.subscribers * SERVERS_EACH * hours


BIG = Size(10_000)
SMALL = Size(100)


def fill(database: Path, size: Size) -> None:
    """Fill an empty, migrated database: hours for the last 32 days, one row per day before that."""
    connection = sqlite3.connect(database)
    # Safe, because nothing else has this file open and it can be created again.
    connection.executescript(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000;"
    )
    _fill_names(connection, size)
    _fill_usage(connection, size)
    _fill_sums(connection)
    connection.executescript("ANALYZE; PRAGMA journal_mode=WAL;")
    connection.close()


def _fill_names(connection: sqlite3.Connection, size: Size) -> None:
    connection.executemany(
        "INSERT INTO traffic_subscriber (id, token, name, note, is_active, limit_reset, created_at)"
        " VALUES (?, ?, ?, '', 1, 'monthly', '2025-01-01')",
        [(n, f"user{n}", f"User {n}") for n in range(1, size.subscribers + 1)],
    )
    connection.executemany(
        "INSERT INTO traffic_server (id, host, port, protocol, name, created_at)"
        " VALUES (?, ?, 443, 'vless', '', '2025-01-01')",
        [(n, f"vpn{n}.example.com") for n in range(1, size.servers + 1)],
    )
    connection.commit()


def _fill_usage(connection: sqlite3.Connection, size: Size) -> None:
    """Insert in the order of time, as reports would."""
    this_hour = int(time.time()) // 3600
    edge = (this_hour // 24 - HOURLY_DAYS) * 24
    days = range(edge // 24 - max(size.days - HOURLY_DAYS, 0), edge // 24)
    hours = [day * 24 for day in days]
    hours += [
        hour for hour in range(edge, this_hour + 1) if hour % 24 in range(14, 14 + ACTIVE_HOURS)
    ]
    connection.execute(
        "CREATE TEMP TABLE favourite AS SELECT s.id AS subscriber_id, k.n AS n, 1 + (s.id * 7 + k.n * 61) % ? AS server_id"
        " FROM traffic_subscriber s, (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2) k ORDER BY 1, 3",
        [size.servers],
    )
    for hour in hours:
        connection.execute(
            "INSERT INTO traffic_usage (subscriber_id, hour, server_id, upload, download, reports, last_used_at)"
            " SELECT subscriber_id, ?1, server_id, 1000000 + (subscriber_id * 31 + ?1) % 9000000,"
            " 20000000 + (subscriber_id * 131 + ?1 * 17) % 90000000, 1 + (subscriber_id + ?1) % 5, ?1 * 3600 + 1800"
            " FROM favourite",
            [hour],
        )
        connection.commit()


def _fill_sums(connection: sqlite3.Connection) -> None:
    connection.executescript(
        "INSERT INTO traffic_serverusage (server_id, hour, upload, download, reports, records)"
        " SELECT server_id, hour, SUM(upload), SUM(download), SUM(reports), COUNT(*)"
        " FROM traffic_usage GROUP BY server_id, hour;"
        "INSERT INTO traffic_balance (subscriber_id, period_start, period_upload, period_download, life_upload,"
        " life_download, life_reports, cleaned_upload, cleaned_download, cleaned_reports, last_used_at)"
        " SELECT subscriber_id, 0, 0, 0, SUM(upload), SUM(download), SUM(reports), 0, 0, 0, MAX(last_used_at)"
        " FROM traffic_usage GROUP BY subscriber_id;"
    )

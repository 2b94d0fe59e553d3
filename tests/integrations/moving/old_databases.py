"""Small databases with the tables of Marzban 0.8 (also PasarGuard 5) and of 3x-ui, as far as people are concerned."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

SECRET = "5e" * 32
MADE = "2026-01-15 09:30:32.123456"
_USER = {
    "username": "alice",
    "status": "active",
    "used_traffic": 0,
    "data_limit": None,
    "data_limit_reset_strategy": "no_reset",
    "expire": None,
    "sub_revoked_at": None,
    "created_at": MADE,
    "note": None,
    "on_hold_expire_duration": None,
    "on_hold_timeout": None,
}


def marzban(
    path: Path,
    users: Iterable[Mapping[str, Any]],
    resets: Iterable[tuple[int, str]] = (),
    secret: str = SECRET,
    other_table: str = "proxies",
) -> Path:
    """``users``: what differs from a plain alice. ``resets``: user's id and time."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            f"CREATE TABLE users (id INTEGER PRIMARY KEY, {', '.join(_USER)});"
            f"CREATE TABLE {other_table} (id INTEGER PRIMARY KEY);"
            "CREATE TABLE user_usage_logs (id INTEGER PRIMARY KEY, user_id, reset_at);"
            "CREATE TABLE jwt (id INTEGER PRIMARY KEY, secret_key)"
        )
        database.execute("INSERT INTO jwt VALUES (1, ?)", [secret])
        marks = ", ".join("?" * (len(_USER) + 1))
        for user in users:
            row = [None, *(_USER | dict(user)).values()]
            database.execute(f"INSERT INTO users VALUES ({marks})", row)  # noqa: S608  question marks
        database.executemany(
            "INSERT INTO user_usage_logs (user_id, reset_at) VALUES (?, ?)", resets
        )
        database.commit()
    return path


def pasarguard(path: Path, users: Iterable[Mapping[str, Any]]) -> Path:
    return marzban(path, users, other_table="groups")


def client(email: str, **more: Any) -> dict[str, Any]:
    """A client as an inbound of 3x-ui holds it."""
    plain = {"email": email, "enable": True, "totalGB": 0, "expiryTime": 0, "reset": 0}
    return plain | {"subId": f"sub-of-{email}"} | more


def three_x_ui(
    path: Path,
    clients: Iterable[Mapping[str, Any]],
    used: Mapping[str, tuple[int, int]] = {},
    resets: str = "never",
) -> Path:
    """``used``: upload and download by e-mail. ``resets``: of the one inbound."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE inbounds (id INTEGER PRIMARY KEY, settings, traffic_reset);"
            "CREATE TABLE client_traffics (id INTEGER PRIMARY KEY, email, up, down)"
        )
        settings = json.dumps({"clients": list(clients)})
        database.execute("INSERT INTO inbounds VALUES (1, ?, ?)", [settings, resets])
        rows = [(email, up, down) for email, (up, down) in used.items()]
        database.executemany("INSERT INTO client_traffics (email, up, down) VALUES (?, ?, ?)", rows)
        database.commit()
    return path

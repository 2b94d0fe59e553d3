"""What v2rayN keeps in its folder. Everything is opened for reading only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from xpert_agent.sources import xray_stats
from xpert_agent.sources.base import Counter, Endpoint, SourceError
from xpert_agent.sources.xray_stats import Snapshot

_KIB = 1024
_PROTOCOLS = {
    1: "vmess",
    3: "shadowsocks",
    4: "socks",
    5: "vless",
    6: "trojan",
    7: "hysteria2",
    8: "tuic",
    9: "wireguard",
    10: "http",
    11: "anytls",
    12: "naive",
}
"""v2rayN's EConfigType. Others (groups, chains, whole configurations) are more than one server."""
_PROFILES = """
    SELECT p.IndexId, coalesce(p.Remarks, ''), p.Address, p.Port, p.ConfigType,
           coalesce(s.TotalUp, 0), coalesce(s.TotalDown, 0)
    FROM ProfileItem p LEFT JOIN ServerStatItem s ON s.IndexId = p.IndexId
"""


class Row(NamedTuple):
    """A server in v2rayN's list."""

    id: str
    name: str
    endpoint: Endpoint | None
    total: Counter
    """Bytes, as of the last time that v2rayN was closed."""


class Settings(NamedTuple):
    """What the program itself has been told."""

    active: str
    """The id of the server that is in use."""
    counts: bool
    """Whether statistics are switched on."""


def is_folder(folder: Path) -> bool:
    """Whether this is the folder of a v2rayN."""
    return _database(folder).is_file()


def rows(folder: Path) -> list[Row]:
    """All servers with their totals; raises `SourceError`."""
    path = _database(folder)
    if not path.is_file():
        raise SourceError(f"{path} does not exist: it is made when v2rayN starts first.")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2)) as database:
            return [_row(values) for values in database.execute(_PROFILES)]
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise SourceError(f"{path.name} of v2rayN cannot be read: {error}.") from error


def settings(folder: Path) -> Settings:
    """What guiNConfig.json says; an unreadable one says nothing."""
    document = _object(folder / "guiConfigs" / "guiNConfig.json")
    gui = document.get("GuiItem") or {}
    counts = bool(gui.get("EnableStatistics") or gui.get("DisplayRealTimeSpeed"))
    return Settings(str(document.get("IndexId") or ""), counts)


def metrics_address(folder: Path) -> str:
    """host:port at which the core that v2rayN has configured last tells its counters; or ""."""
    metrics = _object(folder / "binConfigs" / "config.json").get("metrics") or {}
    return str(metrics.get("listen") or "")


def core_addresses(folder: Path) -> set[str]:
    """Every host:port at which a core that v2rayN has configured tells anything."""
    addresses = {metrics_address(folder)}
    for name in ("config.json", "configPre.json"):
        experimental = _object(folder / "binConfigs" / name).get("experimental") or {}
        clash = experimental.get("clash_api") or {}
        addresses.add(str(clash.get("external_controller") or ""))
    return addresses - {""}


def live(folder: Path) -> Snapshot | None:
    """What the running core tells; None when none runs, or one that tells nothing."""
    address = metrics_address(folder)
    if not address:
        return None
    try:
        return xray_stats.reader(f"http://{address}")()
    except SourceError:
        return None


def _database(folder: Path) -> Path:
    return folder.expanduser().resolve() / "guiConfigs" / "guiNDB.db"


def _row(values: Sequence[Any]) -> Row:
    id_, name, host, port, kind, up, down = values
    protocol = _PROTOCOLS.get(kind)
    endpoint = Endpoint(host, port, protocol) if protocol and host and 0 < port < 65536 else None
    return Row(id_, name, endpoint, Counter(up * _KIB, down * _KIB))


def _object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.expanduser().read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}

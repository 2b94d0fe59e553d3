"""Meter readings that tests send, as programs do."""

import gzip
import json
from typing import Any

from django.test import Client

METER_READINGS = "/api/xpert/meter-readings"
ROW = {
    "user_token": "ann",
    "server": "vpn.example.com",
    "port": 443,
    "protocol": "vless",
    "total_uploaded": 100,
    "total_downloaded": 1000,
}


def row(up: int = 100, down: int = 1000, **fields: Any) -> dict[str, Any]:
    """Totals of Ann's, unless said otherwise; with a ``person``, nobody's token."""
    found = ROW | {"total_uploaded": up, "total_downloaded": down} | fields
    if "person" in fields:
        del found["user_token"]
    return found


def send(client: Client, *rows: Any, run: int, meter: str = "gateway-1", **more: Any) -> Any:
    body = {"meter": meter, "run": run, "readings": list(rows)} | more
    return client.post(METER_READINGS, json.dumps(body), content_type="application/json")


def send_packed(client: Client, *rows: Any, run: int) -> Any:
    body = json.dumps({"meter": "gateway-1", "run": run, "readings": list(rows)}).encode()
    return client.post(
        METER_READINGS,
        gzip.compress(body),
        content_type="application/json",
        headers={"content-encoding": "gzip"},
    )

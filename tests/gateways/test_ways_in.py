"""Every protocol of a gateway that has made its own certificate: apps pin it, and reach the origin through it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.gateways import socks
from tests.gateways.lab import Lab, Process, eventually, listens
from tests.subscriptions.formats.cores import MIHOMO, needs_mihomo, needs_sing_box
from tests.test_crash import database  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, needs_sing_box]
PROTOCOLS = ("shadowsocks", "trojan", "vless", "hysteria2", "tuic")
LABEL = 7


@pytest.fixture
def lab(tmp_path: Path, database: dict[str, str]) -> Iterator[Lab]:  # noqa: F811
    lab = Lab(tmp_path, database, *PROTOCOLS)
    lab.start_agent()
    yield lab
    lab.close()


def test_an_app_with_sing_box_reaches_the_origin_by_each(lab: Lab) -> None:
    lab.start_apps()
    ways = [f"trojan · {protocol}" for protocol in PROTOCOLS[1:]]
    for entry in ("trojan", *ways):
        socks.stream(lab.apps["ann", entry], lab.origin.port, LABEL, 100, 200).close()
        socks.datagrams(lab.apps["ann", entry], lab.origin.port, LABEL, [(100, 200)])
    assert lab.origin.counted[LABEL][1] == len(PROTOCOLS) * 400


@needs_mihomo
def test_an_app_with_mihomo_reaches_the_origin_by_each(lab: Lab) -> None:
    listed = proxies(lab, "ann")
    by_name = {one["name"]: one for one in listed if one["name"].partition(" ")[0] == "trojan"}
    assert len(by_name) == len(PROTOCOLS)
    ports = {name: lab.port() for name in by_name}
    config = {
        "log-level": "error",
        "proxies": list(by_name.values()),
        "listeners": [
            {"name": f"in {name}", "type": "socks", "listen": "127.0.0.1", "port": port, "proxy": name}
            for name, port in ports.items()
        ],
    }  # fmt: skip
    path = lab.folder / "mihomo.yaml"
    path.write_text(json.dumps(config))
    mihomo = Process(
        [str(MIHOMO), "-d", str(lab.folder), "-f", str(path)], lab.folder / "mihomo.log"
    )
    try:
        eventually(lambda: all(map(listens, ports.values())))
        for port in ports.values():
            socks.stream(port, lab.origin.port, LABEL, 100, 200).close()
    finally:
        mihomo.stop()


def proxies(lab: Lab, person: str) -> list[dict[str, Any]]:
    """As soon as the gateway has told its pin."""

    def listed() -> str:
        query = {"user_token": person, "format": "mihomo"}
        return requests.get(f"{lab.panel.url}/api/xpert/sub", query, timeout=30).text

    eventually(lambda: "fingerprint" in listed())
    found: list[dict[str, Any]] = yaml.safe_load(listed())["proxies"]
    return found

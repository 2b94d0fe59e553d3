"""REALITY from end to end with mihomo: the keys that a gateway makes, its inbound, and what its people's lists say.

No build of sing-box that tests can have contains REALITY; its inbound carries the same values, so a server of mihomo made
of them proves that keys and lists fit together.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.utils import timezone

from gateways import configuration
from tests.gateways import socks
from tests.gateways.examples import BERLIN
from tests.gateways.lab import Process, eventually, listens
from tests.gateways.origin import Origin
from tests.gateways.test_state import Own
from tests.ports import free_ports
from tests.subscriptions.examples import ask, direct, subscriber
from tests.subscriptions.formats.cores import MIHOMO, SING_BOX, needs_mihomo, needs_sing_box

pytestmark = [pytest.mark.slow, pytest.mark.django_db, needs_mihomo, needs_sing_box]
SITE = "www.example.org"
LABEL, DOWN = 7, 200_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[int]:
    """The port of the site that the gateway looks like: TLS 1.3 on loopback."""
    (port,) = free_ports(1)
    files = ["-keyout", str(tmp_path / "site.key"), "-out", str(tmp_path / "site.pem")]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*make, "-subj", f"/CN={SITE}", *files], check=True, capture_output=True)
    serve = ["openssl", "s_server", "-www", "-tls1_3", "-alpn", "h2,http/1.1", "-accept", str(port)]  # fmt: skip
    pair = ["-cert", str(tmp_path / "site.pem"), "-key", str(tmp_path / "site.key")]
    process = Process([*serve, *pair], tmp_path / "site.log")
    eventually(lambda: listens(port))
    yield port
    process.stop()


def own_keys() -> tuple[str, str]:
    """The private and the public key, as the agent has them made."""
    command = [str(SING_BOX), "generate", "reality-keypair"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return said[1], said[3]


def mihomo(folder: Path, name: str, config: dict[str, Any]) -> Process:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"log-level": "error", "mode": "direct", **config}))
    return Process([str(MIHOMO), "-d", str(folder), "-f", str(path)], folder / f"{name}.log")


def server(inbound: dict[str, Any], private_key: str, site: int) -> dict[str, Any]:
    """A listener of mihomo with the values of sing-box's inbound."""
    reality = inbound["tls"]["reality"]
    return {
        "name": "in",
        "type": "vless",
        "listen": "127.0.0.1",
        "port": inbound["listen_port"],
        "users": [
            {"username": user["name"], "uuid": user["uuid"], "flow": user["flow"]}
            for user in inbound["users"]
        ],
        "reality-config": {
            "dest": f"127.0.0.1:{site}",
            "private-key": private_key,
            "short-id": reality["short_id"],
            "server-names": [inbound["tls"]["server_name"]],
        },
    }


def client(port: int) -> dict[str, Any]:
    """What the list of a person says, with a SOCKS port that leads there."""
    (entry,) = yaml.safe_load(ask(format="mihomo").content)["proxies"]
    listener = {"name": "app", "type": "socks", "listen": "127.0.0.1", "port": port}
    return {"proxies": [entry], "listeners": [{**listener, "proxy": entry["name"]}]}


def flows(app: int, target: int) -> bool:
    """Not before the gateway listens; and its site takes one visitor at a time."""
    try:
        socks.stream(app, target, LABEL, 1_000, DOWN).close()
    except OSError:
        return False
    return True


def test_an_app_reaches_the_origin_by_the_keys_that_the_gateway_made(
    tmp_path: Path, site: int
) -> None:
    entrance, app, target = free_ports(3)
    subscriber()
    direct(BERLIN)
    own = Own(("vless", entrance), host="127.0.0.1", reality_server_name=SITE)
    private, public = own_keys()
    own.tell(reality_public_key=public)
    document = configuration.contents(own.reread(), timezone.now())
    listener = server(document["sing_box"]["inbounds"][0], private, site)
    origin = Origin(target)
    running = [
        mihomo(tmp_path, "gateway", {"listeners": [listener]}),
        mihomo(tmp_path, "app", client(app)),
    ]
    try:
        eventually(lambda: listens(app))
        eventually(lambda: flows(app, target))
        assert origin.counted[LABEL][1] >= DOWN
    finally:
        for process in running:
            process.stop()
        origin.close()

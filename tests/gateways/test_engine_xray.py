"""What the agent of a gateway of Xray is given, where lists lead then, and that a real v2ray takes it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from gateways import configuration, slots
from gateways.creation import create
from gateways.models import Gateway
from subscriptions import links
from subscriptions.models import DirectConfig
from tests.gateways.examples import BERLIN, BY, EXOTIC, NOW, PARIS, gateway, plan
from tests.subscriptions.examples import ask, direct, subscriber
from tests.subscriptions.formats.cores import sample_nodes

pytestmark = pytest.mark.django_db
XRAY = Gateway.Engine.XRAY
WAYS = (("vless", 21_000), ("trojan", 22_000), ("shadowsocks", 23_000))
TUIC = "tuic://b831381d-6324-4d53-ad4f-8cda48b30811:pw@t.example.com:443#Tuic"


def made(*ways: tuple[str, int], **values: Any) -> tuple[Gateway, dict[str, Any]]:
    """A gateway that has asked for its configuration, and what it got."""
    it, key = create(plan(*(ways or WAYS), engine=XRAY, **values), BY)
    return it, fetched(key)


def fetched(key: str, name: str = "gw") -> dict[str, Any]:
    url = f"/api/xpert/gateways/{name}/config"
    found: dict[str, Any] = Client().get(url, headers={"authorization": f"Bearer {key}"}).json()
    return found


def emails(inbound: dict[str, Any]) -> list[str]:
    return [one["email"] for one in inbound["settings"]["clients"]]


def ports() -> set[int]:
    body = ask(format="plain").content.decode()
    return {links.parse(line).port for line in body.splitlines()}


def test_each_server_has_a_way_in_per_protocol_and_a_rule_to_it_alone() -> None:
    ann, bob = subscriber("ann-token"), subscriber("bob-token")
    direct(BERLIN, PARIS)
    _, found = made()
    config = found["xray"]
    tags = set(found["servers"])
    assert len(tags) == 2
    inbounds = {one["tag"]: one for one in config["inbounds"] if one["tag"] != "api"}
    assert set(inbounds) == {f"{way}-{tag}" for way, _ in WAYS for tag in tags}
    for name, inbound in inbounds.items():
        tag = name.partition("-")[2]
        assert emails(inbound) == [f"p{ann.pk}-{tag}", f"p{bob.pk}-{tag}", "nobody"]
    led = {tag: rule["outboundTag"] for rule in config["routing"]["rules"] for tag in rule["inboundTag"]}  # fmt: skip
    assert led == {name: name.partition("-")[2] for name in inbounds} | {"api": "api"}


def test_it_dials_external_servers_alone_and_rejects_what_has_no_rule() -> None:
    subscriber()
    direct(BERLIN, PARIS)
    config = made()[1]["xray"]
    first, *others = config["outbounds"]
    assert first == {"tag": "rejected", "protocol": "blackhole"}
    assert {one["protocol"] for one in others} == {"trojan", "shadowsocks"}
    assert "dns" not in config
    assert config["log"]["access"] == "none"
    assert [one["listen"] for one in config["inbounds"] if one["tag"] == "api"] == ["127.0.0.1"]


def test_credentials_differ_per_person_and_server_and_no_token_is_told() -> None:
    subscriber("ann-token")
    subscriber("bob-token")
    direct(BERLIN, PARIS)
    _, found = made(("vless", 21_000))
    told = json.dumps(found)
    assert "ann-token" not in told
    ids = [one["id"] for inbound in found["xray"]["inbounds"][:2] for one in inbound["settings"]["clients"]]  # fmt: skip
    assert len(set(ids)) == len(ids) == 6


def test_reality_and_vision_stand_where_xray_reads_them() -> None:
    subscriber()
    direct(BERLIN)
    _, found = made(("vless", 21_000), reality_server_name="www.example.com")
    inbound = found["xray"]["inbounds"][0]
    assert [one["flow"] for one in inbound["settings"]["clients"]] == ["xtls-rprx-vision"] * 2
    stream = inbound["streamSettings"]
    assert (stream["network"], stream["security"]) == ("tcp", "reality")
    reality = stream["realitySettings"]
    assert reality["dest"] == "www.example.com:443"
    assert reality["serverNames"] == ["www.example.com"]
    assert [len(one) for one in reality["shortIds"]] == [16]
    assert "privateKey" not in reality
    assert found["own_certificate"] == ""


def test_lists_lead_to_the_port_of_each_server() -> None:
    subscriber()
    direct(BERLIN, PARIS)
    _, found = made(("vless", 21_000), ("shadowsocks", 23_000))
    inbounds = found["xray"]["inbounds"]
    assert ports() == {one["port"] for one in inbounds if one["tag"] != "api"}
    assert ports() == {21_000, 21_001, 23_000, 23_001}


def test_a_server_without_a_port_is_not_shown_until_the_gateway_has_asked() -> None:
    subscriber()
    direct(BERLIN)
    _, key = create(plan(("shadowsocks", 23_000), engine=XRAY), BY)
    assert ports() == set()
    fetched(key)
    assert ports() == {23_000}


def test_a_server_keeps_its_port_when_others_go_and_the_next_new_one_takes_the_free_one() -> None:
    subscriber()
    direct(BERLIN, PARIS)
    it, key = create(plan(("shadowsocks", 23_000), engine=XRAY), BY)
    before = {tag: port_of(fetched(key), tag) for tag in fetched(key)["servers"]}
    kept, gone = sorted(before, key=lambda tag: before[tag], reverse=True)
    DirectConfig.objects.filter(server=fetched(key)["servers"][gone]["server"]).delete()
    direct("trojan://pw@new.example.com:443#New")
    found = fetched(key)
    (new,) = found["servers"].keys() - {kept}
    assert port_of(found, kept) == before[kept] == 23_001
    assert port_of(found, new) == before[gone] == 23_000
    assert not slots.assign(it, found["servers"])


def port_of(found: dict[str, Any], tag: str) -> int:
    (inbound,) = [one for one in found["xray"]["inbounds"] if one["tag"] == f"shadowsocks-{tag}"]
    return int(inbound["port"])


def test_what_xray_cannot_reach_is_named_and_not_in_lists() -> None:
    subscriber()
    direct(BERLIN, EXOTIC, TUIC)
    _, found = made(("shadowsocks", 23_000))
    assert {one["protocol"] for one in found["left_out"]} == {"ssr", "tuic"}
    assert ports() == {23_000}


def test_a_gateway_of_sing_box_gives_no_places() -> None:
    subscriber()
    direct(BERLIN)
    it = gateway()
    assert not slots.assign(it, configuration.document(it, NOW).servers)


@pytest.mark.skipif(shutil.which("v2ray") is None, reason="v2ray is not installed: NOT checked")
def test_a_real_v2ray_takes_it(tmp_path: Path) -> None:
    subscriber()
    known = {"vless", "vmess", "trojan", "shadowsocks"}
    direct(*(node.raw for node in sample_nodes() if node.protocol in known and is_plain(node)))
    _, found = made(("trojan", 22_000), certificate="", private_key="")
    config = found["xray"]
    assert len(config["outbounds"]) > 2
    certificate(tmp_path)
    path = tmp_path / "xray.json"
    path.write_text(json.dumps(config))
    done = subprocess.run(["v2ray", "-test", "-config", path], cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def is_plain(node: links.Node) -> bool:
    """v2ray 4 has neither REALITY nor Vision nor ids of one's own choice, and fewer transports and ciphers than Xray."""
    given = node.params
    return (
        given.get("security") != "reality"
        and "flow" not in given
        and len(given.get("uuid", "-" * 36)) == 36
        and given.get("network", "tcp") in {"tcp", "ws"}
        and not given.get("method", "").startswith(("2022", "xchacha"))
    )


def certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gw"]
    files = ["-keyout", "private-key.pem", "-out", "certificate.pem"]
    subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)

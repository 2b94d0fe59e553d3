"""What a gateway's agent tells of it: stored, shown as conditions, and pinned in the lists."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from gateways import conditions, configuration
from gateways.creation import create
from gateways.models import Gateway
from operations.findings import Level
from operations.watch import doctor
from subscriptions import links
from tests.gateways.examples import BERLIN, BY, NOW, plan
from tests.subscriptions.examples import ask, direct, subscriber

pytestmark = pytest.mark.django_db
PIN, KEY_PIN = "ab" * 32, "A" * 43 + "="
PUBLIC = "JoKYLxzSemZl3qYEiC15TBEtTjgqaUBdrBfF0Owtw0U"
CERTIFICATE = {"sha256": PIN, "public_key_sha256": KEY_PIN, "ends_at": 2_111_600_066}


class Own:
    def __init__(self, *inbounds: tuple[str, int], **values: Any) -> None:
        self.gateway, secret = create(plan(*inbounds, **values), BY)
        self._client = Client(headers={"authorization": f"Bearer {secret}"})

    def tell(self, name: str = "-", **state: Any) -> Any:
        path = f"/api/xpert/gateways/{name}/state"
        return self._client.post(path, state, content_type="application/json")

    def reread(self) -> Gateway:
        self.gateway.refresh_from_db()
        return self.gateway


def nodes() -> list[links.Node]:
    lines = ask(format="plain").content.decode().splitlines()
    return [links.parse(line) for line in lines]


def codes(gateway: Gateway, now: Any = NOW) -> list[str]:
    return [one.code for one in conditions.wrong(gateway, now)]


def test_what_runs_there_is_stored() -> None:
    own = Own()
    told: dict[str, Any] = {
        "agent": "1.0.0",
        "core": "1.14.4",
        "tags": ["with_quic"],
        "reloads": 3,
        "online": 2,
    }
    assert own.tell(**told, left_out={"s1": "why"}).json() == {"status": "success"}
    found = own.reread()
    assert (found.agent_version, found.core_version, found.core_tags) == ("1.0.0", "1.14.4", ["with_quic"])  # fmt: skip
    assert (found.reloads, found.online, found.left_out) == (3, 2, {"s1": "why"})
    assert found.seen_at


@pytest.mark.parametrize(
    "state",
    [
        {"tags": "x"},
        {"reloads": -1},
        {"agent": "x" * 65},
        {"reality_public_key": "x"},
        {"certificate": {**CERTIFICATE, "sha256": "x"}},
    ],
)
def test_nonsense_is_refused(state: dict[str, Any]) -> None:
    assert Own().tell(**state).status_code == 400


def test_another_gateways_key_tells_nothing() -> None:
    own, _other = Own(), Own(name="gw2")
    assert own.tell("gw2").status_code == 403
    assert Client().post("/api/xpert/gateways/gw/state", {}, content_type="application/json").status_code == 401  # fmt: skip


def test_a_way_in_is_listed_as_soon_as_apps_can_pin_it() -> None:
    subscriber()
    direct(BERLIN)
    own = Own(("trojan", 443), ("hysteria2", 443), certificate="", private_key="")
    assert nodes() == []
    own.tell(certificate=CERTIFICATE)
    trojan, hysteria2 = nodes()
    assert trojan.params["pcs"] == PIN
    assert hysteria2.params["pin_sha256"] == PIN
    sing_box = ask(format="sing-box").content.decode()
    assert sing_box.count(KEY_PIN) == 2
    assert "insecure" not in sing_box


def test_a_certificate_that_apps_trust_is_not_pinned() -> None:
    subscriber()
    direct(BERLIN)
    own = Own(("trojan", 443))
    own.tell(certificate=CERTIFICATE)
    assert "pcs" not in nodes()[0].params
    assert own.reread().certificate_ends_at


def test_reality_takes_its_public_key_from_the_gateway() -> None:
    subscriber()
    direct(BERLIN)
    own = Own(("vless", 443), reality_server_name="www.example.org")
    assert nodes() == []
    own.tell(reality_public_key=PUBLIC)
    (node,) = nodes()
    assert dict(node.params) | {"uuid": ""} == {
        "uuid": "", "security": "reality", "sni": "www.example.org", "pbk": PUBLIC,
        "sid": node.params["sid"], "fp": "chrome", "flow": "xtls-rprx-vision",
    }  # fmt: skip
    inbound = configuration.contents(own.reread(), NOW)["sing_box"]["inbounds"][0]
    assert inbound["tls"]["reality"]["short_id"] == [node.params["sid"]]
    assert inbound["tls"]["reality"]["handshake"] == {"server": "www.example.org", "server_port": 443}  # fmt: skip
    assert "private_key" not in str(inbound)
    assert inbound["users"][0]["flow"] == "xtls-rprx-vision"


def test_whatever_is_wrong_is_a_condition() -> None:
    own = Own()
    assert codes(own.gateway) == ["gateway-new"]
    with time_machine.travel(NOW, tick=False):
        own.tell(complaint="no such method", left_out={"s1": "x"}, certificate={**CERTIFICATE, "ends_at": int(NOW.timestamp()) + 86_400})  # fmt: skip
    found = own.reread()
    assert codes(found) == ["gateway-refuses", "gateway-leaves-out", "gateway-certificate-ends"]
    later = NOW + timedelta(days=2)
    assert codes(found, later)[0] == "gateway-silent"
    assert codes(found, later)[-1] == "gateway-certificate-ended"


def test_the_doctor_says_it() -> None:
    own = Own()
    own.tell(complaint="no such method")
    found = [one for one in doctor.examine(NOW) if "gw" in one.subject]
    assert "no such method" in found[0].message
    assert found[0].level is Level.ERROR


def test_all_is_well_with_one_that_was_heard_of() -> None:
    own = Own()
    with time_machine.travel(NOW, tick=False):
        own.tell()
    assert codes(own.reread(), NOW + conditions.SILENT) == []

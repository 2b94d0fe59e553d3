"""Gateways, people and links that the tests of this folder share."""

from datetime import UTC, datetime
from typing import Any

from gateways.creation import Plan, create
from gateways.models import Gateway
from operations.audit import By

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BY = By("test", NOW)
OUTER = "outer-secret"
UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"
BERLIN = f"trojan://{OUTER}@vpn.example.com:443#Berlin"
PARIS = "ss://YWVzLTEyOC1nY206cGFyaXMtc2VjcmV0@fr.example.com:8388#Paris"
# No core but mihomo has it.
EXOTIC = "ssr://" + "ZXhvdGljLmV4YW1wbGUuY29tOjg0NDM6b3JpZ2luOmFlcy0xMjgtY2ZiOnBsYWluOmMyVmpjbVYw"

XHTTP = f"vless://{UUID}@xhttp.example.com:443?type=xhttp&security=tls&path=%2Fx#Xhttp"


def plan(*inbounds: tuple[str, int], name: str = "gw", **values: Any) -> Plan:
    given: dict[str, Any] = {
        "name": name,
        "host": "gw.example.com",
        "inbounds": inbounds or (("shadowsocks", 8388),),
        "certificate": "/etc/gw/cert.pem",
        "private_key": "/etc/gw/key.pem",
    }
    return Plan(**given | values)


def gateway(*inbounds: tuple[str, int], name: str = "gw", **values: Any) -> Gateway:
    return create(plan(*inbounds, name=name, **values), BY)[0]

"""Answers of the form that Marzban 0.8.4 gives, and external servers."""

import json
from base64 import b64encode
from typing import Any

from subscriptions import formats, links
from subscriptions.formats import Written

ID = "11111111-2222-4333-8444-555555555555"
REALITY = (
    "vless://aaaaaaaa-2222-4333-8444-555555555555@de.example.com:443?security=reality&sni=a.example"
    "&pbk=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA&fp=chrome&flow=xtls-rprx-vision#Berlin"
)
TROJAN = "trojan://pw@fr.example.com:443?type=ws&path=%2Fx&security=tls#Paris"
HYSTERIA2 = "hysteria2://pw@nl.example.com:443?sni=nl.example.com#Amsterdam"
WIREGUARD = (
    "wireguard://QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8%3D@wg.example.com:51820"
    "?publickey=QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8%3D&address=10.0.0.2/32#Tunnel"
)
OWN = (
    f"vless://{ID}@panel.example.com:443?security=tls&type=tcp#alice%20%5BVLESS%5D",
    "trojan://own@panel.example.com:2083?security=tls#alice%20%5BTrojan%5D",
)


def servers(format_name: str, *raws: str) -> list[Written]:
    return formats.entries(format_name, [links.parse(raw) for raw in raws or (REALITY, TROJAN)])


def base64_body(*lines: str) -> bytes:
    return b64encode("\n".join(lines).encode())


CLASH = """\
mode: Global
port: 7890
proxies:
- name: alice [Trojan]
  type: trojan
  server: panel.example.com
  port: 2083
  network: tcp
  udp: true
  password: own
  sni: panel.example.com
proxy-groups:
- name: ♻️ Automatic
  type: url-test
  url: http://www.gstatic.com/generate_204
  interval: 300
  proxies:
  - alice [Trojan]
rules: []
"""
EMPTY_CLASH = """\
mode: Global
port: 7890
proxies: []
proxy-groups:
- name: ♻️ Automatic
  type: url-test
  url: http://www.gstatic.com/generate_204
  interval: 300
  proxies: null
rules: []
"""


def sing_box(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The stock template with these servers, as Marzban fills its groups."""
    tags = [node["tag"] for node in nodes]
    return {
        "log": {"level": "warn"},
        "outbounds": [
            {
                "type": "selector",
                "tag": "proxy",
                "outbounds": ["Best Latency", *tags],
                "interrupt_exist_connections": True,
            },
            {"type": "urltest", "tag": "Best Latency", "outbounds": tags},
            {"type": "direct", "tag": "direct"},
            {"type": "block", "tag": "block"},
            {"type": "dns", "tag": "dns-out"},
            *nodes,
        ],
        "route": {"final": "proxy"},
    } | more


SING_BOX_NODE = {
    "type": "trojan", "tag": "alice [Trojan]", "server": "panel.example.com", "server_port": 2083, "password": "own",
}  # fmt: skip


def xray(remarks: str = "alice [VLESS]") -> dict[str, Any]:
    return {
        "log": {"loglevel": "warning"},
        "inbounds": [{"tag": "socks", "port": 10808, "listen": "0.0.0.0", "protocol": "socks"}],
        "outbounds": [
            {"tag": "proxy", "protocol": "vless", "settings": {"vnext": []}},
            {"tag": "direct", "protocol": "freedom"},
            {"tag": "fragment", "protocol": "freedom", "settings": {"fragment": {"length": "1-3"}}},
        ],
        "routing": {
            "domainStrategy": "AsIs",
            "rules": [{"type": "field", "outboundTag": "fragment"}],
        },
        "remarks": remarks,
    }


def as_json(document: object) -> bytes:
    return json.dumps(document, indent=4).encode()

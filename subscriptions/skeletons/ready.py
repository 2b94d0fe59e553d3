"""Ready skeletons to begin with. The first of each format makes what the built-in list makes. Pure."""

from typing import NamedTuple


class Ready(NamedTuple):
    """``kind``: everything (through the proxy) or local (sites of the country directly)."""

    format: str
    kind: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.format}-{self.kind}"


_MIHOMO_HEAD = """\
mixed-port: 7890
allow-lan: false
mode: rule
log-level: warning
ipv6: true
"""
_MIHOMO = (
    _MIHOMO_HEAD
    + """
proxies:
  - "<servers>"

proxy-groups:
  - name: Proxy
    type: select
    proxies: [Auto, "<servers>"]
  - name: Auto
    type: url-test
    url: https://www.gstatic.com/generate_204
    interval: 300
    tolerance: 50
    proxies: ["<servers>"]

rules:
  - MATCH,Proxy
"""
)
_MIHOMO_LOCAL = (
    _MIHOMO_HEAD
    + """
# Names of sites that go out directly are resolved by the device's own resolver.
dns:
  enable: true
  ipv6: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-filter: ["+.lan", "+.local", "<domains ru>", "<domains ir>"]
  default-nameserver: [system]
  nameserver: ["https://1.1.1.1/dns-query#Proxy"]
  proxy-server-nameserver: [system]
  direct-nameserver: [system]

proxies:
  - "<servers>"

proxy-groups:
  - name: Proxy
    type: select
    proxies: [Auto, "<countries>", "<servers>"]
  - name: Auto
    type: url-test
    url: https://www.gstatic.com/generate_204
    interval: 300
    tolerance: 50
    proxies: ["<servers>"]
  # One group for each country that has servers.
  - name: "<country>"
    type: url-test
    url: https://www.gstatic.com/generate_204
    interval: 300
    tolerance: 50
    proxies: ["<servers>"]

rules:
  - "<networks private>,DIRECT,no-resolve"
  - DOMAIN-SUFFIX,lan,DIRECT
  - DOMAIN-SUFFIX,local,DIRECT
  - "<domains ru>,DIRECT"
  - "<domains ir>,DIRECT"
  - MATCH,Proxy
"""
)
_SING_BOX = """\
{
  "log": {"level": "warn"},
  "dns": {
    "servers": [
      {"type": "https", "tag": "dns-remote", "server": "1.1.1.1", "detour": "Proxy"},
      {"type": "local", "tag": "dns-local"}
    ],
    "final": "dns-remote"
  },
  "inbounds": [
    {
      "type": "tun", "tag": "tun-in", "address": ["172.19.0.1/30", "fdfe:dcba:9876::1/126"],
      "auto_route": true, "strict_route": true
    }
  ],
  "outbounds": [
    {"type": "selector", "tag": "Proxy", "outbounds": ["Auto", "<servers>"]},
    {
      "type": "urltest", "tag": "Auto", "outbounds": ["<servers>"],
      "url": "https://www.gstatic.com/generate_204", "interval": "5m", "tolerance": 50
    },
    "<servers>",
    {"type": "direct", "tag": "direct"}
  ],
  "route": {
    "rules": [
      {"action": "sniff"},
      {"protocol": "dns", "action": "hijack-dns"},
      {"ip_is_private": true, "action": "route", "outbound": "direct"}
    ],
    "final": "Proxy",
    "default_domain_resolver": "dns-local",
    "auto_detect_interface": true
  }
}
"""
_SING_BOX_LOCAL = """\
{
  "log": {"level": "warn"},
  "dns": {
    "servers": [
      {"type": "https", "tag": "dns-remote", "server": "1.1.1.1", "detour": "Proxy"},
      {"type": "local", "tag": "dns-local"}
    ],
    "rules": [
      {"rule_set": ["local-ru", "local-ir"], "action": "route", "server": "dns-local"}
    ],
    "final": "dns-remote"
  },
  "inbounds": [
    {
      "type": "tun", "tag": "tun-in", "address": ["172.19.0.1/30", "fdfe:dcba:9876::1/126"],
      "auto_route": true, "strict_route": true
    }
  ],
  "outbounds": [
    {"type": "selector", "tag": "Proxy", "outbounds": ["Auto", "<countries>", "<servers>"]},
    {
      "type": "urltest", "tag": "Auto", "outbounds": ["<servers>"],
      "url": "https://www.gstatic.com/generate_204", "interval": "5m", "tolerance": 50
    },
    // One group for each country that has servers.
    {
      "type": "urltest", "tag": "<country>", "outbounds": ["<servers>"],
      "url": "https://www.gstatic.com/generate_204", "interval": "5m", "tolerance": 50
    },
    "<servers>",
    {"type": "direct", "tag": "direct"}
  ],
  "route": {
    "rule_set": [
      {"type": "inline", "tag": "local-ru", "rules": [{"domain_suffix": ["<domains ru>"]}]},
      {"type": "inline", "tag": "local-ir", "rules": [{"domain_suffix": ["<domains ir>"]}]}
    ],
    "rules": [
      {"action": "sniff"},
      {"protocol": "dns", "action": "hijack-dns"},
      {"ip_is_private": true, "action": "route", "outbound": "direct"},
      {"rule_set": ["local-ru", "local-ir"], "action": "route", "outbound": "direct"}
    ],
    "final": "Proxy",
    "default_domain_resolver": "dns-local",
    "auto_detect_interface": true
  }
}
"""
_XRAY_HEAD = """\
{
  "remarks": "<name>",
  "log": {"loglevel": "warning"},
  "dns": {"servers": ["1.1.1.1", "8.8.8.8"]},
  "inbounds": [
    {
      "tag": "socks", "listen": "127.0.0.1", "port": 10808, "protocol": "socks",
      "settings": {"auth": "noauth", "udp": true},
      "sniffing": {"enabled": true, "destOverride": ["http", "tls", "quic"]}
    },
    {
      "tag": "http", "listen": "127.0.0.1", "port": 10809, "protocol": "http",
      "sniffing": {"enabled": true, "destOverride": ["http", "tls", "quic"]}
    }
  ],
  "outbounds": [
    "<server>",
    {"tag": "direct", "protocol": "freedom"},
    {"tag": "block", "protocol": "blackhole"}
  ],
  "routing": {
    "domainStrategy": "AsIs",
    "rules": [
%s
    ]
  }
}
"""
_XRAY_PRIVATE = '      {"type": "field", "ip": ["<networks private>"], "outboundTag": "direct"}'
_XRAY = _XRAY_HEAD % _XRAY_PRIVATE
_XRAY_LOCAL = _XRAY_HEAD % (
    f"""{_XRAY_PRIVATE},
      {{"type": "field", "domain": ["<domains ru>", "<domains ir>"], "outboundTag": "direct"}}"""
)
READY = (
    Ready("mihomo", "everything", _MIHOMO),
    Ready("mihomo", "local", _MIHOMO_LOCAL),
    Ready("sing-box", "everything", _SING_BOX),
    Ready("sing-box", "local", _SING_BOX_LOCAL),
    Ready("xray", "everything", _XRAY),
    Ready("xray", "local", _XRAY_LOCAL),
)
BY_KEY = {ready.key: ready for ready in READY}

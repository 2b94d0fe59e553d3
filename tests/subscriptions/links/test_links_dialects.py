"""Every dialect of share links that apps and panels use, with its meaning, and every defect that makes a core refuse a list."""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from subscriptions.links import LinkError, common, decides, fingerprint, parse, plugins

UUID = "11111111-2222-4333-8444-555555555555"
KEY = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
REALITY_KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
PIN = "ab" * 32
VLESS = f"vless://{UUID}@a.example:443"
TUIC = f"tuic://{UUID}:pw@a.example:443"
WIREGUARD = f"wireguard://{KEY}@a.example:1?publickey={KEY}"
SS = "ss://aes-256-gcm:pw@a.example:1"
KEY_128, KEY_256 = "eHh4eHh4eHh4eHh4eHh4eA==", "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def b64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def vmess(**fields: Any) -> str:
    return "vmess://" + b64(
        json.dumps({"add": "a.example", "port": "443", "id": UUID, "ps": "n"} | fields)
    )


def ssr(server: str = "a.example:1:origin:aes-128-ctr:plain", query: str = "") -> str:
    return "ssr://" + b64url(f"{server}:{b64url('pw')}/?{query}")


def xhttp(extra: Mapping[str, Any]) -> str:
    return f"{VLESS}?type=xhttp&extra={quote(json.dumps(extra))}"


# The parameters in addition to the id, the password or the keys.
UNDERSTOOD: list[tuple[str, str, Mapping[str, str]]] = [
    # vless
    ("nothing said", VLESS, {}),
    ("defaults said", f"{VLESS}?encryption=none&security=none&type=tcp&headerType=none&flow=&path=%2F", {}),
    ("raw is tcp", f"{VLESS}?type=raw", {}),
    ("parameters of TLS without TLS", f"{VLESS}?security=none&sni=s.example&fp=chrome&allowInsecure=1", {}),
    ("a host without a use for it", f"{VLESS}?type=tcp&host=h.example&path=%2Fp&serviceName=s&seed=x", {}),
    ("tls", f"{VLESS}?security=TLS&sni=S.example&alpn=h2%2C%20http%2F1.1", {"security": "tls", "sni": "s.example", "alpn": "h2,http/1.1"}),
    ("an unicode server name", f"{VLESS}?security=tls&sni=пример.рф", {"security": "tls", "sni": "xn--e1afmkfd.xn--p1ai"}),
    ("leftovers of REALITY", f"{VLESS}?security=tls&pbk=x&sid=zz", {"security": "tls"}),
    ("reality", f"{VLESS}?security=reality&pbk={REALITY_KEY}&sid=AB&spx=%2F&pqv=q&fp=firefox",
     {"security": "reality", "pbk": REALITY_KEY, "sid": "ab", "spx": "/", "pqv": "q", "fp": "firefox"}),
    ("reality needs a fingerprint", f"{VLESS}?security=reality&pbk={REALITY_KEY}&sid=",
     {"security": "reality", "pbk": REALITY_KEY, "fp": "chrome"}),
    *((f"insecure: {item}", f"{VLESS}?security=tls&{item}", {"security": "tls", "insecure": "1"})
      for item in ("allowInsecure=1", "insecure=true", "allow_insecure=1", "allowInsecure=0&insecure=1")),
    ("secure", f"{VLESS}?security=tls&allowInsecure=0&insecure=false", {"security": "tls"}),
    ("new keys", f"{VLESS}?security=tls&ech=e&pcs=p&vcn=v", {"security": "tls", "ech": "e", "pcs": "p", "vcn": "v"}),
    ("vision", f"{VLESS}?flow=xtls-rprx-vision", {"flow": "xtls-rprx-vision"}),
    ("vision, UDP 443", f"{VLESS}?flow=xtls-rprx-vision-udp443", {"flow": "xtls-rprx-vision", "flow_udp443": "1"}),
    ("encryption", f"{VLESS}?encryption=mlkem768x25519plus.native.0rtt.{REALITY_KEY}",
     {"encryption": f"mlkem768x25519plus.native.0rtt.{REALITY_KEY}"}),
    ("encryption with a key of ML-KEM", f"{VLESS}?encryption=mlkem768x25519plus.native.0rtt.{'A' * 1579}",
     {"encryption": f"mlkem768x25519plus.native.0rtt.{'A' * 1579}"}),
    ("ampersands of a web page", f"{VLESS}?encryption=none&amp;type=ws&amp;host=h", {"network": "ws", "host": "h"}),
    ("ws", f"{VLESS}?type=websocket&path=p+q", {"network": "ws", "path": "/p+q"}),
    ("ws, early data in the path", f"{VLESS}?type=ws&path=%2Fp%3Fed%3D2048", {"network": "ws", "path": "/p?ed=2048"}),
    ("ws, early data beside it", f"{VLESS}?type=ws&path=%2Fp&ed=2048&eh=Sec-WebSocket-Protocol", {"network": "ws", "path": "/p?ed=2048"}),
    ("ws, a path with a query", f"{VLESS}?type=ws&path=%2Fp%3Fa%3D1&ed=8", {"network": "ws", "path": "/p?a=1&ed=8"}),
    ("ws, a path unescaped", f"{VLESS}?type=ws&path=/p/q", {"network": "ws", "path": "/p/q"}),
    ("ws, an unicode host", f"{VLESS}?type=ws&host=пример.рф", {"network": "ws", "host": "xn--e1afmkfd.xn--p1ai"}),
    ("httpupgrade", f"{VLESS}?type=httpupgrade&path=%2Fp&host=h", {"network": "httpupgrade", "path": "/p", "host": "h"}),
    ("grpc", f"{VLESS}?type=grpc&serviceName=a%2Fb&mode=gun&path=%2F", {"network": "grpc", "service_name": "a/b"}),
    ("grpc multi", f"{VLESS}?type=grpc&mode=multi&authority=x", {"network": "grpc", "mode": "multi", "authority": "x"}),
    ("xhttp", f"{VLESS}?type=splithttp&mode=auto&extra=%7B%22b%22%3A+1%2C%22a%22%3A+2%7D", {"network": "xhttp", "extra_json": '{"a":2,"b":1}'}),
    ("xhttp, a plus that is one", f"{VLESS}?type=xhttp&mode=stream-one&extra=%7B%22a%22%3A%221%2B1%22%7D",
     {"network": "xhttp", "mode": "stream-one", "extra_json": '{"a":"1+1"}'}),
    ("xhttp, ranges", xhttp({"xmux": {"maxConcurrency": " 16-32 ", "maxConnections": 0, "cMaxReuseTimes": None}}),
     {"network": "xhttp", "extra_json": '{"xmux":{"cMaxReuseTimes":null,"maxConcurrency":" 16-32 ","maxConnections":0}}'}),
    ("xhttp, REALITY for the way down",
     xhttp({"downloadSettings": {"security": "reality", "realitySettings": {"publicKey": REALITY_KEY, "shortId": "AB"}}}),
     {"network": "xhttp",
      "extra_json": f'{{"downloadSettings":{{"realitySettings":{{"publicKey":"{REALITY_KEY}","shortId":"AB"}},"security":"reality"}}}}'}),
    ("xhttp, another way down", f"{xhttp({'downloadSettings': {'port': 1}})}&mode=stream-up",
     {"network": "xhttp", "mode": "stream-up", "extra_json": '{"downloadSettings":{"port":1}}'}),
    ("xhttp, the defaults of posts", xhttp({"scMaxEachPostBytes": 0, "scMinPostsIntervalMs": 30.0}),
     {"network": "xhttp", "extra_json": '{"scMinPostsIntervalMs":30.0}'}),
    *((f"xhttp, session ids of {table}, {length}", xhttp({"sessionIDTable": table, "sessionIDLength": length}),
       {"network": "xhttp", "extra_json": json.dumps({"sessionIDLength": length, "sessionIDTable": table}, separators=(",", ":"))})
      for table, length in (("uuid", "1"), ("01", "31"), ("01", "1-128"), ("Base62", None), ("HEX", "8"), (None, "1"))),
    ("xhttp, nothing further", f"{VLESS}?type=xhttp&extra=%7B%7D", {"network": "xhttp"}),
    ("http/2", f"{VLESS}?type=h2&host=h&path=%2Fp", {"network": "http", "host": "h", "path": "/p"}),
    ("http/2 by its other name", f"{VLESS}?type=http", {"network": "http"}),
    ("an HTTP header", f"{VLESS}?type=tcp&headerType=http&host=a,b", {"header_type": "http", "host": "a,b"}),
    ("an HTTP header, type http", f"{VLESS}?type=http&headerType=http", {"header_type": "http"}),
    ("kcp", f"{VLESS}?type=mkcp&headerType=wechat-video&seed=s&mtu=1350&tti=050",
     {"network": "kcp", "header_type": "wechat-video", "seed": "s", "mtu": "1350", "tti": "50"}),
    ("finalmask", f"{VLESS}?fm=%7B%22b%22%3A1%2C%20%22a%22%3A2%7D", {"fm": '{"a":2,"b":1}'}),
    ("packets", f"{VLESS}?packetEncoding=packet", {"packet_encoding": "packetaddr"}),
    ("ws in the words of 2020", f"{VLESS}?ws=1&wspath=%2Fp&wshost=h", {"network": "ws", "path": "/p", "host": "h"}),
    ("ws by a switch", f"{VLESS}?ws&tls&wspath=%2Fp", {"network": "ws", "path": "/p", "security": "tls"}),
    ("ws that says TLS as well", f"{VLESS}?type=wss", {"network": "ws", "security": "tls"}),
    ("ws in the words of Quantumult X", f"{VLESS}?obfs=wss&obfs-host=h&obfs-uri=%2Fp&tls-host=s&tls-verification=false",
     {"network": "ws", "host": "h", "path": "/p", "security": "tls", "sni": "s", "insecure": "1"}),
    ("TLS in the words of Quantumult X", f"{VLESS}?obfs=over-tls", {"security": "tls"}),
    ("a header in the words of Shadowrocket", f"{VLESS}?obfs=http&obfsParam=h", {"header_type": "http", "host": "h"}),
    ("ws, headers as JSON", f"{VLESS}?type=ws&headers=%7B%22Host%22%3A%22h%22%7D", {"network": "ws", "host": "h"}),
    ("ws, early data in another header", f"{VLESS}?type=ws&ed=8&eh=X", {"network": "ws", "path": "/?ed=8", "early_header": "X"}),
    ("a transport in capitals under another name", f"{VLESS}?Network=WS", {"network": "ws"}),
    ("settings of QUIC without it", f"{VLESS}?type=ws&quicSecurity=aes-128-gcm&key=x&seed=y", {"network": "ws"}),
    ("a mode that is the transport's name", f"{VLESS}?type=xhttp&mode=xhttp", {"network": "xhttp"}),
    ("ALPN in capitals", f"{VLESS}?security=tls&alpn=H2", {"security": "tls", "alpn": "h2"}),
    ("tls by another name", f"{VLESS}?tls=true&peer=S", {"security": "tls", "sni": "s"}),
    ("tls that is off", f"{VLESS}?security=tls&tls=0", {"security": "tls"}),
    ("a list of ALPN as JSON has it", f"{VLESS}?security=tls&alpn=%5B%22h2%22%2C%22http%2F1.1%22%5D", {"security": "tls", "alpn": "h2,http/1.1"}),
    ("REALITY in the words of a configuration", f"{VLESS}?security=reality&publicKey={REALITY_KEY}&shortId=ab&spiderX=%2F",
     {"security": "reality", "pbk": REALITY_KEY, "sid": "ab", "spx": "/", "fp": "chrome"}),
    *((f"insecure in other words: {item}", f"{VLESS}?security=tls&{item}", {"security": "tls", "insecure": "1"})
      for item in ("skipVerify=1", "tls_skip_verify=true", "tls-verify=false", "verify_cert=0", "tls-verification=off", "insecure")),
    ("certificates are looked at", f"{VLESS}?security=tls&verify_cert=true&tls-verify=1", {"security": "tls"}),
    ("hysteria2, obfs as a configuration has it", "hy2://pw@a.example?obfs.type=salamander&obfs.password=o",
     {"password": "pw", "security": "tls", "obfs": "salamander", "obfs_password": "o"}),
    ("a pin where Clash has it", f"{VLESS}?security=tls&fingerprint={PIN}", {"security": "tls", "pin_sha256": PIN}),
    ("pins of Xray", f"{VLESS}?security=tls&pcs={PIN.upper()}~{'cd' * 32}", {"security": "tls", "pcs": f"{PIN},{'cd' * 32}"}),
    ("grpc by another name", f"{VLESS}?type=grpc&grpc-service-name=s", {"network": "grpc", "service_name": "s"}),
    ("xhttp, flat, and extra goes first", f"{VLESS}?type=xhttp&xPaddingBytes=1-2&noGRPCHeader=true&extra=%7B%22xPaddingBytes%22%3A%225%22%7D",
     {"network": "xhttp", "extra_json": '{"noGRPCHeader":true,"xPaddingBytes":"5"}'}),
    ("xhttp, flat with marks", f"{VLESS}?type=xhttp&x_padding_bytes=100&xmux=%7B%22maxConcurrency%22%3A1%7D",
     {"network": "xhttp", "extra_json": '{"xPaddingBytes":100,"xmux":{"maxConcurrency":1}}'}),
    ("settings of XHTTP without it", f"{VLESS}?type=tcp&xPaddingBytes=1-2&extra=%7B%22a%22%3A1%7D", {}),
    ("no port, for TLS has one", f"vless://{UUID}@a.example?security=tls", {"security": "tls"}),
    # vmess
    ("vmess, tls true", vmess(tls=True, aid=0, v=2), {"security": "tls"}),
    ("vmess, tls one", vmess(tls="1", port=443), {"security": "tls"}),
    ("vmess, cipher in capitals", vmess(scy="AES-128-GCM"), {"cipher": "aes-128-gcm"}),
    ("vmess, cipher of another core", vmess(security="chacha20-ietf-poly1305"), {"cipher": "chacha20-poly1305"}),
    ("vmess, old scheme", vmess(aid="64"), {"alter_id": "64"}),
    ("vmess, blanks", vmess(add=" a.example ", port=" 443 ", id=f" {UUID} "), {}),
    ("vmess, a byte order mark inside", "vmess://" + b64("\ufeff" + json.dumps({"add": "a.example", "port": 443, "id": UUID})), {}),
    ("vmess, ws", vmess(net="ws", host="h", path="/p", type="none"), {"network": "ws", "host": "h", "path": "/p"}),
    ("vmess, header of TCP", vmess(net="tcp", type="http", host="h"), {"header_type": "http", "host": "h"}),
    ("vmess, h2", vmess(net="h2", tls="tls"), {"network": "http", "security": "tls"}),
    ("vmess, grpc", vmess(net="grpc", type="multi", path="s", host="a"), {"network": "grpc", "mode": "multi", "service_name": "s", "authority": "a"}),
    ("vmess, kcp", vmess(net="kcp", type="srtp", path="seed"), {"network": "kcp", "header_type": "srtp", "seed": "seed"}),
    ("vmess, xhttp", vmess(net="xhttp", type="packet-up", path="/p"), {"network": "xhttp", "mode": "packet-up", "path": "/p"}),
    ("vmess, xhttp of 3x-ui", vmess(net="xhttp", type="none", mode="stream-up"), {"network": "xhttp", "mode": "stream-up"}),
    ("vmess, xhttp, no type", vmess(net="xhttp", type="None"), {"network": "xhttp"}),
    ("vmess, escaped padding", vmess().replace("=", "%3D"), {}),
    ("vmess, new keys", vmess(tls="tls", insecure="1", pcs="p", vcn="v"), {"security": "tls", "insecure": "1", "pcs": "p", "vcn": "v"}),
    ("vmess, a list of ALPN", vmess(tls="tls", alpn=["h2", "http/1.1"]), {"security": "tls", "alpn": "h2,http/1.1"}),
    ("vmess, reality", vmess(tls="reality", pbk=REALITY_KEY), {"security": "reality", "pbk": REALITY_KEY, "fp": "chrome"}),
    ("vmess, another cipher", vmess(scy="aes-256-gcm"), {}),
    ("vmess, TLS where the cipher is", vmess(security="tls"), {"security": "tls"}),
    ("vmess, the network by another name", vmess(network="ws", path="/p"), {"network": "ws", "path": "/p"}),
    ("vmess, the network as the type", vmess(type="ws", path="/p"), {"network": "ws", "path": "/p"}),
    ("vmess, capitals", vmess(Net="ws", Path="/p", TLS="tls"), {"network": "ws", "path": "/p", "security": "tls"}),
    ("vmess, path and host in one", vmess(net="h2", tls="tls", host="/p;h"), {"network": "http", "security": "tls", "path": "/p", "host": "h"}),
    ("vmess, xhttp by its own name", vmess(net="xhttp", type="xhttp"), {"network": "xhttp"}),
    ("vmess, a host as an object", vmess(net="ws", host={"Host": "h"}), {"network": "ws", "host": "h"}),
    ("vmess, headers as an object", vmess(net="ws", headers={"Host": "h"}), {"network": "ws", "host": "h"}),
    ("vmess, a name that was cut", "vmess://" + base64.b64encode(json.dumps(
        {"add": "a.example", "port": 1, "id": UUID, "ps": "n"}).encode().replace(b'"n"', b'"\xd0"')).decode(), {}),
    ("vmess, zeros behind", "vmess://" + b64(json.dumps({"add": "a.example", "port": 1, "id": UUID}) + "\0\0"), {}),
    ("vmess, extra as an object", vmess(net="xhttp", extra={"xPaddingBytes": "1-2"}), {"network": "xhttp", "extra_json": '{"xPaddingBytes":"1-2"}'}),
    ("vmess, early data in another header", vmess(net="ws", path="/?ed=8", eh="X"), {"network": "ws", "path": "/?ed=8", "early_header": "X"}),
    ("vmess, certificates are not looked at", vmess(tls="tls", verify_cert="false"), {"security": "tls", "insecure": "1"}),
    ("vmess, JSON as it is", "vmess://" + json.dumps({"add": "a.example", "port": 443, "id": UUID, "net": "ws"}) + "#n", {"network": "ws"}),
    ("vmess as a URL, the cipher where TLS is", f"vmess://{UUID}@a.example:443?security=auto&tls=1", {"security": "tls"}),
    ("vmess as a URL", f"vmess://{UUID}@a.example:443?encryption=auto&type=ws&security=tls", {"network": "ws", "security": "tls"}),
    ("Shadowrocket", f"vmess://{b64url(f'auto:{UUID}@a.example:443')}?remarks=n&obfs=websocket&obfsParam=h&path=p&tls=1&peer=s",
     {"network": "ws", "host": "h", "path": "/p", "security": "tls", "sni": "s"}),
    ("Shadowrocket, headers", f"vmess://{b64(f'auto:{UUID}@a.example:443')}?obfs=http&obfsParam=%7B%22Host%22%3A%22h%22%7D",
     {"header_type": "http", "host": "h"}),
    ("Shadowrocket, grpc", f"vmess://{b64(f'none:{UUID}@a.example:443')}?obfs=grpc&path=s&alterId=1",
     {"network": "grpc", "service_name": "s", "cipher": "none", "alter_id": "1"}),
    ("Shadowrocket, plain", f"vmess://{b64(f'auto:{UUID}@a.example:443')}?obfs=none&tls=0", {}),
    ("Shadowrocket, vless", f"vless://{b64url(f'auto:{UUID}@a.example:443')}?remarks=n&tls=1&peer=s&xtls=2&pbk={REALITY_KEY}&sid=ab",
     {"security": "reality", "sni": "s", "flow": "xtls-rprx-vision", "pbk": REALITY_KEY, "sid": "ab", "fp": "chrome"}),
    ("Shadowrocket, vless over ws", f"vless://{b64(f'{UUID}@a.example:443')}?obfs=websocket&path=/p&tls=1",
     {"security": "tls", "network": "ws", "path": "/p"}),
    # trojan
    ("trojan", "trojan://p%2Bw%20x@a.example", {"password": "p+w x", "security": "tls"}),
    ("trojan, hard characters", "trojan://p/[w:@x@a.example:443/", {"password": "p/[w:@x", "security": "tls"}),
    ("trojan, old names", "trojan://pw@a.example?peer=S&allowInsecure=1", {"password": "pw", "security": "tls", "sni": "s", "insecure": "1"}),
    ("trojan without TLS", "trojan://pw@a.example?security=none", {"password": "pw"}),
    ("trojan, a flow", "trojan://pw@a.example?flow=xtls-rprx-direct", {"password": "pw", "security": "tls"}),
    ("trojan-go", "trojan-go://pw@a.example?type=original&encryption=none", {"password": "pw", "security": "tls"}),
    # shadowsocks
    ("ss, base64", f"ss://{b64url('AES-256-GCM:p:w')}@a.example:1", {"method": "aes-256-gcm", "password": "p:w"}),
    ("ss, escaped padding", f"ss://{b64('aes-256-gcm:pass').replace('=', '%3D')}@a.example:1", {"method": "aes-256-gcm", "password": "pass"}),
    ("ss, plain", "ss://aes-256-gcm:p%3Aw@a.example:1", {"method": "aes-256-gcm", "password": "p:w"}),
    ("ss, old form", f"ss://{b64('aes-256-gcm:p@s:/w@[2001:db8::1]:1')}", {"method": "aes-256-gcm", "password": "p@s:/w"}),
    ("ss, old form, escaped padding", f"ss://{b64('aes-256-gcm:pw@a.example:12').replace('=', '%3D')}#n", {"method": "aes-256-gcm", "password": "pw"}),
    ("ss, 2022 plain", f"ss://2022-blake3-aes-128-gcm:{KEY_128.replace('=', '%3D')}@a.example:1",
     {"method": "2022-blake3-aes-128-gcm", "password": KEY_128}),
    ("ss, 2022 in base64", f"ss://{b64url(f'2022-blake3-chacha20-poly1305:{KEY_256}')}@a.example:1",
     {"method": "2022-blake3-chacha20-poly1305", "password": KEY_256}),
    ("ss, 2022, two keys, unpadded", f"ss://2022-blake3-aes-128-gcm:{KEY_128[:-2]}:{KEY_128[:-2]}@a.example:1",
     {"method": "2022-blake3-aes-128-gcm", "password": f"{KEY_128}:{KEY_128}"}),
    ("ss, a name that contains one", f"{SS}/?plugin=my-obfs%3Bobfs%3Dtls",
     {"method": "aes-256-gcm", "password": "pw", "plugin": "my-obfs;obfs=tls"}),
    *((f"ss, {item}", f"{SS}?{item}", {"method": "aes-256-gcm", "password": "pw", "uot": "1"})
      for item in ("uot=1", "udp-over-tcp=true")),
    ("ss, no UDP inside TCP", f"{SS}?uot=0", {"method": "aes-256-gcm", "password": "pw"}),
    ("ss, alias", "ss://AEAD_CHACHA20_POLY1305:pw@a.example:1", {"method": "chacha20-ietf-poly1305", "password": "pw"}),
    ("ss, short alias", "ss://chacha20-poly1305:pw@a.example:1", {"method": "chacha20-ietf-poly1305", "password": "pw"}),
    ("ss, plain text", "ss://plain:@a.example:1", {"method": "none"}),
    ("ss, words of other protocols", f"{SS}?type=tcp&security=none&outline=1", {"method": "aes-256-gcm", "password": "pw"}),
    ("ss, obfs", f"{SS}/?plugin=simple-obfs%3Bobfs-host%3Dh%3Bobfs%3Dhttp",
     {"method": "aes-256-gcm", "password": "pw", "plugin": "obfs-local;obfs=http;obfs-host=h"}),
    ("ss, v2ray-plugin", f"{SS}/?plugin=v2ray-plugin%3Btls%3Bhost%3Dh%3Bpath%3D%2Fw%3Fa%3D1",
     {"method": "aes-256-gcm", "password": "pw", "plugin": "v2ray-plugin;mode=websocket;host=h;path=/w?a=1;tls"}),
    ("ss, escapes of a plugin", f"{SS}/?plugin=x%3Bk%3Da%5C%3Bb%5C%3D%5C%5C",
     {"method": "aes-256-gcm", "password": "pw", "plugin": r"x;k=a\;b=\\"}),
    ("ss, a plugin of 1024 characters", f"{SS}/?plugin=x%3B{'y' * 1022}",
     {"method": "aes-256-gcm", "password": "pw", "plugin": f"x;{'y' * 1022}"}),
    ("ss, no plugin", f"{SS}/?plugin=none", {"method": "aes-256-gcm", "password": "pw"}),
    ("ss, WebSocket and TLS", f"{SS}?type=ws&path=%2Fp&host=h&security=tls",
     {"method": "aes-256-gcm", "password": "pw", "network": "ws", "path": "/p", "host": "h", "security": "tls"}),
    ("ss, nothing in many words", f"{SS}?type=tcp&security=none&headerType=none&encryption=none", {"method": "aes-256-gcm", "password": "pw"}),
    ("ss, a plugin's settings beside it", f"{SS}?plugin=v2ray-plugin&mode=websocket&host=h&path=%2Fp&tls&mux=0",
     {"method": "aes-256-gcm", "password": "pw", "plugin": "v2ray-plugin;mode=websocket;host=h;mux=0;path=/p;tls=1"}),
    ("ss, obfs alone", f"{SS}?obfs=http&obfs-host=h", {"method": "aes-256-gcm", "password": "pw", "plugin": "obfs-local;obfs=http;obfs-host=h"}),
    ("ss, obfs alone that is a WebSocket", f"{SS}?obfs=wss&obfs-host=h&obfs-uri=%2Fp",
     {"method": "aes-256-gcm", "password": "pw", "network": "ws", "host": "h", "path": "/p", "security": "tls"}),
    ("ss, UDP inside TCP, second form", f"{SS}?uot=2", {"method": "aes-256-gcm", "password": "pw", "uot": "2"}),
    ("ss, a prefix of Outline", f"{SS}/?outline=1&prefix=%16%03%01", {"method": "aes-256-gcm", "password": "pw"}),
    # hysteria2
    ("hysteria2, an auth beside", "hy2://a.example?auth=pw", {"password": "pw", "security": "tls"}),
    ("hysteria2, ports by other names", "hy2://pw@a.example?ports=1-2&hop_interval=5", {"password": "pw", "security": "tls", "ports": "1-2", "hop_interval": "5"}),
    ("hysteria2, speeds", "hy2://pw@a.example?upmbps=50&down=1%20gbps", {"password": "pw", "security": "tls", "up": "50", "down": "1000"}),
    ("hysteria2, the pin of a key", f"hy2://pw@a.example?pinSHA256={quote(KEY)}", {"password": "pw", "security": "tls", "pin_public_key": KEY}),
    ("hysteria2, two pins", f"hy2://pw@a.example?pinSHA256={PIN}%2C{PIN},{'cd' * 32}", {"password": "pw", "security": "tls", "pin_sha256": f"{PIN},{'cd' * 32}"}),
    ("hysteria2, all in a mask", "hy2://pw@a.example?fm=" + quote(json.dumps({
        "udp": [{"type": "salamander", "settings": {"password": "o"}}],
        "quicParams": {"udpHop": {"ports": "1-2", "interval": 7}, "brutalUp": "60 mbps", "brutalDown": "1000000", "congestion": "bbr"}})),
     {"password": "pw", "security": "tls", "obfs": "salamander", "obfs_password": "o", "ports": "1-2", "hop_interval": "7", "up": "60",
      "down": "1", "fm": '{"quicParams":{"congestion":"bbr"}}'}),
    ("hysteria2, words go before the mask", "hy2://pw@a.example?obfs=salamander&obfs-password=a&mport=3-4&fm=" + quote(json.dumps({
        "udp": [{"type": "salamander", "settings": {"password": "b"}}], "quicParams": {"udpHop": {"ports": "1-2"}}})),
     {"password": "pw", "security": "tls", "obfs": "salamander", "obfs_password": "a", "ports": "3-4"}),
    ("hysteria2, a mask with more", "hy2://pw@a.example?fm=" + quote('{"quicParams":{"udpHop":{"interval":5}},"udp":[{"settings":{"password":"o","x":1},"type":"salamander"}]}'),
     {"password": "pw", "security": "tls", "fm": '{"udp":[{"settings":{"password":"o","x":1},"type":"salamander"}]}'}),
    ("hysteria2, another mask", "hy2://pw@a.example?fm=" + quote('{"udp":[{"type":"header-dns"}]}'),
     {"password": "pw", "security": "tls", "fm": '{"udp":[{"type":"header-dns"}]}'}),
    ("hysteria2",  "hy2://us%3Aer:p%20w@a.example", {"password": "us:er:p w", "security": "tls"}),
    ("hysteria2, ports", "hysteria2://pw@a.example:443,5000-6000/?insecure=1",
     {"password": "pw", "security": "tls", "insecure": "1", "ports": "443,5000-6000"}),
    ("hysteria2, mport", "hysteria2://pw@a.example:443?mport=5000-6000&mportHopInt=30s",
     {"password": "pw", "security": "tls", "ports": "5000-6000", "hop_interval": "30"}),
    ("hysteria2, mport of one", "hysteria2://pw@a.example:443?mport=443&mportHopInt=30", {"password": "pw", "security": "tls"}),
    ("hysteria2, interval of two", "hysteria2://pw@a.example:1-2?hop-interval=10-30",
     {"password": "pw", "security": "tls", "ports": "1-2", "hop_interval": "10-30"}),
    ("hysteria2, obfs", "hysteria2://pw@a.example?obfs=Salamander&obfs-password=o%26p",
     {"password": "pw", "security": "tls", "obfs": "salamander", "obfs_password": "o&p"}),
    ("hysteria2, no obfs", "hysteria2://pw@a.example?obfs=none&obfs-password=x", {"password": "pw", "security": "tls"}),
    ("hysteria2, pin", f"hysteria2://pw@a.example?pinSHA256={':'.join(['AB'] * 32)}", {"password": "pw", "security": "tls", "pin_sha256": PIN}),
    # hysteria
    ("hysteria", "hysteria://a.example:1?auth=a&upmbps=50&downmbps=100%20Mbps&peer=p&protocol=udp",
     {"auth": "a", "up": "50", "down": "100", "sni": "p", "security": "tls"}),
    ("hysteria, faketcp", "hysteria://a.example:1?protocol=faketcp&up=1gbps&down=5000kbps&obfs=xplus&obfsParam=o",
     {"transport": "faketcp", "up": "1000", "down": "5", "obfs": "xplus", "obfs_password": "o", "security": "tls"}),
    ("hysteria, obfs alone", "hysteria://a.example:1-2?upmbps=1&downmbps=1&obfs=secret",
     {"ports": "1-2", "up": "1", "down": "1", "obfs": "xplus", "obfs_password": "secret", "security": "tls"}),
    # tuic
    ("tuic", f"tuic://{UUID}%3Ap%40w:x@a.example:443?congestion_control=BBR&udp_relay_mode=quic&alpn=h3&disable_sni=1&reduce_rtt=1",
     {"password": "p@w:x", "congestion_control": "bbr", "udp_relay_mode": "quic", "alpn": "h3", "disable_sni": "1", "reduce_rtt": "1", "security": "tls"}),
    ("tuic, defaults said", f"{TUIC}?congestion_control=cubic&udp_relay_mode=native", {"password": "pw", "security": "tls"}),
    # wireguard
    ("wireguard", WIREGUARD, {"address": "172.16.0.2/32"}),
    ("wireguard, query", f"wg://a.example:1?privateKey={KEY}&publicKey={KEY}&ip=10.0.0.3&ipv6=fd00::2&reserved=AQID",
     {"address": "10.0.0.3/32,fd00::2/128", "reserved": "1,2,3"}),
    ("wireguard, pluses made blanks", f"wg://{KEY}@a.example:1?public-key={KEY}&preshared_key={KEY[:-1]}&address=10.0.0.2/24",
     {"address": "10.0.0.2/24", "preshared_key": KEY}),
    ("wireguard, defaults said", f"{WIREGUARD}&reserved=0,0,0&allowedips=0.0.0.0/0,%20::/0", {"address": "172.16.0.2/32"}),
    ("wireguard, v2rayNG's size of packets, which is not the cores'", f"{WIREGUARD}&mtu=1420", {"address": "172.16.0.2/32", "mtu": "1420"}),
    ("wireguard, all said", f"{WIREGUARD}&mtu=1280&reserved=%5B1,%202,3%5D&keepalive=25&allowedIPs=10.0.0.0/8",
     {"address": "172.16.0.2/32", "mtu": "1280", "reserved": "1,2,3", "keepalive": "25", "allowed_ips": "10.0.0.0/8"}),
    ("wireguard of HiddifyPanel", f"wg://a.example:1?pk={KEY}&peer_pk={KEY}&local_address=10.0.0.2/32&pre_shared_key={KEY}&workers=4&ifp=1-2",
     {"address": "10.0.0.2/32", "preshared_key": KEY}),
    *((f"wireguard, reserved: {text}", f"{WIREGUARD}&reserved={text}", {"address": "172.16.0.2/32"}) for text in ("0", "[]", "null")),
    ("tuic, a password beside", f"tuic://{UUID}@a.example:443?password=pw", {"password": "pw", "security": "tls"}),
    ("ss, a query inside of base64", f"ss://{b64('aes-256-gcm:pw@a.example:1/?plugin=obfs-local;obfs=http')}?group=x",
     {"method": "aes-256-gcm", "password": "pw", "plugin": "obfs-local;obfs=http"}),
    ("wireguard, brackets", f"{WIREGUARD}&address=10.0.0.2,[fd00::2]/128", {"address": "10.0.0.2/32,fd00::2/128"}),
    ("AmneziaWG", f"awg://{KEY}@a.example?publickey={KEY}&Jc=4&jmin=40&S1=32&s2=0&h1=5-9&h2=2&i1=%3Cb%200xf6ab%3E%3Ct%3E",
     {"address": "172.16.0.2/32", "jc": "4", "jmin": "40", "s1": "32", "h1": "5-9", "i1": "<b 0xf6ab><t>"}),
    ("AmneziaWG that is WireGuard", f"{WIREGUARD}&jc=0&s1=0&h1=1&h2=2&h3=3&h4=4", {"address": "172.16.0.2/32"}),
    # socks and http
    ("socks over TLS", "socks5://u:p@a.example:1?security=tls&sni=s", {"username": "u", "password": "p", "security": "tls", "sni": "s"}),
    ("http over TLS", "http://u:p@a.example:1?tls=1", {"username": "u", "password": "p", "security": "tls"}),
    ("socks", "socks5://u%40x:p%3Aw@a.example:1", {"username": "u@x", "password": "p:w"}),
    ("socks, names looked up there", "socks5h://u:p@a.example:1", {"username": "u", "password": "p"}),
    ("socks in base64", f"socks://{b64url('u:p')}@a.example:1", {"username": "u", "password": "p"}),
    ("socks as a whole", f"socks://{b64('u:p@a.example:1')}#n", {"username": "u", "password": "p"}),
    ("socks, an empty user", f"socks://{b64(':')}@a.example:1", {}),
    ("socks, a user alone", "socks5://user@a.example:1", {"username": "user"}),
    ("http", "http://u:p@a.example:1/", {"username": "u", "password": "p"}),
    ("https", "https://u:p@a.example:1?sni=s", {"username": "u", "password": "p", "security": "tls", "sni": "s"}),
    # ssr
    ("ssr", ssr("[2001:db8::1]:1:auth_sha1_v4_compatible:AES-128-CTR:plain", f"obfsparam={b64url('o')}&protoparam={b64url('1:x')}&group={b64url('g')}"),
     {"method": "aes-128-ctr", "password": "pw", "ssr_protocol": "auth_sha1_v4", "obfs": "plain", "obfs_param": "o", "ssr_protocol_param": "1:x", "group": "g"}),
    # anytls
    ("anytls", "anytls://p%40w@a.example?sni=s&insecure=1&fp=chrome&security=tls",
     {"password": "p@w", "security": "tls", "sni": "s", "insecure": "1", "fp": "chrome"}),
]  # fmt: skip
IDENTITY = {"vless": {"uuid": UUID}, "vmess": {"uuid": UUID}, "tuic": {"uuid": UUID},
            "wireguard": {"private_key": KEY, "public_key": KEY}}  # fmt: skip


@pytest.mark.parametrize(
    ("link", "params"), [row[1:] for row in UNDERSTOOD], ids=[row[0] for row in UNDERSTOOD]
)
def test_a_dialect_is_understood(link: str, params: Mapping[str, str]) -> None:
    node = parse(link)
    assert node.params == {**IDENTITY.get(node.protocol, {}), **params}
    assert not decides(node)


REFUSED: list[tuple[str, str]] = [
    ("bad_security", f"{VLESS}?security=xtls"),
    ("bad_form", f"{VLESS}?{'&'.join(['a=1'] * 101)}"),
    ("bad_port", f"hy2://pw@a.example:{','.join(['1-2'] * 101)}"),
    ("bad_plugin", f"{SS}/?plugin=x{';a=1' * 256}"),
    ("missing_pbk", f"{VLESS}?security=reality"),
    ("bad_pbk", f"{VLESS}?security=reality&pbk={REALITY_KEY}%3D"),
    ("bad_sid", vmess(tls="reality", pbk=REALITY_KEY, sid="abc")),
    ("bad_flow", f"{VLESS}?flow=xtls-rprx-direct"),
    ("bad_encryption", f"{VLESS}?encryption=aes-128-gcm"),
    ("bad_encryption", f"{VLESS}?encryption=mlkem768x25519plus.native.0rtt.{REALITY_KEY}.zz"),
    ("bad_encryption", f"{VLESS}?encryption=mlkem768x25519plus.native.0rtt.{'_' * 1579}"),
    *(("bad_extra", xhttp({"xmux": {"maxConcurrency": value}})) for value in ("zz", "5-1", "1-2-3", -1, "1.5", 1e10)),
    *(("bad_extra", xhttp({"downloadSettings": {"security": "reality", "realitySettings": settings}}))
      for settings in ({}, {"publicKey": "short"}, {"publicKey": REALITY_KEY, "shortId": "abc"})),
    ("bad_extra", xhttp({"downloadSettings": {"security": "Reality", "realitySettings": {}}})),
    *(("bad_extra", xhttp({"scMaxEachPostBytes": value})) for value in (-1, 0.5, 1e30)),
    *(("bad_extra", xhttp({"sessionIDTable": table, "sessionIDLength": length})) for table, length in (
        ("0", None), ("01", "30"), ("01", "0-32"), ("01", "32-31"), ("01", "long"), ("01", "40-129"), ("01ж", "32"), ("HEX", "7"), (1, "32"))),
    ("bad_form", f"vless://{b64(json.dumps({'add': 'a.example', 'id': UUID}))}"),
    ("bad_form", "hysteria2://pa#ss@a.example:443?sni=s#n"),
    ("bad_form", "trojan://p@a#b@a.example:443#n"),
    ("missing_port", f"vless://{UUID}@a.example?security=none"),
    ("unsupported", f"{SS}?gost=e30"),
    ("bad_number", f"{WIREGUARD}&s1=large"),
    ("bad_number", f"{WIREGUARD}&jc=1-2"),
    ("bad_number", f"{WIREGUARD}&i1=text"),
    ("bad_pin", f"hysteria2://pw@a.example?pinSHA256={PIN},abcd"),
    ("bad_port", "hysteria2://pw@a.example?fm=%7B%22quicParams%22%3A%7B%22udpHop%22%3A%7B%7D%2C%22x%22%3A1%7D%7D".replace("%7B%7D", "%7B%22ports%22%3A%22x%22%7D")),
    ("bad_network", f"{VLESS}?type=carrier-pigeon"),
    ("bad_network", f"{VLESS}?type=domainsocket"),
    ("bad_mode", f"{VLESS}?type=xhttp&mode=stream-three"),
    ("bad_extra", f"{VLESS}?type=xhttp&extra=%7Bcut"),
    ("bad_extra", f"{xhttp({'downloadSettings': {'port': 1}})}&mode=stream-one"),
    ("bad_extra", f"{VLESS}?type=xhttp&extra=%5B1%5D"),
    ("bad_extra", f"{VLESS}?type=xhttp&extra=%7B%22a%22%3ANaN%7D"),
    ("bad_extra", f"{VLESS}?fm={'%5B' * 1200}"),
    ("bad_number", f"{VLESS}?type=kcp&mtu=many"),
    ("bad_text", f"{VLESS}?type=ws&path=%2Fa%0D%0Ab"),
    ("bad_text", f"{VLESS}?any%00=1"),
    ("bad_text", "trojan://p%FFw@a.example"),
    ("bad_alter_id", vmess(aid="many")),
    ("bad_alter_id", vmess(aid=65536)),
    ("bad_network", vmess(net="foo")),
    ("empty", "ssr://"),
    ("empty", "ssr:///#name"),
    ("bad_base64", "vmess://"+b64("{")[:1]),
    ("missing_id", f"vmess://{b64('auto:@a.example:443')}"),
    ("bad_json", f"vmess://{b64(f'auto:{UUID}@a.example:443')}?obfs=http&obfsParam=%7Bcut"),
    ("unsupported", "trojan-go://pw@a.example?encryption=ss%3Baes-256-gcm%3Apw"),
    ("unsupported", "trojan-go://pw@a.example?plugin=x"),
    ("bad_key", f"ss://2022-blake3-aes-256-gcm:{KEY_128[:-2]}@a.example:1"),
    ("missing_password", "ss://2022-blake3-aes-128-gcm:@a.example:1"),
    ("missing_password", "ss://@a.example:1"),
    ("bad_key", f"ss://2022-blake3-chacha20-poly1305:{KEY_256}:{KEY_256}@a.example:1"),
    ("bad_cipher", "ss://salsa20:pw@a.example:1"),
    ("bad_plugin", f"{SS}/?plugin=obfs-local"),
    ("bad_plugin", f"{SS}/?plugin=obfs-local%3Bobfs%3Dsmoke"),
    ("bad_plugin", f"{SS}/?plugin=v2ray-plugin%3Bmode%3Dpigeon"),
    ("bad_plugin", f"{SS}/?plugin=v2ray-plugin%3Bmode%3Dquic"),
    ("bad_plugin", f"{SS}/?plugin=x%3Bkey%5C"),
    ("bad_plugin", f"{SS}/?plugin=my-obfs%3Bx%3D1"),
    ("bad_plugin", f"{SS}/?plugin=my-v2ray-plugin%3Bmode%3Dquic"),
    ("bad_plugin", f"{SS}/?plugin=ob%2566s%3Bobfs%3Dsmoke"),
    ("unsupported", f"{SS}?v2ray-plugin=e30"),
    ("unsupported", f"{SS}?shadow-tls=e30"),
    ("unsupported", "ssconf://a.example/key"),
    ("unsupported", "hysteria2+realm://pw@a.example"),
    ("unsupported", "naive+https://u:p@a.example"),
    ("bad_port", "hysteria2://pw@a.example:443?mport=6000-5000"),
    ("bad_port", "hysteria2://pw@a.example:443?mport=0-10"),
    ("bad_obfs", "hysteria2://pw@a.example?obfs=fog&obfs-password=x"),
    ("missing_obfs_password", "hysteria2://pw@a.example?obfs=salamander"),
    ("bad_pin", "hysteria2://pw@a.example?pinSHA256=abcd"),
    ("missing_speed", "hysteria://a.example:1?upmbps=10"),
    ("bad_speed", "hysteria://a.example:1?upmbps=fast&downmbps=1"),
    ("bad_speed", "hysteria://a.example:1?upmbps=0&downmbps=1"),
    ("bad_speed", "hysteria://a.example:1?upmbps=1&downmbps=100kbps"),
    ("bad_network", "hysteria://a.example:1?protocol=x&upmbps=1&downmbps=1"),
    ("missing_obfs_password", "hysteria://a.example:1?upmbps=1&downmbps=1&obfs=xplus"),
    ("bad_congestion", f"{TUIC}?congestion_control=reno"),
    ("bad_relay_mode", f"{TUIC}?udp_relay_mode=smoke"),
    ("missing_id", "tuic://a.example:1"),
    ("missing_id", "tuic://:pw@a.example:1"),
    ("missing_password", "tuic://token@a.example:1"),
    ("bad_key", f"{WIREGUARD}&presharedkey=short"),
    ("bad_address", f"{WIREGUARD}&address=10.0.0.300"),
    ("bad_address", f"{WIREGUARD}&address={','.join(['::1'] * 102)}"),
    ("bad_address", f"{WIREGUARD}&address=fe80::1%25eth0/64"),
    ("bad_reserved", f"{WIREGUARD}&reserved=1,2"),
    ("bad_reserved", f"{WIREGUARD}&reserved=1,2,256"),
    ("bad_reserved", f"{WIREGUARD}&reserved=AQ"),
    ("bad_number", f"{WIREGUARD}&mtu=big"),
    ("bad_cipher", ssr("a.example:1:origin:aes-256-gcm:plain")),
    ("bad_protocol", ssr("a.example:1:verify_deflate:aes-128-ctr:plain")),
    ("bad_obfs", ssr("a.example:1:origin:aes-128-ctr:smoke")),
    ("bad_base64", ssr(query="obfsparam=$")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "link"), REFUSED, ids=[f"{code} {link[:30]}" for code, link in REFUSED]
)
def test_a_defect_is_named(code: str, link: str) -> None:
    with pytest.raises(LinkError) as caught:
        parse(link)
    assert caught.value.code == code


def test_every_code_has_a_sentence_of_its_own() -> None:
    sentences = {str(LinkError(code)) for code in common._SENTENCES}
    assert len(sentences) == len(common._SENTENCES)
    assert all(sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize(
    ("link", "extra"),
    [
        (f"{VLESS}?b=2&a=%2B&empty=&=x", {"a": "+", "b": "2"}),
        (f"{VLESS}?security=tls&fp=netscape", {"fp": "netscape"}),
        (f"{VLESS}?packetEncoding=new", {"packetEncoding": "new"}),
        ("hysteria2://pw@a.example:1-2?mportHopInt=soon", {"mportHopInt": "soon"}),
        (vmess(foo=1, bar=None, listed={}), {"foo": "1"}),
        (vmess(net="quic", host="none", path="k"), {"quicSecurity": "none", "key": "k"}),
        (ssr(query="udpport=0"), {"udpport": "0"}),
    ],
)
def test_unknown_parameters_are_kept(link: str, extra: Mapping[str, str]) -> None:
    assert parse(link).extra == extra


def test_the_settings_of_a_plugin_are_read_without_their_escapes() -> None:
    plugin = parse(f"{SS}/?plugin=x%3Bk%3Da%5C%3Bb%3Bflag%3Bend%3Dz%5C").params["plugin"]
    assert plugins.settings(plugin) == {"k": "a;b", "flag": None, "end": "z\\"}


def test_the_port_of_a_single_mport_replaces_the_other() -> None:
    assert parse("hysteria2://pw@a.example:443?mport=8443").port == 8443


def test_a_badly_written_name_of_an_ssr_link_costs_no_server() -> None:
    assert parse(ssr(query="remarks=$name")).remark == "$name"


SAME = {
    "vless": [
        f"vless://{UUID}@a.example:443?security=tls&type=ws&path=%2Fp#a",
        f"VLESS://{UUID.upper()}@A.EXAMPLE.:443/?path=p&type=websocket&security=tls&allowInsecure=0&encryption=none#b",
    ],
    "reality": [
        f"{VLESS}?security=reality&pbk={REALITY_KEY}&sid=AB&spx=%2Fa",
        f"{VLESS}?sid=ab&pbk={REALITY_KEY}&security=reality&spx=%2Fb&fp=chrome&type=tcp",
    ],
    "vmess": [
        vmess(net="ws", path="/p", tls="tls", ps="a"),
        f"vmess://{UUID}@a.example:443?type=ws&path=p&security=tls&encryption=auto#b",
        f"vmess://{b64(f'auto:{UUID}@a.example:443')}?obfs=websocket&path=/p&tls=1&remarks=c",
    ],
    "shadowsocks": [
        "ss://chacha20-ietf-poly1305:pw@a.example:1",
        f"ss://{b64('CHACHA20-POLY1305:pw@a.example:1')}#x",
        f"ss://{b64url('chacha20-poly1305:pw')}@a.example:1?outline=1",
    ],
    "hysteria2": ["hy2://pw@a.example:443,5000-6000", "hysteria2://pw@a.example?mport=443,5000-6000&insecure=0"],
    "wireguard": [WIREGUARD, f"wg://a.example:1?privateKey={KEY}&publicKey={KEY[:-1]}&ip=172.16.0.2"],
    "ssr": [ssr(query=f"group={b64url('a')}"), ssr(query=f"group={b64url('b')}&remarks={b64url('n')}")],
    "socks": [f"socks://{b64url('u:p')}@[2001:DB8::1]:1", "socks5://u:p@[2001:db8:0::1]:1#n"],
    "trojan": ["trojan://pw@a.example", "trojan://%70w@a.example:443?security=tls&type=raw&sni="],
}  # fmt: skip


@pytest.mark.parametrize("spellings", SAME.values(), ids=SAME)
def test_spellings_of_one_server_have_one_fingerprint(spellings: list[str]) -> None:
    assert len({fingerprint(parse(link)) for link in spellings}) == 1


@pytest.mark.parametrize(
    "other",
    [
        "trojan://pw@b.example:443?security=tls&sni=s",
        "trojan://pw@a.example:444?security=tls&sni=s",
        "trojan://pX@a.example:443?security=tls&sni=s",
        "trojan://pw@a.example:443?security=tls&sni=t",
        "trojan://pw@a.example:443?security=tls&sni=s&type=ws",
        "trojan://pw@a.example:443?security=tls&sni=s&unknown=1",
        "anytls://pw@a.example:443?sni=s",
    ],
)
def test_another_server_has_another_fingerprint(other: str) -> None:
    assert fingerprint(parse(other)) != fingerprint(
        parse("trojan://pw@a.example:443?security=tls&sni=s")
    )

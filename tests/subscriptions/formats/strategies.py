"""Random servers that ``links.parse`` accepts."""

from base64 import b64encode
from urllib.parse import quote

from hypothesis import strategies as st

from subscriptions import links
from subscriptions.links import LinkError, Node

_UUIDS = st.uuids().map(str)
# Other characters are refused, escaped or not.
_CHARACTERS = st.characters(
    exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffd"
)
_WORDS = st.text(_CHARACTERS, min_size=1, max_size=12) | st.sampled_from(
    [
        "1e5",
        "12e4",
        "null",
        "yes",
        "~",
        "0x1F",
        "'",
        '"',
        "\\",
        "#",
        "a: b",
        "- x",
        "{}",
        "&a",
        "*a",
        "!x",
        "%zz",
    ]
)
_TEXT = st.just("") | _WORDS
_KEYS = st.binary(min_size=32, max_size=32).map(lambda raw: b64encode(raw).decode())
_NAMES = _TEXT | st.sampled_from(
    [
        "",
        "DIRECT",
        "REJECT",
        "GLOBAL",
        "PASS",
        "COMPATIBLE",
        "Proxy",
        "Auto",
        "direct",
        "🇩🇪",
        "A",
        "a",
    ]
)
_SERVERS = st.sampled_from(["a.example", "192.0.2.1", "[2001:db8::1]", "пример.example"])
_PORTS = st.integers(1, 65535).map(str)
_QUERY = {
    "type": st.sampled_from(
        ["tcp", "raw", "ws", "grpc", "httpupgrade", "xhttp", "kcp", "http", "h2", "quic"]
    ),
    "security": st.sampled_from(["none", "tls", "reality"]),
    "sni": _TEXT,
    "alpn": _TEXT | st.sampled_from(["h2,http/1.1", "h3"]),
    "fp": _TEXT | st.sampled_from(["chrome", "firefox", "hellochrome_120", "none"]),
    "pbk": st.binary(min_size=32, max_size=32).map(
        lambda raw: b64encode(raw, b"-_").decode().rstrip("=")
    ),
    "sid": st.binary(max_size=8).map(bytes.hex),
    "flow": st.sampled_from(["xtls-rprx-vision", "xtls-rprx-vision-udp443"]),
    "encryption": _TEXT
    | st.sampled_from(["none", "auto", f"mlkem768x25519plus.native.0rtt.{'A' * 43}"]),
    "headerType": st.sampled_from(["none", "http", "srtp"]),
    "host": _TEXT | st.sampled_from(["a.example,b.example", "192.0.2.7"]),
    "path": _TEXT
    | st.sampled_from(["/a?ed=2048", "/?ed=99999999999", "/%zz", "/a,b", "?ed=1&x=2"]),
    "serviceName": _TEXT,
    "mode": st.sampled_from(["auto", "gun", "multi", "packet-up", "stream-up", "stream-one"]),
    "extra": st.sampled_from(
        [
            "{}",
            '{"headers": {"A": 1, "B": "b", "C": ["c"]}, "xmux": {"maxConcurrency": "a", "maxConnections": 1}}',
            '{"headers": [], "xmux": 1, "xPaddingBytes": {}, "noGRPCHeader": "x", "scMaxEachPostBytes": -1}',
            '{"downloadSettings": {"address": "a"}}',
            '{"scMaxEachPostBytes": "5-1", "scMinPostsIntervalMs": 0, "xmux": {"hKeepAlivePeriod": "5-6"}}',
            '{"xPaddingObfsMode": true, "sessionPlacement": "x", "seqKey": 1, "uplinkChunkSize": "a"}',
            '{"xPaddingBytes": "0-0", "xmux": {"hKeepAlivePeriod": -1, "cMaxReuseTimes": "9-1"}}',
        ]
    ),
    "insecure": st.sampled_from(["0", "1"]),
    "pinSHA256": st.binary(min_size=32, max_size=32).map(lambda raw: raw.hex(":")),
    "pcs": _TEXT | st.just("ab" * 32),
    "pinnedPeerCertSha256": st.just(",".join(["ab" * 32, "cd" * 32])),
    "ech": _TEXT
    | st.sampled_from(
        [
            "https://1.1.1.1/dns-query",
            "a.example+udp://1.1.1.1",
            "true",
            "AEX+DQBBAQAgACAB",
            "AAT+DQAA",
            "/g0=",
        ]
    ),
    "vcn": _TEXT | st.just("a.example"),
    "disable_sni": st.just("1"),
    "ed": st.integers(0, 999_999).map(str),
    "eh": _TEXT,
    "headers": st.sampled_from(['{"Host": "h"}', '{"Host": "h", "A": "b"}', '{"host": 1}']),
    "authority": _TEXT,
    "xPaddingBytes": _TEXT | st.sampled_from(["100-1000", "0", "true", "{}"]),
    "scMaxEachPostBytes": st.sampled_from(["1", "0", "5-9", "1000000"]),
    "noGRPCHeader": st.sampled_from(["true", "false", "1"]),
    "fm": st.sampled_from(
        [
            "{}",
            '{"tcp": [{"type": "fragment"}], "udp": [{"type": "noise"}]}',
            '{"udp": [{"type": "salamander", "settings": {"password": "o"}}]}',
            '{"quicParams": {"udpHop": {"ports": "1-5", "interval": "5-10"}, "brutalUp": "1 gbps"}}',
            '{"udp": "x", "quicParams": 1, "tcp": [1]}',
        ]
    ),
    "upmbps": st.integers(1, 9_999_999).map(str),
    "downmbps": st.sampled_from(["0", "5", "5 gbps", "x"]),
    "jc": st.integers(0, 9_999_999_999).map(str),
    "s1": st.integers(0, 9_999).map(str),
    "h1": st.sampled_from(["1", "5", "7-9", "9-7", "4294967296"]),
    "i1": st.sampled_from(["<b 0xf6ab>", "<b 0xf><t><r 10>", "<zz>", "<r 1x>"]),
    "packetEncoding": _TEXT | st.sampled_from(["xudp", "packet", "none"]),
    "obfs": _TEXT | st.sampled_from(["salamander", "gecko", "xplus"]),
    "obfs-password": _TEXT,
    "obfsParam": _TEXT,
    "mport": st.sampled_from(["1-5", "443,5000-6000", "7"]),
    "mportHopInt": _TEXT | st.sampled_from(["30", "1", "10-20", "99999"]),
    "auth": _TEXT,
    "protocol": st.sampled_from(["udp", "wechat-video", "faketcp"]),
    "congestion_control": _TEXT | st.sampled_from(["bbr", "cubic", "new_reno"]),
    "udp_relay_mode": _TEXT | st.sampled_from(["native", "quic"]),
    "publickey": _KEYS,
    "presharedkey": _KEYS,
    "address": st.sampled_from(["10.0.0.2", "10.0.0.2/24,fd00::2", "fd00::2/64", ""]),
    "allowedips": st.sampled_from(["0.0.0.0/0,::/0", "10.0.0.7/24", ""]),
    "mtu": st.integers(0, 999_999).map(str),
    "keepalive": st.integers(0, 999_999).map(str),
    "reserved": st.sampled_from(["1,2,3", "AQID", "0,0,0"]),
    "uot": st.just("1"),
    "plugin": st.sampled_from(
        [
            "obfs-local;obfs=http;obfs-host=a\\;b",
            "obfs-local;obfs=tls",
            "v2ray-plugin;tls;host=a;path=/a\\=b;mux=x",
            "v2ray-plugin;mode=quic",
            "v2ray-plugin;tls=1;mux=0",
            "shadow-tls;host=a;password=p;version=3",
            "shadow-tls",
            "kcptun;x=y",
            "v2ray-plugin",
            "v2ray-plugin;insecure;skip-cert-verify=0;tls=false",
            "obfs-local",
        ]
    ),
}
_TLS = ["sni", "alpn", "fp", "insecure", "pinSHA256", "ech", "vcn", "disable_sni"]
_HTTP = ["host", "path", "ed", "eh", "headers"]
_STREAM = [
    *_TLS,
    *_HTTP,
    "headerType",
    "serviceName",
    "authority",
    "mode",
    "pcs",
    "packetEncoding",
    "sid",
    "fm",
]
_XHTTP = ["extra", "xPaddingBytes", "scMaxEachPostBytes", "noGRPCHeader"]
# Required and optional parameters by scheme. A parameter of another scheme would keep a server out of all formats.
_REQUIRED = {
    "vless": ["type", "security", "pbk"], "vmess": ["type", "security", "pbk"], "trojan": ["type"],
    "wireguard": ["publickey"], "hysteria": ["auth"],
}  # fmt: skip
_OPTIONAL = {
    "vless": [*_STREAM, *_XHTTP, "flow", "encryption"],
    "vmess": [*_STREAM, *_XHTTP, "encryption"],
    "trojan": [*_STREAM, *_XHTTP],
    "ss": ["plugin", "uot", "type", "security", "host", "path", "sni", "insecure", "ed"],
    "hysteria": [*_TLS, "protocol", "obfsParam", "mport", "mportHopInt"],
    "hysteria2": [*_TLS, "obfs", "obfs-password", "mport", "mportHopInt", "upmbps", "downmbps", "fm", "pinnedPeerCertSha256"],
    "tuic": [*_TLS, "congestion_control", "udp_relay_mode"],
    "wireguard": ["presharedkey", "address", "allowedips", "mtu", "keepalive", "reserved", "jc", "s1", "h1", "i1"],
    "anytls": _TLS,
    "socks": ["security", *_TLS],
    "http": ["security", *_TLS],
    "https": _TLS,
}  # fmt: skip
_CIPHERS = st.sampled_from(
    [
        "aes-128-gcm",
        "none",
        "rc4-md5",
        "chacha20",
        "aes-256-ccm",
        "aes-128-gcm-siv",
        "xchacha8-ietf-poly1305",
        "aes-128-cfb",
    ]
)


def _quoted(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return texts.map(lambda text: quote(text.encode("utf-8", "replace"), safe=""))


@st.composite
def _ssr(draw: st.DrawFn) -> str:
    password = b64encode(draw(_WORDS).encode("utf-8", "replace"), b"-_").decode().rstrip("=")
    middle = ":".join(
        [
            draw(st.sampled_from(["origin", "auth_chain_a", "auth_chain_f"])),
            draw(st.sampled_from(["aes-128-ctr", "chacha20", "bf-cfb", "none"])),
            draw(st.sampled_from(["plain", "http_simple", "tls_simple"])),
        ]
    )
    text = f"{draw(_SERVERS).strip('[]')}:{draw(_PORTS)}:{middle}:{password}/?obfsparam={password}&protoparam={password}"
    return f"ssr://{b64encode(text.encode()).decode()}"


@st.composite
def _url(draw: st.DrawFn) -> str:
    scheme, user = draw(
        st.one_of(
            st.tuples(st.sampled_from(["vless", "vmess"]), _UUIDS | _quoted(_WORDS)),
            st.tuples(st.sampled_from(["trojan", "hysteria2", "anytls"]), _quoted(_WORDS)),
            st.tuples(st.just("hysteria"), st.just("")),
            st.tuples(
                st.just("tuic"),
                st.builds(lambda own, word: f"{own}:{word}", _UUIDS, _quoted(_WORDS)),
            ),
            st.tuples(st.just("wireguard"), _quoted(_KEYS)),
            st.tuples(
                st.just("ss"),
                st.builds(lambda cipher, word: f"{cipher}:{word}", _CIPHERS, _quoted(_WORDS)),
            ),
            st.tuples(
                st.sampled_from(["socks", "http", "https"]),
                st.builds(lambda name, word: f"{name}:{word}", _quoted(_WORDS), _quoted(_WORDS)),
            ),
        )
    )
    names = {
        *_REQUIRED.get(scheme, ()),
        *draw(st.lists(st.sampled_from(_OPTIONAL[scheme]), max_size=6)),
        *draw(st.lists(st.sampled_from(sorted(_QUERY)), max_size=1)),
    }
    query = {name: draw(_QUERY[name]) for name in sorted(names)}
    if scheme == "hysteria":
        query |= {"upmbps": draw(st.integers(1, 9_999_999).map(str)), "downmbps": "5"}
    encoded = "&".join(
        f"{name}={quote(value.encode('utf-8', 'replace'), safe='')}"
        for name, value in query.items()
    )
    return f"{scheme}://{user}@{draw(_SERVERS)}:{draw(_PORTS)}?{encoded}#{draw(_quoted(_NAMES))}"


def _parsed(link: str) -> Node | None:
    try:
        return links.parse(link)
    except LinkError:
        return None


def lists() -> st.SearchStrategy[list[Node]]:
    """Many servers at once, because a core takes a tenth of a second to start."""
    parsed = st.lists((_url() | _url() | _url() | _ssr()).map(_parsed), min_size=20, max_size=60)
    return parsed.map(lambda found: [node for node in found if node is not None])

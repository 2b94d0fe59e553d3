"""TLS and REALITY: the parameters that all protocols over TLS share.

Sources: github.com/XTLS/Xray-core/discussions/716, and the names that other apps use.
"""

import re
from collections.abc import Mapping

from .base64text import parse_key
from .common import Fields, LinkError, filled
from .hosts import ascii_name

_REALITY_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_SHORT_ID = re.compile(r"(?:[0-9a-f]{2}){0,8}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_SECURITIES = {
    "none": "",
    "1": "tls",
    "true": "tls",
    "yes": "tls",
    "on": "tls",
    "0": "",
    "false": "",
    "no": "",
    "off": "",
}
# Ciphers of vmess, which some links have in place of the transport's security.
_CIPHERS = frozenset({"auto", "zero", "aes-128-gcm", "chacha20-poly1305", "chacha20-ietf-poly1305"})
# A node may have both pins: of the two of one name the last is written, which more apps know.
_NAMES = {
    "sni": "sni", "alpn": "alpn", "fp": "fp", "pin_public_key": "pinSHA256", "pin_sha256": "pinSHA256",
    "ech": "ech", "pcs": "pcs", "vcn": "vcn",
    "pbk": "pbk", "sid": "sid", "spx": "spx", "pqv": "pqv", "disable_sni": "disable_sni",
}  # fmt: skip
# Other names of the parameters; switches that mean "insecure", and switches whose "off" means it.
_SNI = ("sni", "peer", "serverName", "tls-host", "tls-name", "tls-server-name")
_UNVERIFIED = (
    "allowInsecure", "insecure", "skip-cert-verify", "skip-verify", "tls-skip-verify", "insecure-skip-verify",
)  # fmt: skip
_VERIFIED = (
    "verify_cert",
    "verify-certificate",
    "tls-verification",
    "tls-verify",
    "verify",
    "verify-peer",
)
# uTLS names that Xray, sing-box and mihomo share. Other names stay in the link, but are not used.
_FINGERPRINTS = frozenset({
    "chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized",
})  # fmt: skip


def take_security(fields: Fields, default: str = "") -> str:
    """``tls``, ``reality`` or empty. ``default``: the protocol's default."""
    text, switch = fields.take_word("security"), fields.take_word("tls", "over-tls", "ssl")
    if text in {"", *_CIPHERS}:
        text = switch or ("" if text else default)
    elif text == "none" and _security(switch):
        # The two contradict each other, and a configuration can only have one.
        fields.put("tls", switch)
    return _security(text)


def _security(text: str) -> str:
    security = _SECURITIES.get(text, text)
    if security not in {"", "tls", "reality"}:
        raise LinkError("bad_security")
    return security


def is_reality(key: str, short_id: str) -> bool:
    """Whether key and short id are valid for REALITY. The short id must be in lower case."""
    return bool(_REALITY_KEY.fullmatch(key) and _SHORT_ID.fullmatch(short_id))


def is_true(text: str) -> bool:
    return text in _TRUE


def flag(text: str) -> str:
    return "1" if is_true(text) else ""


def read(fields: Fields, security: str) -> dict[str, str]:
    """Take the parameters out of the fields. Those that ``security`` does not use are dropped."""
    found = _read_tls(fields)
    reality = _read_reality(fields)
    if not security:
        return {}
    if found.get("fp", "chrome") not in _FINGERPRINTS:
        fields.put("fp", found.pop("fp"))
    found = {"security": security} | found
    return found if security == "tls" else {"fp": "chrome"} | found | _checked(reality)


def _read_tls(fields: Fields) -> dict[str, str]:
    fp = fields.take_word("fp", "fingerprint", "client-fingerprint", "utls")
    pin = fields.take("pinSHA256")
    # Clash calls a certificate pin a fingerprint.
    if _SHA256.fullmatch(_bare(fp)):
        fp, pin = "", pin or fp
    return filled(
        sni=ascii_name(fields.take_word(*_SNI)),
        alpn=_alpn(fields.take_word("alpn")),
        fp=fp,
        insecure=_insecure(fields),
        disable_sni=flag(fields.take_word("disable_sni")),
        ech=fields.take("ech", "echConfigList", "ech-config"),
        pcs=_pcs(fields.take("pcs", "pinnedPeerCertSha256")),
        vcn=fields.take("vcn", "verifyPeerCertByName"),
        **_pins(pin),
    )


def _alpn(text: str) -> str:
    """A comma-separated list; some links have a JSON list."""
    return ",".join(filter(None, re.split(r"""[\s,;"'\[\]]+""", text)))


def write(params: Mapping[str, str], insecure: str = "allowInsecure") -> dict[str, str]:
    """The parameters under their names in a link. ``insecure``: the protocol's name for that one."""
    found = {name: params[key] for key, name in _NAMES.items() if key in params}
    return found | ({insecure: "1"} if "insecure" in params else {})


def _insecure(fields: Fields) -> str:
    allowed = [fields.take_word(name) for name in _UNVERIFIED]
    verified = [fields.take_word(name) for name in _VERIFIED]
    return "1" if _TRUE.intersection(allowed) or _FALSE.intersection(verified) else ""


def _read_reality(fields: Fields) -> dict[str, str]:
    return filled(
        pbk=fields.take("pbk", "public-key", "reality-public-key", "reality-pbk"),
        sid=fields.take_word("sid", "short-id", "reality-short-id", "reality-sid"),
        spx=fields.take("spx", "spiderX"),
        pqv=fields.take("pqv", "mldsa65Verify"),
    )


def _checked(reality: dict[str, str]) -> dict[str, str]:
    """Refuse bad REALITY parameters, for which mihomo would refuse the whole list."""
    if "pbk" not in reality:
        raise LinkError("missing_pbk")
    if not _REALITY_KEY.fullmatch(reality["pbk"]):
        raise LinkError("bad_pbk")
    if not _SHORT_ID.fullmatch(reality.get("sid", "")):
        raise LinkError("bad_sid")
    return reality


def _pins(text: str) -> dict[str, str]:
    """SHA-256 of certificates in hexadecimal, or of public keys in base64, as sing-box and s-ui write it."""
    if not text:
        return {}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    pins = [_bare(part) for part in parts]
    if all(map(_SHA256.fullmatch, pins)):
        return {"pin_sha256": ",".join(dict.fromkeys(pins))}
    try:
        return {"pin_public_key": ",".join(dict.fromkeys(parse_key(part, 32) for part in parts))}
    except LinkError:
        raise LinkError("bad_pin") from None


def _pcs(text: str) -> str:
    """The same in Xray's form, only for certificates. Any other value is kept for links."""
    pins = [_bare(part) for part in re.split(r"\s*[,~]\s*", text.strip(" ,~"))]
    return ",".join(dict.fromkeys(pins)) if all(map(_SHA256.fullmatch, pins)) else text


def _bare(pin: str) -> str:
    return re.sub("[:-]", "", pin).lower()

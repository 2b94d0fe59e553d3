"""TLS and REALITY: the parameters that all protocols over TLS share.

Sources: github.com/XTLS/Xray-core/discussions/716; what single apps call them.
"""

import re
from collections.abc import Mapping

from .common import Fields, LinkError, filled
from .hosts import ascii_name

_REALITY_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_SHORT_ID = re.compile(r"(?:[0-9a-f]{2}){0,8}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})
_NAMES = {
    "sni": "sni", "alpn": "alpn", "fp": "fp", "pin_sha256": "pinSHA256", "ech": "ech", "pcs": "pcs", "vcn": "vcn",
    "pbk": "pbk", "sid": "sid", "spx": "spx", "pqv": "pqv", "disable_sni": "disable_sni",
}  # fmt: skip
# Names of uTLS that Xray, sing-box and mihomo share. Others stay in the link, but nobody relies on them.
_FINGERPRINTS = frozenset({
    "chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized",
})  # fmt: skip


def parse_security(text: str, default: str = "") -> str:
    """``tls``, ``reality``, or nothing. ``default`` is what the protocol has by nature."""
    security = {"": default, "none": "", "1": "tls", "true": "tls", "0": "", "false": ""}.get(text, text)
    if security not in {"", "tls", "reality"}:
        raise LinkError("bad_security")
    return security


def is_reality(key: str, short_id: str) -> bool:
    """Whether both are what REALITY needs; the short id in lower case."""
    return bool(_REALITY_KEY.fullmatch(key) and _SHORT_ID.fullmatch(short_id))


def is_true(text: str) -> bool:
    return text in _TRUE


def flag(text: str) -> str:
    return "1" if is_true(text) else ""


def read(fields: Fields, security: str) -> dict[str, str]:
    """Takes the parameters out of the fields; those that ``security`` does not use are dropped."""
    found = filled(
        security=security,
        sni=ascii_name(fields.take_word("sni", "peer", "serverName", "servername")),
        alpn=",".join(filter(None, map(str.strip, fields.take("alpn").split(",")))),
        fp=fields.take_word("fp", "fingerprint", "client-fingerprint"),
        insecure=_insecure(fields),
        disable_sni=flag(fields.take_word("disable_sni", "disable-sni")),
        pin_sha256=fields.take_word("pinSHA256", "pinsha256"),
        ech=fields.take("ech"),
        pcs=fields.take("pcs"),
        vcn=fields.take("vcn"),
    )
    reality = _read_reality(fields)
    if not security:
        return {}
    if "pin_sha256" in found:
        found["pin_sha256"] = _parse_pin(found["pin_sha256"])
    if found.get("fp", "chrome") not in _FINGERPRINTS:
        fields.put("fp", found.pop("fp"))
    return found if security == "tls" else {"fp": "chrome"} | found | _checked(reality)


def write(params: Mapping[str, str], insecure: str = "allowInsecure") -> dict[str, str]:
    """The parameters under their names in a link; ``insecure``: what its protocol calls that one."""
    found = {name: params[key] for key, name in _NAMES.items() if key in params}
    return found | ({insecure: "1"} if "insecure" in params else {})


def _insecure(fields: Fields) -> str:
    names = ("allowInsecure", "insecure", "allow_insecure", "allowinsecure", "skip-cert-verify")
    return "1" if any([is_true(fields.take_word(name)) for name in names]) else ""  # noqa: C419  all are taken


def _read_reality(fields: Fields) -> dict[str, str]:
    return filled(pbk=fields.take("pbk"), sid=fields.take_word("sid"), spx=fields.take("spx"), pqv=fields.take("pqv"))


def _checked(reality: dict[str, str]) -> dict[str, str]:
    """One bad REALITY parameter makes mihomo refuse the whole list."""
    if "pbk" not in reality:
        raise LinkError("missing_pbk")
    if not _REALITY_KEY.fullmatch(reality["pbk"]):
        raise LinkError("bad_pbk")
    if not _SHORT_ID.fullmatch(reality.get("sid", "")):
        raise LinkError("bad_sid")
    return reality


def _parse_pin(text: str) -> str:
    pin = re.sub("[:-]", "", text)
    if not _SHA256.fullmatch(pin):
        raise LinkError("bad_pin")
    return pin

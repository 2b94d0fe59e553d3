"""Code shared by all protocols: the node, the reasons to refuse a link, and the parts of a URL.

Links are split by hand: ``urllib.parse`` fails on brackets in passwords, on port ranges
and on unescaped base64, and silently drops tabs and line breaks.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec

MAX_REMARK = 255
# The most items of a list in a link, so that hostile lines do not cost seconds.
MAX_LIST = 100
# Schemes of other apps' links. Common apps cannot use them, so they are kept out of lists.
FOREIGN_SCHEMES = (
    "naive+https", "naive+quic", "mieru", "mierus", "juicity", "ssh", "snell", "v2rayn", "happ", "vpn", "ssconf",
    "hysteria2+realm",
)  # fmt: skip
# Schemes of servers. http and https are not included, because they may begin the address of a page.
SERVER_SCHEMES = (
    "vless", "vmess", "trojan-go", "trojan", "ssr", "ss", "hysteria2", "hy2", "hysteria", "tuic", "wireguard", "wg",
    "amneziawg", "awg", "anytls", "socks5h", "socks5", "socks",
)  # fmt: skip


def gettext_noop(text: str) -> str:
    """Mark a text for translation; it is translated where it is shown."""
    return text


_SENTENCES = {
    "empty": gettext_noop("The link is empty."),
    "too_long": gettext_noop("The link is longer than 4096 characters."),
    "bad_text": gettext_noop("The link contains a line break or another control character."),
    "two_links": gettext_noop("There are two links on one line."),
    "comment": gettext_noop("This is a comment, not a link."),
    "html": gettext_noop("This is a web page, not a link."),
    "not_a_proxy": gettext_noop(
        "This is the address of a page or a subscription; a proxy has a user, a password and a port."
    ),
    "unknown_scheme": gettext_noop("This is not a link of a known protocol."),
    "unsupported": gettext_noop("This kind of link is known, but common apps cannot use it."),
    "bad_form": gettext_noop("The link does not have the form of its protocol."),
    "bad_base64": gettext_noop("The encoded part of the link is not base64; perhaps it was cut."),
    "bad_json": gettext_noop(
        "The encoded part of the link is not a JSON object; perhaps it was cut."
    ),
    "missing_host": gettext_noop("The link names no server."),
    "bad_host": gettext_noop("The server is neither a host name nor an IP address."),
    "missing_port": gettext_noop("The link names no port."),
    "bad_port": gettext_noop("The port is not a number from 1 to 65535."),
    "missing_id": gettext_noop("The user id (UUID) is missing."),
    "bad_id": gettext_noop("The user id is neither a UUID nor a text of up to 30 bytes."),
    "bad_uuid": gettext_noop("The user id is not a UUID, which TUIC requires."),
    "missing_password": gettext_noop("The password is missing."),
    "bad_cipher": gettext_noop("The cipher is unknown."),
    "missing_key": gettext_noop("A key is missing."),
    "bad_key": gettext_noop("A key is not base64 of the length that its protocol needs."),
    "bad_security": gettext_noop("The security is not none, tls or reality."),
    "missing_pbk": gettext_noop("REALITY needs the server's public key (pbk)."),
    "bad_pbk": gettext_noop("The REALITY public key (pbk) is not base64url of 32 bytes."),
    "bad_sid": gettext_noop(
        "The REALITY short id (sid) is not hexadecimal of an even length up to 16."
    ),
    "bad_pin": gettext_noop("The pinned certificate is not a SHA-256 in hexadecimal."),
    "bad_encryption": gettext_noop("The VLESS encryption is unknown."),
    "bad_flow": gettext_noop("The flow is unknown; apps know xtls-rprx-vision."),
    "bad_alter_id": gettext_noop("The alter id is not a number from 0 to 65535."),
    "bad_network": gettext_noop("The transport is unknown."),
    "bad_mode": gettext_noop("The mode of the transport is unknown."),
    "bad_extra": gettext_noop(
        "The extra settings of the transport (extra or fm) are not a JSON object, or one of them is wrong."
    ),
    "bad_number": gettext_noop("A numeric setting is not a number, or it is too large."),
    "bad_plugin": gettext_noop("The plugin has settings that apps do not know."),
    "bad_obfs": gettext_noop("The obfuscation is unknown."),
    "missing_obfs_password": gettext_noop("The password of the obfuscation is missing."),
    "missing_speed": gettext_noop("The speeds (upmbps and downmbps) are missing."),
    "bad_speed": gettext_noop("A speed is not a number of Mbit/s above zero."),
    "bad_congestion": gettext_noop("The congestion control is not bbr, cubic or new_reno."),
    "bad_relay_mode": gettext_noop("The UDP relay mode is neither native nor quic."),
    "bad_address": gettext_noop("An address is not an IP address or network."),
    "bad_reserved": gettext_noop("The reserved bytes are not three numbers from 0 to 255."),
    "bad_protocol": gettext_noop("The protocol of ShadowsocksR is unknown."),
}
# Texts that JavaScript, Python, Go and PHP write for an absent value.
NOTHING = frozenset(
    {"", "null", "Null", "NULL", "(null)", "undefined", "None", "nil", "<nil>", "NaN"}
)
# Switches, whose name without a value means "on".
_SWITCHES = frozenset({
    "tls", "ws", "insecure", "allowinsecure", "skipcertverify", "disablesni", "uot", "udpovertcp", "reducertt",
})  # fmt: skip

# The beginning of another link inside a text.
LINK_BEGINS = re.compile(
    rf"(?:{'|'.join(map(re.escape, SERVER_SCHEMES + FOREIGN_SCHEMES))})://", re.IGNORECASE
)
# Leftovers of web pages, chats and careless scripts after a link.
TRAILING = re.compile(
    r"(?:\s|</?(?:a|b|br|code|div|li|p|pre|span|td|tr|ul)\s*/?>|&nbsp;|\\[rn])+$", re.IGNORECASE
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Control characters, and those that reverse or split text: U+202E makes a name look like another.
# Joiners and direction marks that Persian and emoji need are not included.
# U+FFFD is what a decoder leaves of a character that was cut in half.
_TRICKS = re.compile(f"{_CONTROL.pattern}|[\xad\u200b\u202a-\u202e\u2060-\u2069\ufeff\ufffd]")


class LinkError(ValueError):
    """A text is not a usable link. ``code`` is for programs, the message for people. Holds no part of the link."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(_SENTENCES[code])


class Node(msgspec.Struct, frozen=True):
    """A parsed share link. ``server``: lower case, ACE, IPv6 without brackets; ``port``: the first of a range.

    ``raw`` is the original link on one line with its scheme in lower case. ``params`` are the connection parameters
    in one vocabulary for all protocols, without defaults. ``extra`` holds all other parameters.
    """

    raw: str
    protocol: str
    server: str
    port: int
    remark: str
    params: Mapping[str, str] = {}
    extra: Mapping[str, str] = {}


class Url(msgspec.Struct, frozen=True):
    """The parts of ``userinfo@host:port?query#remark``. ``userinfo`` is still encoded; None without an ``@``."""

    userinfo: str | None
    endpoint: str
    path: str
    query: Mapping[str, str]
    remark: str


class Fields:
    """Named values of a link, taken out one by one; values that remain are unknown. Values are stripped.

    Case, dashes and underscores in a name are ignored (``allowInsecure``, ``allow_insecure``); a name
    with exactly the requested spelling comes first.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value.strip() for name, value in values.items()}
        self._spellings: dict[str, list[str]] = {}
        for name in self._values:
            self._spellings.setdefault(fold(name), []).append(name)

    def take(self, *names: str) -> str:
        """The value of the first name that has one. All of the names are removed."""
        for value in self._taken(names):
            if value not in NOTHING:
                return value
        return ""

    def take_secret(self, *names: str) -> str:
        """The same for a password, which may be any text."""
        return next(filter(None, self._taken(names)), "")

    def _taken(self, names: Sequence[str]) -> list[str]:
        found: list[str] = []
        # Most links run out of values before all known names were asked for.
        for name in names if self._spellings else ():
            spellings = self._spellings.pop(fold(name), None)
            if spellings is None:
                continue
            spellings.sort(key=lambda each: each != name)
            found += [self._values.pop(spelling, "") for spelling in spellings]
        return found

    def take_word(self, *names: str) -> str:
        """A value without case."""
        return self.take(*names).lower()

    def peek(self, name: str) -> str:
        """The value of a name in any spelling, without removing it."""
        values = map(self._values.__getitem__, self._spellings.get(fold(name), ()))
        return next(filter(None, values), "")

    def put(self, name: str, value: str) -> None:
        """Put back a value that is not understood, so that it is kept."""
        self._values[name] = value
        self._spellings.setdefault(fold(name), []).append(name)

    def rest(self) -> dict[str, str]:
        return dict(sorted(item for item in self._values.items() if all(item)))


@lru_cache(maxsize=2048)
def fold(name: str) -> str:
    """A parameter's name without case, dashes and underscores. It is cached, because each link is asked for some sixty names."""
    return re.sub("[-_. ]", "", name.lower())


def split(rest: str) -> Url:
    """Split the part after ``scheme://``."""
    body, _, fragment = rest.partition("#")
    authority, _, query = body.partition("?")
    if not authority.strip("/"):
        raise LinkError("empty")
    userinfo, at, endpoint = authority.rpartition("@")
    endpoint, _, path = endpoint.partition("/")
    return Url(
        userinfo if at else None, endpoint, path, parse_query(query), parse_fragment(fragment)
    )


def parse_query(query: str) -> dict[str, str]:
    """The first non-empty value of each name. ``+`` is a plus. ``&amp;`` is an ``&`` copied from a web page."""
    found: dict[str, str] = {}
    items = query.replace("&amp;", "&").split("&")
    if len(items) > MAX_LIST:
        raise LinkError("bad_form")
    for item in items:
        name, given, value = item.partition("=")
        name = unquote(name)
        value = unquote(value) if given else _switched_on(name)
        found[name] = found.get(name) or value
    return found


def _switched_on(name: str) -> str:
    return "1" if fold(name) in _SWITCHES else ""


def parse_fragment(fragment: str) -> str:
    return clean_remark(unquote(fragment))


def clean_remark(text: str) -> str:
    """A name on one line of at most 255 characters, without characters that hide or reverse others.

    It never holds a link, because everyone who may see names would see that server's password.
    """
    text = _TRICKS.sub("", text)
    if holds_link(text):
        text = LINK_BEGINS.split(text, maxsplit=1)[0]
    text = TRAILING.sub("", text)
    return text.strip()[:MAX_REMARK].rstrip()


def holds_link(text: str) -> bool:
    """Whether a link to a server begins somewhere in the text."""
    return "://" in text and LINK_BEGINS.search(text) is not None


def has_control_characters(text: str) -> bool:
    """Whether the text holds a character that may start a new line, or that UTF-8 cannot encode."""
    return _CONTROL.search(text) is not None


def escape(text: str) -> str:
    return quote(text, safe="")


def filled(**params: str) -> dict[str, str]:
    """The parameters that have a value."""
    return {name: value for name, value in params.items() if value}


def join(head: str, query: Mapping[str, str], remark: str) -> str:
    """A link from its parts, without empty values. Everything is escaped, because apps fail on a bare ``=``, ``+`` or space."""
    items = "&".join(f"{escape(name)}={escape(value)}" for name, value in query.items() if value)
    return f"{head}{'?' if items else ''}{items}#{escape(remark)}"


def parse_password(text: str | None) -> str:
    if not text:
        raise LinkError("missing_password")
    return unquote(text)

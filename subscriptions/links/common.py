"""What the protocols' modules share: the node, the reasons to refuse a link, and the parts of a URL.

Links are split by hand: ``urllib.parse`` fails on brackets in passwords, on port ranges
and on unescaped base64, and silently drops tabs and line breaks.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

import msgspec

MAX_REMARK = 255
# Lists in a link: a source of hostile lines must not cost seconds.
MAX_LIST = 100


def gettext_noop(text: str) -> str:
    """Marks a text for the translators; it is translated where people see it."""
    return text


_SENTENCES = {
    "empty": gettext_noop("The link is empty."),
    "too_long": gettext_noop("The link is longer than 4096 characters."),
    "bad_text": gettext_noop("The link contains a line break or another control character."),
    "two_links": gettext_noop("There are two links in one line."),
    "comment": gettext_noop("This is a comment, not a link."),
    "html": gettext_noop("This is a web page, not a link."),
    "not_a_proxy": gettext_noop(
        "This is the address of a page or a subscription; a proxy has a user, a password and a port."
    ),
    "unknown_scheme": gettext_noop("This is no link of a known protocol."),
    "unsupported": gettext_noop("This kind of link is known, but common apps cannot use it."),
    "bad_form": gettext_noop("The link does not have the form of its protocol."),
    "bad_base64": gettext_noop("The encoded part of the link is not base64; perhaps it was cut."),
    "bad_json": gettext_noop("The encoded part of the link is not a JSON object; perhaps it was cut."),
    "missing_host": gettext_noop("The link names no server."),
    "bad_host": gettext_noop("The server is neither a host name nor an IP address."),
    "missing_port": gettext_noop("The link names no port."),
    "bad_port": gettext_noop("The port is not a number from 1 to 65535."),
    "missing_id": gettext_noop("The user id (UUID) is missing."),
    "bad_id": gettext_noop("The user id is neither a UUID nor a text of up to 30 bytes."),
    "missing_password": gettext_noop("The password is missing."),
    "bad_cipher": gettext_noop("The cipher is unknown."),
    "missing_key": gettext_noop("A key is missing."),
    "bad_key": gettext_noop("A key is not base64 of the length that its protocol needs."),
    "bad_security": gettext_noop("The security is none of none, tls and reality."),
    "missing_pbk": gettext_noop("REALITY needs the server's public key (pbk)."),
    "bad_pbk": gettext_noop("The REALITY public key (pbk) is not base64url of 32 bytes."),
    "bad_sid": gettext_noop("The REALITY short id (sid) is not hexadecimal of an even length up to 16."),
    "bad_pin": gettext_noop("The pinned certificate is not a SHA-256 in hexadecimal."),
    "bad_encryption": gettext_noop("The VLESS encryption is unknown."),
    "bad_flow": gettext_noop("The flow is unknown; apps know xtls-rprx-vision."),
    "bad_alter_id": gettext_noop("The alter id is not a number from 0 to 65535."),
    "bad_network": gettext_noop("The transport is unknown."),
    "bad_mode": gettext_noop("The mode of the transport is unknown."),
    "bad_extra": gettext_noop(
        "The further settings of the transport (extra or fm) are not a JSON object, or one of them is wrong."
    ),
    "bad_number": gettext_noop("A setting that is a number is none, or it is too large."),
    "bad_plugin": gettext_noop("The plugin has settings that apps do not know."),
    "bad_obfs": gettext_noop("The obfuscation is unknown."),
    "missing_obfs_password": gettext_noop("The password of the obfuscation is missing."),
    "missing_speed": gettext_noop("The speeds (upmbps and downmbps) are missing."),
    "bad_speed": gettext_noop("A speed is not a number of Mbit/s above zero."),
    "bad_congestion": gettext_noop("The congestion control is none of bbr, cubic and new_reno."),
    "bad_relay_mode": gettext_noop("The UDP relay mode is neither native nor quic."),
    "bad_address": gettext_noop("An address is not an IP address or network."),
    "bad_reserved": gettext_noop("The reserved bytes are not three numbers from 0 to 255."),
    "bad_protocol": gettext_noop("The protocol of ShadowsocksR is unknown."),
}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Control characters, and those that reverse or split what is read: U+202E makes a name look like another.
# The joiners and direction marks that Persian and emoji need are none of them.
_TRICKS = re.compile(f"{_CONTROL.pattern}|[\xad\u200b\u202a-\u202e\u2060-\u2069\ufeff]")


class LinkError(ValueError):
    """Why a text is no usable link: ``code`` for programs, the message for people. Holds nothing of the link itself."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(_SENTENCES[code])


class Node(msgspec.Struct, frozen=True):
    """A share link, understood. ``server``: lower case, ACE, IPv6 without brackets; ``port``: the first of a range.

    ``raw`` is the link as it came, one line, its scheme in lower case. ``params`` are the parameters of the
    connection in one vocabulary for all protocols, defaults left out; ``extra`` what the link says besides.
    """

    raw: str
    protocol: str
    server: str
    port: int
    remark: str
    params: Mapping[str, str] = {}
    extra: Mapping[str, str] = {}


class Url(msgspec.Struct, frozen=True):
    """``userinfo@host:port?query#remark``, cut apart. ``userinfo`` is still encoded; None: there is no ``@``."""

    userinfo: str | None
    endpoint: str
    path: str
    query: Mapping[str, str]
    remark: str


class Fields:
    """Named values of a link, taken out one after another; what nobody has taken is unknown. Blanks around go."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value.strip() for name, value in values.items()}

    def take(self, *names: str) -> str:
        """The first of several names that has a value; all of them are gone then."""
        found = ""
        for name in names:
            value = self._values.pop(name, "")
            found = found or value
        return found

    def take_word(self, *names: str) -> str:
        """A value in which case means nothing."""
        return self.take(*names).lower()

    def put(self, name: str, value: str) -> None:
        """Give a value back: nobody knows what it means, but it is kept."""
        self._values[name] = value

    def rest(self) -> dict[str, str]:
        return dict(sorted(item for item in self._values.items() if all(item)))


def split(rest: str) -> Url:
    """Cut what stands behind ``scheme://``."""
    body, _, fragment = rest.partition("#")
    authority, _, query = body.partition("?")
    if not authority.strip("/"):
        raise LinkError("empty")
    userinfo, at, endpoint = authority.rpartition("@")
    endpoint, _, path = endpoint.partition("/")
    return Url(userinfo if at else None, endpoint, path, parse_query(query), parse_fragment(fragment))


def parse_query(query: str) -> dict[str, str]:
    """The first value of each name; ``+`` is a plus. ``&amp;``: what a copy from a web page makes of ``&``."""
    found: dict[str, str] = {}
    items = query.replace("&amp;", "&").split("&")
    if len(items) > MAX_LIST:
        raise LinkError("bad_form")
    for item in items:
        name, _, value = item.partition("=")
        found.setdefault(unquote(name), unquote(value))
    return found


def parse_fragment(fragment: str) -> str:
    return clean_remark(unquote(fragment))


def clean_remark(text: str) -> str:
    """A name for a list of servers: one line without characters that hide or turn others, at most 255 of them."""
    return _TRICKS.sub("", text).strip()[:MAX_REMARK].rstrip()


def has_control_characters(text: str) -> bool:
    """Whether the text holds anything at which a reader might begin a new line, or that UTF-8 can't carry."""
    return _CONTROL.search(text) is not None


def escape(text: str) -> str:
    return quote(text, safe="")


def filled(**params: str) -> dict[str, str]:
    """Those that have a value."""
    return {name: value for name, value in params.items() if value}


def join(head: str, query: Mapping[str, str], remark: str) -> str:
    """A link of its parts. Everything is escaped: apps stumble over a bare ``=``, ``+`` or blank; empty values go."""
    items = "&".join(f"{escape(name)}={escape(value)}" for name, value in query.items() if value)
    return f"{head}{'?' if items else ''}{items}#{escape(remark)}"


def parse_password(text: str | None) -> str:
    if not text:
        raise LinkError("missing_password")
    return unquote(text)

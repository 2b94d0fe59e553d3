"""The wire format of the webhook: one report, strictly checked. No Django here.

Field rules: CONTRACT part B2 (docs/api.md). ``decode`` splits a body into reports and
refusals; nothing else in the project reads a report's JSON.
"""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import idna
import msgspec

MAX_BATCH = 10_000
MAX_BYTES = 2**50
MAX_AHEAD = timedelta(minutes=5)
MAX_AGE = timedelta(days=31)
# Words that are routes beside a token, or path segments that browsers resolve away.
RESERVED_TOKENS = frozenset({"global", "server", "database", "cleanup", ".", ".."})
PROTOCOL_ALIASES = {"ss": "shadowsocks", "hy2": "hysteria2", "wg": "wireguard", "socks5": "socks"}

_TOKEN = re.compile(r"[A-Za-z0-9._~@:=+-]{1,255}", re.ASCII)
_PROTOCOL = re.compile(r"[A-Za-z0-9._+-]{1,32}", re.ASCII)
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,64}")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# As written: in another script a name may be longer than its ASCII form, but not by that much.
_MAX_SERVER = 512
_PORTS = "Expected a whole number from 1 to 65535."
_BYTES = f"Expected a whole number from 0 to {MAX_BYTES}."
# For a value of a wrong type; the rules have their own sentences.
_EXPECTED = {
    "port": _PORTS,
    "bytes_uploaded": _BYTES,
    "bytes_downloaded": _BYTES,
    "timestamp": "Expected ISO 8601 with a time zone, or Unix seconds.",
} | dict.fromkeys(("user_token", "server", "protocol", "event_id"), "Expected text.")
# As an escape, and as a character that stands alone.
_HALF_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")
_ERROR_FIELD = re.compile(r"(?: - at `\$\.(\w+)`|required field `(\w+)`)")

Errors = dict[str, list[str]]


class InvalidReport(ValueError):  # noqa: N818  DRF's ValidationError is its answer, this is its reason
    """A report that breaks a rule. ``errors`` names the field, in DRF's shape."""

    def __init__(self, field: str, message: str) -> None:
        self.errors: Errors = {field: [message]}
        super().__init__(message)


class Report(msgspec.Struct, frozen=True):
    """One message about used traffic, normalised. ``moment``: Unix seconds at which it flowed."""

    user_token: str
    server: str
    port: int
    protocol: str
    upload: int
    download: int
    moment: int
    event_id: str = ""


class Decoded(msgspec.Struct, frozen=True):
    """A body taken apart: good reports by their place in it, and errors by theirs."""

    reports: dict[int, Report]
    rejected: dict[int, Errors]
    is_batch: bool


class _Wire(msgspec.Struct):
    user_token: str
    server: str
    port: int | str
    protocol: str
    bytes_uploaded: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)] = 0
    bytes_downloaded: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)] = 0
    event_id: str | None = None
    timestamp: int | float | str | None = None


class _Envelope(msgspec.Struct):
    reports: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_one = msgspec.json.Decoder(_Wire).decode
_decode_many = msgspec.json.Decoder(list[_Wire]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def decode(body: bytes, now: datetime, *, max_age: timedelta = MAX_AGE) -> Decoded:
    """Take a webhook body apart: one object, ``{"reports": [...]}`` or an array.

    Raises InvalidReport for a batch that is empty, too long or no list, and
    msgspec.DecodeError, UnicodeError or RecursionError for what is no JSON at all.
    """
    try:
        return _decoded(body, now, max_age)
    except msgspec.DecodeError:
        if not _HALF_ESCAPE.search(body):
            raise
        return _decoded(_with_whole_characters(body), now, max_age)


def _with_whole_characters(body: bytes) -> bytes:
    """Where half a character is escaped, U+FFFD instead; what is no JSON otherwise comes back as it is.

    JavaScript cuts a text in the midst of an emoji and writes the half that is left. One such
    name must not lose the other reports of a batch.
    """
    try:
        text = json.dumps(json.loads(body.decode()), ensure_ascii=False)
    except ValueError:
        return body
    return _HALF.sub("\ufffd", text).encode()


def _decoded(body: bytes, now: datetime, max_age: timedelta) -> Decoded:
    items = _batch(body)
    if items is None:
        try:
            return Decoded({0: checked(_decode_one(body), now, max_age)}, {}, is_batch=False)
        except (msgspec.ValidationError, InvalidReport) as error:
            return Decoded({}, {0: _errors(error)}, is_batch=False)
    return _decode_batch(items, now, max_age)


def _batch(body: bytes) -> bytes | msgspec.Raw | None:
    if body.lstrip(b" \t\r\n").startswith(b"["):
        return body
    try:
        found = _decode_envelope(body).reports
    except msgspec.ValidationError:
        return None
    return None if found is msgspec.UNSET else found


def _decode_batch(items: bytes | msgspec.Raw, now: datetime, max_age: timedelta) -> Decoded:
    reports: dict[int, Report] = {}
    rejected: dict[int, Errors] = {}
    for index, item in enumerate(_items(items)):
        try:
            wire = item if isinstance(item, _Wire) else _decode_one(item)
            reports[index] = checked(wire, now, max_age)
        except (msgspec.ValidationError, InvalidReport) as error:
            rejected[index] = _errors(error)
    return Decoded(reports, rejected, is_batch=True)


def _items(items: bytes | msgspec.Raw) -> Sequence[_Wire | msgspec.Raw]:
    """All at once when all are of the right types, else each by itself, so that the bad ones can be named."""
    found: Sequence[_Wire | msgspec.Raw]
    try:
        found = _decode_many(items)
    except msgspec.ValidationError:
        try:
            found = _decode_items(items)
        except msgspec.ValidationError:
            raise InvalidReport("reports", "Expected a list of reports.") from None
    if not 1 <= len(found) <= MAX_BATCH:
        raise InvalidReport("reports", f"Expected 1 to {MAX_BATCH} reports, got {len(found)}.")
    return found


def _errors(error: msgspec.ValidationError | InvalidReport) -> Errors:
    if isinstance(error, InvalidReport):
        return error.errors
    found = _ERROR_FIELD.search(str(error))
    field = (found[1] or found[2]) if found else "detail"
    if found and found[2]:
        return {field: ["This field is required."]}
    return {field: [_EXPECTED.get(field, "Expected an object with the fields of a report.")]}


def checked(wire: _Wire, now: datetime, max_age: timedelta) -> Report:
    """The rules that a type can't say; raises InvalidReport."""
    return Report(
        user_token=_token(wire.user_token),
        server=normalised_server(wire.server),
        port=normalised_port(wire.port),
        protocol=normalised_protocol(wire.protocol),
        upload=wire.bytes_uploaded,
        download=wire.bytes_downloaded,
        moment=_moment(wire.timestamp, now, max_age),
        event_id="" if wire.event_id is None else checked_event_id(wire.event_id),
    )


def from_fields(fields: Mapping[str, Any], now: datetime, *, max_age: timedelta) -> Report:
    """A report that came in another way than as JSON, by the same rules; raises InvalidReport."""
    try:
        wire = msgspec.convert(fields, _Wire)
    except msgspec.ValidationError as error:
        field, messages = next(iter(_errors(error).items()))
        raise InvalidReport(field, messages[0]) from None
    return checked(wire, now, max_age)


def is_token(text: str) -> bool:
    """Whether a subscriber may have this token."""
    return _TOKEN.fullmatch(text) is not None and text not in RESERVED_TOKENS


def _token(text: str) -> str:
    if text in RESERVED_TOKENS:
        raise InvalidReport("user_token", "This token is reserved.")
    if not is_token(text):
        raise InvalidReport("user_token", "Expected 1 to 255 characters of A-Z a-z 0-9 . _ ~ @ : = + -")
    return text


def checked_event_id(text: str) -> str:
    if not _EVENT_ID.fullmatch(text):
        raise InvalidReport("event_id", "Expected 1 to 64 visible ASCII characters.")
    return text


def normalised_port(port: int | str) -> int:
    if isinstance(port, str) and _PORT.fullmatch(port):
        port = int(port)
    if isinstance(port, str) or not 1 <= port <= 65535:
        raise InvalidReport("port", _PORTS)
    return port


def normalised_protocol(text: str) -> str:
    if not _PROTOCOL.fullmatch(text):
        raise InvalidReport("protocol", "Expected 1 to 32 characters of a-z 0-9 . _ + -")
    return PROTOCOL_ALIASES.get(text.lower(), text.lower())


def normalised_server(text: str) -> str:
    """Host name in ASCII lower case, IPv4, or IPv6 as RFC 5952 writes it, without brackets."""
    host = _normalised_server(text) if len(text) <= _MAX_SERVER else None
    if host is None:
        raise InvalidReport("server", "Expected a host name, an IPv4 or an IPv6 address.")
    return host


@lru_cache(maxsize=8192)
def _normalised_server(text: str) -> str | None:
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    if ":" in text:
        return _ipv6(text)
    host = (text if text.isascii() else _ascii(text)).lower().removesuffix(".")
    labels = host.split(".")
    if labels[-1].isdigit():
        return _ipv4(host)
    return host if len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) else None


def _ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""


def _ipv4(text: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if address.scope_id:
        return None
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else address.compressed


def _moment(value: float | str | None, now: datetime, max_age: timedelta) -> int:
    """Unix seconds; a clock that runs a little ahead is set back to ours, for traffic cannot have flowed later."""
    seconds = now.timestamp()
    if value is None:
        return int(seconds)
    moment = _unix_seconds(value)
    if moment > seconds + MAX_AHEAD.total_seconds():
        raise InvalidReport("timestamp", "More than 5 minutes ahead of the panel's clock.")
    if moment < seconds - max_age.total_seconds():
        raise InvalidReport("timestamp", f"Older than {max_age.days} days.")
    return int(min(moment, seconds))


def _unix_seconds(value: float | str) -> float:
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise InvalidReport("timestamp", _EXPECTED["timestamp"])


def index_errors(rejected: Mapping[int, Errors]) -> list[dict[str, Any]]:
    """``rejected`` as the answer to a batch lists it."""
    return [{"index": index, "errors": errors} for index, errors in sorted(rejected.items())]

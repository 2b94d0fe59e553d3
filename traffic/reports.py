"""The wire format of the webhook, strictly validated. Does not use Django.

docs/api.md lists the rules of the fields. ``decode`` splits a body into valid and rejected
reports; nothing else in the project reads a report's JSON.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec

from operations import patterns
from operations.hosts import BadHost, normalised_host

MAX_BATCH = 10_000
MAX_BYTES = 2**50
MAX_AHEAD = timedelta(minutes=5)
MAX_AGE = timedelta(days=31)
# Words that are routes in the place of a token, or path segments that browsers remove.
RESERVED_TOKENS = frozenset({"global", "server", "database", "cleanup", ".", ".."})
PROTOCOL_ALIASES = {"ss": "shadowsocks", "hy2": "hysteria2", "wg": "wireguard", "socks5": "socks"}

# Written so that JavaScript reads them alike: the OpenAPI schema quotes them.
TOKEN_PATTERN = r"[A-Za-z0-9._~@:=+-]{1,255}"  # noqa: S105  of whatever token
PROTOCOL_PATTERN = r"[A-Za-z0-9._+-]{1,32}"
EVENT_ID_PATTERN = patterns.IDEMPOTENCY_KEY

_TOKEN = re.compile(TOKEN_PATTERN, re.ASCII)
_PROTOCOL = re.compile(PROTOCOL_PATTERN, re.ASCII)
_EVENT_ID = re.compile(EVENT_ID_PATTERN, re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PORTS = "Expected a whole number from 1 to 65535."
_BYTES = f"Expected a whole number from 0 to {MAX_BYTES}."
# Messages for values of a wrong type; broken rules have their own messages.
_EXPECTED = {
    "port": _PORTS,
    "bytes_uploaded": _BYTES,
    "bytes_downloaded": _BYTES,
    "timestamp": "Expected ISO 8601 with a time zone, or Unix seconds.",
} | dict.fromkeys(("user_token", "server", "protocol", "event_id"), "Expected text.")
# Half of a surrogate pair, as an escape and as a character.
_HALF_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")
_ERROR_FIELD = re.compile(r"(?: - at `\$\.(\w+)`|required field `(\w+)`)")

Errors = dict[str, list[str]]
T = TypeVar("T")


class InvalidReport(ValueError):  # noqa: N818  DRF's ValidationError is its answer, this is its reason
    """A report that breaks a rule. ``errors``: messages by field, as DRF formats them."""

    def __init__(self, field: str, message: str) -> None:
        self.errors: Errors = {field: [message]}
        super().__init__(message)


class Report(msgspec.Struct, frozen=True):
    """One normalised report. ``moment``: Unix seconds when the traffic flowed."""

    user_token: str
    server: str
    port: int
    protocol: str
    upload: int
    download: int
    moment: int
    event_id: str = ""


class Decoded(msgspec.Struct, frozen=True):
    """The content of a body: valid reports and errors, both by index."""

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
    """Decode a webhook body: one object, ``{"reports": [...]}`` or an array.

    Raises InvalidReport for a batch that is empty, too long or not a list, and
    msgspec.DecodeError, UnicodeError or RecursionError for invalid JSON.
    """
    return with_whole_characters(body, lambda whole: _decoded(whole, now, max_age))


def with_whole_characters(body: bytes, decode: Callable[[bytes], T]) -> T:
    """The result of ``decode``. If it fails because of half surrogate pairs, it gets the body without them."""
    try:
        return decode(body)
    except msgspec.DecodeError:
        whole = _whole_characters(body)
        if whole is None:
            raise
        return decode(whole)


def _whole_characters(body: bytes) -> bytes | None:
    """Replace half surrogate pairs by U+FFFD; None where there are none, or where the body is not JSON otherwise.

    JavaScript can cut a text in the middle of an emoji and then writes half of the pair. One such
    name must not reject the other reports of a batch.
    """
    if not _HALF_ESCAPE.search(body):
        return None
    try:
        text = json.dumps(json.loads(body.decode()), ensure_ascii=False)
    except ValueError:
        return None
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
    for index, item in enumerate(_reports(items)):
        try:
            wire = item if isinstance(item, _Wire) else _decode_one(item)
            reports[index] = checked(wire, now, max_age)
        except (msgspec.ValidationError, InvalidReport) as error:
            rejected[index] = _errors(error)
    return Decoded(reports, rejected, is_batch=True)


def _reports(raw: bytes | msgspec.Raw) -> Sequence[_Wire | msgspec.Raw]:
    found = decode_items(raw, _decode_many, InvalidReport("reports", "Expected a list of reports."))
    if not 1 <= len(found) <= MAX_BATCH:
        raise InvalidReport("reports", f"Expected 1 to {MAX_BATCH} reports, got {len(found)}.")
    return found


def decode_items(
    raw: bytes | msgspec.Raw,
    decode_many: Callable[[bytes | msgspec.Raw], Sequence[T]],
    not_a_list: InvalidReport,
) -> Sequence[T | msgspec.Raw]:
    """Decode all items at once if all have the right types, else leave them raw, so that each bad one can be named.

    Raises ``not_a_list`` for anything else than a list.
    """
    try:
        return decode_many(raw)
    except msgspec.ValidationError:
        try:
            return _decode_items(raw)
        except msgspec.ValidationError:
            raise not_a_list from None


def _errors(error: msgspec.ValidationError | InvalidReport) -> Errors:
    return error.errors if isinstance(error, InvalidReport) else field_errors(error, {})


def field_errors(error: msgspec.ValidationError, expected: Mapping[str, str]) -> Errors:
    """Errors for fields of a wrong type and for missing fields. ``expected``: sentences for further fields."""
    found = _ERROR_FIELD.search(str(error))
    field = (found[1] or found[2]) if found else "detail"
    if found and found[2]:
        return {field: ["This field is required."]}
    sentence = expected.get(field) or _EXPECTED.get(field)
    return {field: [sentence or "Expected an object with the fields of a report."]}


def checked(wire: _Wire, now: datetime, max_age: timedelta) -> Report:
    """Apply the rules that types cannot express; raises InvalidReport."""
    return Report(
        user_token=checked_token(wire.user_token),
        server=normalised_server(wire.server),
        port=normalised_port(wire.port),
        protocol=normalised_protocol(wire.protocol),
        upload=wire.bytes_uploaded,
        download=wire.bytes_downloaded,
        moment=checked_moment(wire.timestamp, now, max_age),
        event_id="" if wire.event_id is None else checked_event_id(wire.event_id),
    )


def from_fields(fields: Mapping[str, Any], now: datetime, *, max_age: timedelta) -> Report:
    """A report from another source than JSON, by the same rules; raises InvalidReport."""
    try:
        wire = msgspec.convert(fields, _Wire)
    except msgspec.ValidationError as error:
        field, messages = next(iter(_errors(error).items()))
        raise InvalidReport(field, messages[0]) from None
    return checked(wire, now, max_age)


def is_token(text: str) -> bool:
    """Whether a subscriber may have this token."""
    return _TOKEN.fullmatch(text) is not None and text not in RESERVED_TOKENS


def checked_token(text: str) -> str:
    if is_token(text):
        return text
    if text in RESERVED_TOKENS:
        raise InvalidReport("user_token", "This token is reserved.")
    raise InvalidReport("user_token", "Expected 1 to 255 characters of A-Z a-z 0-9 . _ ~ @ : = + -")


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


@lru_cache(maxsize=1024)
def normalised_protocol(text: str) -> str:
    if not _PROTOCOL.fullmatch(text):
        raise InvalidReport("protocol", "Expected 1 to 32 characters of a-z 0-9 . _ + -")
    return PROTOCOL_ALIASES.get(text.lower(), text.lower())


def normalised_server(text: str) -> str:
    """Host name in ASCII lower case, IPv4, or IPv6 as RFC 5952 writes it, without brackets."""
    try:
        return normalised_host(text)
    except BadHost:
        raise InvalidReport("server", "Expected a host name, an IPv4 or an IPv6 address.") from None


def checked_moment(value: float | str | None, now: datetime, max_age: timedelta) -> int:
    """Unix seconds, at most ``now``: the reporter's clock may be slightly fast, but traffic cannot flow in the future."""
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
    """``rejected`` in the form of the answer to a batch."""
    return [{"index": index, "errors": errors} for index, errors in sorted(rejected.items())]

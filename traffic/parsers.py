"""Bodies: how large, how packed, and what they hold."""

import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import IO, Any

import msgspec
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.parsers import BaseParser

from . import reports
from .conf import conf
from .exceptions import PayloadTooLarge

_GZIP = 16 + zlib.MAX_WBITS
# Each member costs a copy of all that follows, and nobody packs a few megabytes into more.
_MAX_MEMBERS = 100
_MAX_REST = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_PAUSE = 1.0


def read_body(stream: IO[bytes], meta: Mapping[str, Any], limit: int) -> bytes:
    """The body, unpacked; ``limit`` (bytes) holds for it as sent and as unpacked."""
    if int(meta.get("CONTENT_LENGTH") or 0) > limit:
        raise PayloadTooLarge(limit)
    try:
        body = stream.read(limit + 1)
    except OSError:
        raise ParseError("The body ended early.") from None
    if len(body) > limit:
        raise PayloadTooLarge(limit)
    if len(body) < int(meta.get("CONTENT_LENGTH") or 0):
        raise ParseError("The body ended early.")
    match str(meta.get("HTTP_CONTENT_ENCODING", "")).strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _unpacked(body, limit)
        case other:
            raise UnsupportedMediaType(other, "Only gzip is understood as Content-Encoding.")


def read_rest(request: HttpRequest) -> None:
    """Read what a client is still sending that is being refused, up to 16 MiB: it sends all before it reads an answer.

    Without this the server would close the connection on it, and the client would never see why.
    Who pauses for a second is not waited for.
    """
    if connection := request.META.get("gunicorn.socket"):
        connection.settimeout(_PAUSE)
    # A server that ends the input itself says so; then this also reads a body without a length.
    stream = request.META["wsgi.input"] if request.META.get("wsgi.input_terminated") else request
    try:
        for _ in range(_MAX_REST // _CHUNK):
            if not stream.read(_CHUNK):
                return
    except Exception:  # noqa: BLE001  gone away, paused, or malformed in the server's own eyes: it is refused anyway
        return
    finally:
        if connection:
            connection.settimeout(None)


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacked = b""
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(body, limit + 1 - len(unpacked))
        except zlib.error:
            raise ParseError("The body is not gzip.") from None
        if len(unpacked) > limit:
            raise PayloadTooLarge(limit)
        if not member.eof:
            raise ParseError("The gzip body ended early.")
        body = member.unused_data
        if not body:
            return unpacked
    raise ParseError("The gzip body has too many members.")


class JSONParser(BaseParser):
    """Any JSON of up to 64 KiB."""

    media_type = "application/json"
    limit = 64 * 1024

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        body = read_body(stream, (parser_context or {})["request"].META, self.limit)
        try:
            return self.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise ParseError("The body is not valid JSON.") from None

    def decode(self, body: bytes) -> Any:
        return msgspec.json.decode(body)


class ReportParser(JSONParser):
    """Reports of up to 4 MiB, into ``reports.Decoded``."""

    limit = 4 * 1024 * 1024

    def decode(self, body: bytes) -> reports.Decoded:
        days = conf.retention_days
        max_age = min(reports.MAX_AGE, timedelta(days=days)) if days else reports.MAX_AGE
        try:
            return reports.decode(body, timezone.now(), max_age=max_age)
        except reports.InvalidReport as error:
            raise ValidationError(error.errors) from None

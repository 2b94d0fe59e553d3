"""Request bodies: size limit, decompression and JSON."""

import codecs
import zlib
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from django.http import HttpRequest
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from .exceptions import PayloadTooLarge

_GZIP = 16 + zlib.MAX_WBITS
# Each member costs a copy of the remaining data, and no real client uses more for a few megabytes.
_MAX_MEMBERS = 100
_MAX_REST = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_PAUSE = 1.0


def read_body(stream: IO[bytes], meta: Mapping[str, Any], limit: int) -> bytes:
    """The decompressed body. ``limit`` (bytes) applies before and after decompression."""
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
    """Read up to 16 MiB of a refused request, because a client sends everything before it reads the response.

    Otherwise the server would close the connection, and the client would never see the reason.
    Stop if the client pauses for a second.
    """
    if connection := request.META.get("gunicorn.socket"):
        connection.settimeout(_PAUSE)
    # If the server terminates the input itself, a body without a length can be read too.
    stream = request.META["wsgi.input"] if request.META.get("wsgi.input_terminated") else request
    try:
        for _ in range(_MAX_REST // _CHUNK):
            if not stream.read(_CHUNK):
                return
    except Exception:  # noqa: BLE001  the client is gone, paused or sent garbage: the request is refused anyway
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

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = read_body(stream, (parser_context or {})["request"].META, self.limit)
        # Windows programs write a byte order mark, which is not part of the JSON (RFC 8259, 8.1).
        body = body.removeprefix(codecs.BOM_UTF8)
        try:
            return self.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise ParseError("The body is not valid JSON.") from None

    def decode(self, body: bytes) -> Any:
        return msgspec.json.decode(body)

"""Decompression of gzip and deflate with a limit on the result. Bytes that do not belong to the body are an error."""

import zlib
from collections.abc import Iterable

from .errors import OutboundError

# Each member of a gzip body costs a copy of the remaining data.
_MAX_MEMBERS = 2000
_GZIP = b"\x1f\x8b"
# Existing (IANA) and historical codings. Any other word in Content-Encoding is ignored.
_CODINGS = frozenset({
    "gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "aes128gcm",
    "pack200-gzip", "bzip2", "x-bzip2", "lzma", "xz", "lz4", "sdch",
})  # fmt: skip
_UNDERSTOOD = frozenset({"", "gzip", "x-gzip", "deflate"})


def coding_of(content_encoding: Iterable[str]) -> str:
    """The coding of the body, or empty; raises OutboundError for a coding that was not asked for."""
    # If two servers on the way name the same coding, it was applied once.
    lines = dict.fromkeys(line.lower() for line in content_encoding)
    words = [word.partition(";")[0].strip() for line in lines for word in line.split(",")]
    codings = [word for word in words if word in _CODINGS]
    if len(codings) > 1 or not _UNDERSTOOD.issuperset(codings):
        raise OutboundError("bad_encoding")
    return codings[0] if codings else ""


class Unpacker:
    """Decompresses pieces of a body to at most ``limit`` bytes."""

    def __init__(self, coding: str, limit: int) -> None:
        self._coding = coding
        self._limit = limit
        self._first: bytes | None = b""
        self._found = bytearray()
        self._members = 0
        self._zlib: zlib._Decompress | None = None

    def feed(self, data: bytes) -> None:
        if self._first is not None:
            self._first += data
            if len(self._first) < len(_GZIP):
                return
            data = self._begin(self._first)
        self._take(data)

    def finish(self) -> bytes:
        if self._first:
            self._take(self._begin(self._first))
        if self._zlib and not self._zlib.eof:
            raise OutboundError("bad_encoding")
        return bytes(self._found)

    def _begin(self, first: bytes) -> bytes:
        """Detect the coding by the first two bytes, which are more reliable than the header. No list begins like gzip."""
        self._first = None
        is_gzip = first.startswith(_GZIP)
        if is_gzip or self._coding:
            is_zlib = first[0] & 0x0F == 8 and int.from_bytes(first[:2]) % 31 == 0
            # Many servers omit the zlib header.
            is_raw = self._coding == "deflate" and not is_gzip and not is_zlib
            self._zlib = zlib.decompressobj(-15 if is_raw else 47)
        return first

    def _take(self, data: bytes) -> None:
        if self._zlib is None:
            self._found += data
        while self._zlib and data:
            data = self._unpacked(data)
        if len(self._found) > self._limit:
            raise OutboundError("too_large")

    def _unpacked(self, data: bytes) -> bytes:
        """Decompress up to the end of one gzip member; return the data after it."""
        assert self._zlib is not None  # noqa: S101  the caller has looked
        if self._zlib.eof:
            # gzip pads with zeros, and scripts print a newline after their output.
            data = data.lstrip(b"\0 \t\r\n")
            if not data:
                return b""
            self._next_member()
        try:
            self._found += self._zlib.decompress(data, self._limit + 1 - len(self._found))
        except zlib.error:
            raise OutboundError("bad_encoding") from None
        if len(self._found) > self._limit:
            raise OutboundError("too_large")
        return self._zlib.unused_data

    def _next_member(self) -> None:
        self._members += 1
        if self._members >= _MAX_MEMBERS:
            raise OutboundError("bad_encoding")
        self._zlib = zlib.decompressobj(31)

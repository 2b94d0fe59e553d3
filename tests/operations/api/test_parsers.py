import gzip
import io
import json
import zlib
from typing import Any

import pytest
from django.http import HttpRequest
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType

from operations.api.exceptions import PayloadTooLarge
from operations.api.parsers import JSONParser, read_body, read_rest
from tests.traffic.examples import wire
from traffic.intake.parsers import ReportParser

LIMIT = 1000


def body_of(sent: bytes, encoding: str = "", length: int | None = None) -> bytes:
    meta = {
        "CONTENT_LENGTH": str(len(sent) if length is None else length),
        "HTTP_CONTENT_ENCODING": encoding,
    }
    return read_body(io.BytesIO(sent), meta, LIMIT)


@pytest.mark.parametrize("encoding", ["", "identity", " IDENTITY "])
def test_it_reads_a_plain_body_up_to_its_limit(encoding: str) -> None:
    assert body_of(b"x" * LIMIT, encoding) == b"x" * LIMIT
    with pytest.raises(PayloadTooLarge):
        body_of(b"x" * (LIMIT + 1), encoding)


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    stream = io.BytesIO(b"x")
    with pytest.raises(PayloadTooLarge):
        read_body(stream, {"CONTENT_LENGTH": str(LIMIT + 1)}, LIMIT)
    assert stream.tell() == 0


def test_a_body_that_says_nothing_of_its_length_is_read_up_to_the_limit() -> None:
    assert read_body(io.BytesIO(b"x" * LIMIT), {}, LIMIT) == b"x" * LIMIT
    with pytest.raises(PayloadTooLarge):
        read_body(io.BytesIO(b"x" * (LIMIT + 1)), {"CONTENT_LENGTH": ""}, LIMIT)


def test_it_refuses_a_body_that_ends_early() -> None:
    with pytest.raises(ParseError, match="ended early"):
        body_of(b"x" * 5, length=6)


def test_it_refuses_a_body_that_cannot_be_read() -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError

    with pytest.raises(ParseError, match="ended early"):
        read_body(Broken(), {}, LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP "])
def test_it_unpacks_gzip_up_to_its_limit(encoding: str) -> None:
    assert body_of(gzip.compress(b"x" * LIMIT), encoding) == b"x" * LIMIT
    with pytest.raises(PayloadTooLarge):
        body_of(gzip.compress(b"x" * (LIMIT + 1)), encoding)


def test_the_limit_holds_for_the_packed_body_too() -> None:
    # Stored without compression, so it is larger packed than unpacked.
    packer = zlib.compressobj(0, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = packer.compress(b"x" * LIMIT) + packer.flush()
    assert len(packed) > LIMIT
    with pytest.raises(PayloadTooLarge):
        body_of(packed, "gzip")


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 10_000_000, mtime=0), mtime=0)
    inner = gzip.decompress(bomb)
    parser_limit = len(inner)
    with pytest.raises(PayloadTooLarge):
        read_body(io.BytesIO(inner), {"HTTP_CONTENT_ENCODING": "gzip"}, parser_limit)


def test_it_unpacks_all_members_and_counts_them_together() -> None:
    assert (
        body_of(gzip.compress(b"a" * 400) + gzip.compress(b"b" * 600), "gzip")
        == b"a" * 400 + b"b" * 600
    )
    with pytest.raises(PayloadTooLarge):
        body_of(gzip.compress(b"a" * 400) + gzip.compress(b"b" * 601), "gzip")


def test_it_refuses_more_members_than_anybody_needs() -> None:
    empty = gzip.compress(b"")

    def unpacked(members: int) -> bytes:
        body = gzip.compress(b"{}") + empty * (members - 1)
        return read_body(io.BytesIO(body), {"HTTP_CONTENT_ENCODING": "gzip"}, 100_000)

    assert unpacked(100) == b"{}"
    with pytest.raises(ParseError, match="too many members"):
        unpacked(101)


@pytest.mark.parametrize("cut", [1, 5, 9, 12])
def test_it_refuses_gzip_that_ends_early(cut: int) -> None:
    with pytest.raises(ParseError):
        body_of(gzip.compress(b'{"a": 1}')[:-cut], "gzip")


@pytest.mark.parametrize(
    "body", [b"{}", b"\x1f\x8b", b"", gzip.compress(b"{}", mtime=0) + b"x", zlib.compress(b"{}")]
)
def test_it_refuses_what_is_no_gzip(body: bytes) -> None:
    with pytest.raises(ParseError):
        body_of(body, "gzip")


def test_it_refuses_gzip_with_a_wrong_checksum() -> None:
    packed = bytearray(gzip.compress(b"{}"))
    packed[-8] ^= 1
    with pytest.raises(ParseError):
        body_of(bytes(packed), "gzip")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "x"])
def test_it_refuses_other_encodings(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        body_of(b"{}", encoding)


def test_the_webhook_takes_4_mib_and_everything_else_64_kib() -> None:
    assert (ReportParser.limit, JSONParser.limit) == (4 * 1024 * 1024, 64 * 1024)


def test_invalid_json_is_refused_without_internal_details() -> None:
    class Asked:
        META = {"CONTENT_LENGTH": ""}

    for body in (b"", b"{", b'"\xff"', b"[" * 10_000):
        with pytest.raises(APIException) as refusal:
            JSONParser().parse(io.BytesIO(body), parser_context={"request": Asked()})
        assert refusal.value.detail == "The body is not valid JSON."


def test_a_byte_order_mark_before_json_is_no_part_of_it() -> None:
    class Asked:
        META = {"CONTENT_LENGTH": ""}

    def parsed(parser: JSONParser, body: bytes) -> Any:
        return parser.parse(io.BytesIO(body), parser_context={"request": Asked()})

    assert parsed(JSONParser(), b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    report = json.dumps(wire()).encode()
    for body in (report, b"[%s]" % report, b'{"reports": [%s]}' % report):
        found = parsed(ReportParser(), b"\xef\xbb\xbf" + body)
        assert [each.server for each in found.reports.values()] == ["vpn.example.com"]
    with pytest.raises(APIException):
        parsed(JSONParser(), b"\xef\xbb\xbf" * 2 + b"{}")


def refused(stream: io.BytesIO, *, terminated: bool) -> HttpRequest:
    request = HttpRequest()
    request.META |= {"wsgi.input": stream, "wsgi.input_terminated": terminated}
    request._stream = io.BytesIO(b"")
    return request


def test_the_rest_of_a_refused_request_is_read_up_to_16_mib() -> None:
    for size, left in ((0, 0), (5, 0), (16 * 1024 * 1024, 0), (17 * 1024 * 1024, 1024 * 1024)):
        stream = io.BytesIO(b" " * size)
        read_rest(refused(stream, terminated=True))
        assert len(stream.read()) == left


def test_an_input_that_does_not_end_by_itself_is_read_by_its_length() -> None:
    stream = io.BytesIO(b"of the next request")
    read_rest(refused(stream, terminated=False))
    assert stream.tell() == 0


def test_a_refused_client_that_has_gone_away_is_no_error() -> None:
    class Gone(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError

    read_rest(refused(Gone(), terminated=True))

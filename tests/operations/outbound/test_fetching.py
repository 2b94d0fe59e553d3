"""Fetching from hostile servers, with bounds on time, size and place. The result is always a response or a code."""

import asyncio
import gzip
import ssl
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.outbound import dial, fetching, unpacking
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits
from operations.outbound.fetching import Asked, Fetched
from operations.outbound.url_policy import Policy
from tests.subscriptions.hostile import PUBLIC, Internet, answer, raw

BODY = b"trojan://pw@a.example.com:1#A\n"
OPEN = Policy(http=True)
# Long enough for a busy machine and short enough for a test. A limit under test is far below these.
PATIENT = Limits(connect=20, gap=20, total=20)
MEBIBYTE = 2**20


def run(
    play: Callable[[Internet], Awaitable[Any]],
    url: str = "http://hostile.example/sub",
    limits: Limits = PATIENT,
    policy: Policy = OPEN,
    **asked: str,
) -> tuple[Fetched | str, Internet]:
    """The result of fetching, or the code of its failure, after ``play`` has set up the servers."""

    async def main() -> tuple[Fetched | str, Internet]:
        internet = Internet()
        await play(internet)
        try:
            return await fetching.fetch(
                Asked(url, policy, "v2rayNG/1", header=b"subscription-userinfo", **asked),
                limits,
                internet.network,
            ), internet
        except OutboundError as error:
            return error.code, internet
        finally:
            await internet.close()

    return asyncio.run(main())


def got(behaviour: Any, **options: Any) -> Fetched | str:
    return run(lambda internet: internet.serve("hostile.example", behaviour), **options)[0]


def body_of(found: Fetched | str) -> bytes | None:
    assert isinstance(found, Fetched), found
    return found.body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])


HEAD = b"HTTP/1.1 200 OK\r\n"
GZIP = b"Content-Encoding: gzip\r\n\r\n"


class TestAnswers:
    def test_a_plain_answer_comes_with_what_it_says_of_itself(self) -> None:
        said = {
            "ETag": '"1"',
            "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
            "Subscription_Userinfo": "total=1",
        }
        found = got(answer(BODY, **said))
        assert found == Fetched(BODY, '"1"', "Mon, 01 Jan 2024 00:00:00 GMT", "total=1")

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP", "identity"])
    def test_compressed_answers_are_unpacked(self, encoding: str) -> None:
        packed = {"deflate": zlib.compress(BODY), "identity": BODY}.get(
            encoding.lower(), gzip.compress(BODY)
        )
        assert body_of(got(answer(packed, Content_Encoding=encoding))) == BODY

    def test_deflate_without_its_header_is_unpacked(self) -> None:
        packer = zlib.compressobj(wbits=-15)
        assert (
            body_of(got(answer(packer.compress(BODY) + packer.flush(), Content_Encoding="deflate")))
            == BODY
        )

    def test_chunks_are_put_together(self) -> None:
        assert (
            body_of(got(raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunked(BODY, BODY))))
            == BODY * 2
        )

    def test_a_proxy_on_the_way_may_have_changed_it(self) -> None:
        assert body_of(got(answer(BODY, "203 Non-Authoritative Information"))) == BODY

    def test_an_answer_that_ends_with_the_connection_is_taken(self) -> None:
        assert body_of(got(raw(HEAD + b"\r\n", BODY))) == BODY

    @pytest.mark.parametrize("length", [1, len(BODY) - 1])
    @pytest.mark.parametrize("encoding", [b"", b"Content-Encoding: gzip\r\n"])
    def test_a_length_that_counts_characters_cuts_nothing_off(
        self, length: int, encoding: bytes
    ) -> None:
        body = gzip.compress(BODY) if encoding else BODY
        head = HEAD + encoding + b"Content-Length: %d\r\n\r\n" % length
        assert body_of(got(raw(head + body))) == BODY
        assert body_of(got(raw(head + body[:-3], body[-3:], pause=0.05))) == BODY

    def test_bytes_after_the_last_chunk_are_not_part_of_the_list(self) -> None:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        assert body_of(got(raw(head + chunked(BODY) + b"more"))) == BODY

    def test_an_empty_body_is_no_failure_here(self) -> None:
        assert body_of(got(answer(b"", Content_Encoding="gzip"))) == b""

    def test_an_early_hint_is_passed_over(self) -> None:
        assert body_of(got(raw(b"HTTP/1.1 103 Early Hints\r\n\r\n", HEAD + b"\r\n", BODY))) == BODY

    @pytest.mark.parametrize(
        "encoding",
        ["none", "utf-8", "UTF-8", "chunked", "aws-chunked", "x", "identity, none", "", ",", "text/plain"],
    )  # fmt: skip
    def test_a_word_that_is_no_coding_says_nothing(self, encoding: str) -> None:
        assert body_of(got(answer(BODY, Content_Encoding=encoding))) == BODY

    @pytest.mark.parametrize(
        "encoding", ["gzip, identity", "identity,gzip", "none, gzip", "GZIP;q=1", "gzip, chunked"]
    )
    def test_gzip_beside_words_that_say_nothing_is_unpacked(self, encoding: str) -> None:
        assert body_of(got(answer(gzip.compress(BODY), Content_Encoding=encoding))) == BODY

    @pytest.mark.parametrize("more", [b"gzip", b"identity", b"none", b""])
    def test_a_coding_in_a_second_header_counts_once(self, more: bytes) -> None:
        packed = gzip.compress(BODY)
        head = HEAD + b"Content-Encoding: " + more + b"\r\nContent-Encoding: gzip\r\n\r\n"
        assert body_of(got(raw(head, packed))) == BODY

    @pytest.mark.parametrize("encoding", [None, "identity", "none", "deflate"])
    @pytest.mark.parametrize("size", [1, 2, 3, 65536])
    def test_a_body_that_begins_like_gzip_is_unpacked_whatever_the_header_says(
        self, encoding: str | None, size: int
    ) -> None:
        packed = gzip.compress(BODY)
        said = f"Content-Encoding: {encoding}\r\n".encode() if encoding else b""
        pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert body_of(got(raw(HEAD + said + b"\r\n", *pieces, pause=0.0001))) == BODY

    @given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
    def test_however_a_body_is_cut_into_pieces_it_is_the_same(
        self, parts: list[bytes], data: st.DataObject
    ) -> None:
        packed = b"".join(map(gzip.compress, parts))
        coding = data.draw(st.sampled_from(["", "gzip", "deflate"]))
        unpacker = unpacking.Unpacker(coding, MEBIBYTE)
        while packed:
            size = data.draw(st.integers(1, len(packed)))
            unpacker.feed(packed[:size])
            packed = packed[size:]
        assert unpacker.finish() == b"".join(parts)

    def test_a_body_of_one_byte_is_no_gzip(self) -> None:
        assert body_of(got(answer(b"\x1f"))) == b"\x1f"

    @pytest.mark.parametrize("encoding", [None, "gzip"])
    @pytest.mark.parametrize("rest", [b"", bytes(512), b"\r\n"], ids=["", "padding", "line end"])
    @pytest.mark.parametrize("size", [7, 65536])
    def test_every_member_of_gzip_is_read(
        self, encoding: str | None, rest: bytes, size: int
    ) -> None:
        packed = b"".join(map(gzip.compress, [BODY, b"", BODY * 50, BODY])) + rest
        said = f"Content-Encoding: {encoding}\r\n".encode() if encoding else b""
        pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
        found = got(raw(HEAD + said + b"\r\n", *pieces, pause=0.0001))
        assert body_of(found) == BODY * 52

    def test_the_charset_that_the_server_names_comes_along(self) -> None:
        for said, charset in (
            ("text/plain; charset=gbk", "gbk"),
            ('text/plain;Charset = "GB2312"; x=y', "GB2312"),
            ("charset=koi8-r", "koi8-r"),
            ("text/plain", ""),
            ("text/plain; charset=../../etc", ".."),
        ):
            found = got(answer(BODY, Content_Type=said))
            assert isinstance(found, Fetched)
            assert found.charset == charset


class TestRequests:
    def test_it_says_who_asks_and_what_it_has(self) -> None:
        _, internet = run(
            lambda net: net.serve("hostile.example", answer(BODY)),
            etag='"1"',
            last_modified="Mon, 01 Jan 2024 00:00:00 GMT",
        )
        lines = internet.requests[0].decode().split("\r\n")
        assert lines[0] == "GET /sub HTTP/1.1"
        assert {
            "Host: hostile.example",
            "User-Agent: v2rayNG/1",
            "Accept-Encoding: gzip, deflate",
        } <= set(lines)
        assert {'If-None-Match: "1"', "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"} <= set(
            lines
        )

    def test_without_a_copy_it_asks_for_all(self) -> None:
        _, internet = run(lambda net: net.serve("hostile.example", answer(BODY)))
        assert b"If-" not in internet.requests[0]

    def test_a_304_says_that_the_copy_is_right(self) -> None:
        found = got(
            answer(status="304 Not Modified", Content_Length=None, Subscription_Userinfo="total=2"),
            etag='"1"',
        )
        assert found == Fetched(None, '"1"', "", "total=2")

    def test_a_304_that_nobody_asked_for_is_a_failure(self) -> None:
        assert got(answer(status="304 Not Modified", Content_Length=None)) == "http_304"

    def test_no_proxy_of_the_environment_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert body_of(got(answer(BODY))) == BODY


class TestRefusals:
    @pytest.mark.parametrize(
        "status",
        ["204 No Content", "206 Partial", "401 No", "403 No", "404 No", "500 Oops", "503 Later"],
    )
    def test_another_status_is_a_failure(self, status: str) -> None:
        assert got(answer(b"", status)) == f"http_{status[:3]}"

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("120", 120), ("0", 0), ("999999999999", 86_400), ("soon", None), ("", None), ("-5", None),
         ("Mon, 01 Jan 2024 00:00:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400)],
    )  # fmt: skip
    def test_retry_after_is_read_as_a_number_and_as_a_date(
        self, text: str, seconds: int | None
    ) -> None:
        async def main() -> int | None:
            internet = Internet()
            await internet.serve("hostile.example", answer(b"", "429 Too Many", Retry_After=text))
            with pytest.raises(OutboundError) as caught:
                await fetching.fetch(
                    Asked("http://hostile.example/", OPEN, "x"), PATIENT, internet.network
                )
            await internet.close()
            return caught.value.retry_after

        assert asyncio.run(main()) == seconds

    @pytest.mark.parametrize(
        "reply",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x16\x03\x01\x02\x00",
            b"HTTP/1.1 abc\r\n\r\n",
            HEAD + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n" + BODY,
            HEAD + b"Content-Length: -1\r\n\r\n",
            HEAD + b"Content-Length: 1000\r\n\r\n" + BODY,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
            HEAD + b"No colon\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
            b"",
        ],
    )
    def test_invalid_http_is_refused(self, reply: bytes) -> None:
        assert got(raw(reply)) in {"bad_response", "connection"}

    @pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,deflate", "br, x"])
    def test_an_encoding_that_was_not_asked_for_is_refused(self, encoding: str) -> None:
        assert (
            got(answer(gzip.compress(gzip.compress(BODY)), Content_Encoding=encoding))
            == "bad_encoding"
        )

    @pytest.mark.parametrize(
        "packed",
        [BODY, gzip.compress(BODY)[:-9], gzip.compress(BODY) + b"rest", gzip.compress(BODY) * 2 + b"\x1f\x8b",
         gzip.compress(BODY) + gzip.compress(BODY)[:-1], b"\x1f\x8b\x08"],
        # Not the bytes themselves, which contain the time of compression.
        ids=["plain", "cut", "followed", "a third begun", "second cut", "begun"],
    )  # fmt: skip
    def test_broken_compression_is_refused(self, packed: bytes) -> None:
        assert got(answer(packed, Content_Encoding="gzip")) == "bad_encoding"

    def test_nothing_listens_is_a_code(self) -> None:
        async def play(internet: Internet) -> None:
            internet.names["hostile.example"] = [PUBLIC]

        assert run(play)[0] == "connection"

    def test_an_unknown_name_is_a_code(self) -> None:
        async def play(internet: Internet) -> None:
            return

        assert run(play)[0] == "dns"

    def test_a_refused_url_is_a_code_and_nothing_is_dialled(self) -> None:
        found, internet = run(
            lambda net: net.serve("hostile.example", answer(BODY)), policy=Policy()
        )
        assert (found, internet.dialled) == ("http", [])


class TestBounds:
    def test_a_bomb_is_refused_without_being_unpacked(self) -> None:
        bomb = gzip.compress(bytes(200 * MEBIBYTE), 1)
        tracemalloc.start()
        found = got(
            answer(bomb, Content_Encoding="gzip"),
            limits=Limits(connect=20, gap=20, total=20, body=2 * MEBIBYTE),
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found == "too_large"
        assert peak < 12 * MEBIBYTE

    def test_a_bomb_in_a_bomb_stays_packed(self) -> None:
        inner = gzip.compress(bytes(20 * MEBIBYTE))
        assert body_of(got(answer(gzip.compress(inner), Content_Encoding="gzip"))) == inner

    def test_a_bomb_in_many_members_is_refused(self) -> None:
        limits = Limits(connect=20, gap=20, total=20, body=2 * MEBIBYTE)
        bomb = gzip.compress(bytes(MEBIBYTE)) * 3
        assert got(answer(bomb), limits=limits) == "too_large"

    @pytest.mark.parametrize("count", [2000, 2001])
    def test_gzip_has_2000_members_at_most(self, count: int) -> None:
        found = got(answer(gzip.compress(b"x") * count, Content_Encoding="gzip"))
        assert found == "bad_encoding" if count > 2000 else body_of(found) == b"x" * count

    @pytest.mark.parametrize("size", [1000, 1001])
    def test_a_body_may_be_as_large_as_the_limit_and_no_larger(self, size: int) -> None:
        for packed, encoding in ((b"x" * size, "identity"), (gzip.compress(b"x" * size), "gzip")):
            found = got(
                answer(packed, Content_Encoding=encoding),
                limits=Limits(connect=20, gap=20, total=20, body=1000),
            )
            assert found == "too_large" if size > 1000 else body_of(found) == b"x" * size

    def test_a_body_without_end_is_refused(self) -> None:
        limits = Limits(connect=20, gap=20, total=20, body=MEBIBYTE)
        assert (
            got(raw(HEAD + b"\r\n", b"x" * 65536, pause=0.000001, forever=True), limits=limits)
            == "too_large"
        )

    def test_endless_data_after_the_length_is_refused(self) -> None:
        limits = Limits(connect=20, gap=20, total=20, body=MEBIBYTE)
        head = HEAD + b"Content-Length: 1\r\n\r\nxx"
        assert (
            got(raw(head, b"x" * 65536, pause=0.000001, forever=True), limits=limits) == "too_large"
        )

    def test_headers_without_end_are_refused(self) -> None:
        found = got(raw(HEAD, b"X-Filler: " + b"x" * 8000 + b"\r\n", pause=0.000001, forever=True))
        assert found == "bad_response"

    def test_a_hundred_headers_are_enough(self) -> None:
        many = b"".join(b"X-%d: x\r\n" % number for number in range(101))
        assert got(raw(HEAD + many + b"\r\n" + BODY)) == "bad_response"

    def test_early_hints_without_end_are_refused(self) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000
        assert got(raw(hints, pause=0.000001, forever=True)) == "bad_response"

    def test_chunks_of_one_byte_without_end_are_refused(self) -> None:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        assert got(raw(head, b"1\r\nx\r\n" * 5000, pause=0.000001, forever=True)) == "bad_response"

    def test_a_drip_ends_when_the_time_is_over(self) -> None:
        begun = time.monotonic()
        found = got(
            raw(HEAD + b"\r\n", b"x", pause=0.05, forever=True),
            limits=Limits(connect=20, gap=20, total=0.5),
        )
        assert found == "timeout"
        assert time.monotonic() - begun < 15

    def test_a_drip_of_headers_ends_as_well(self) -> None:
        limits = Limits(connect=20, gap=20, total=0.5)
        assert got(raw(HEAD, b"X", pause=0.05, forever=True), limits=limits) == "timeout"

    def test_silence_ends_after_the_gap(self) -> None:
        assert (
            got(raw(HEAD, forever=True), limits=Limits(connect=20, gap=0.2, total=20)) == "stalled"
        )

    def test_a_connection_that_never_comes_about_ends(self) -> None:
        async def main() -> str:
            async def never(*_: Any) -> Any:
                await asyncio.Event().wait()

            async def found(*_: Any) -> list[str]:
                return [PUBLIC]

            with pytest.raises(OutboundError) as caught:
                await fetching.fetch(
                    Asked("http://hostile.example/", OPEN, "x"),
                    Limits(connect=0.1, gap=20, total=20),
                    Network(found, never),
                )
            return caught.value.code

        assert asyncio.run(main()) == "connect_timeout"

    def test_a_resolver_that_never_answers_ends(self) -> None:
        async def main() -> str:
            async def never(*_: Any) -> Any:
                await asyncio.Event().wait()

            with pytest.raises(OutboundError) as caught:
                await fetching.fetch(
                    Asked("http://hostile.example/", OPEN, "x"),
                    Limits(connect=20, gap=20, total=0.1),
                    Network(never, never),
                )
            return caught.value.code

        assert asyncio.run(main()) == "timeout"


class TestPlaces:
    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
    )
    def test_a_name_that_leads_inside_is_refused_and_nothing_is_dialled(self, address: str) -> None:
        async def play(internet: Internet) -> None:
            internet.names["hostile.example"] = [address]

        found, internet = run(play)
        assert (found, internet.dialled) == ("private_address", [])

    def test_one_private_address_among_public_ones_is_enough_to_refuse(self) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve("hostile.example", answer(BODY))
            internet.names["hostile.example"] += ["127.0.0.1"]

        found, internet = run(play)
        assert (found, internet.dialled) == ("private_address", [])

    def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_dialled(self) -> None:
        """A second lookup could find another address (DNS rebinding)."""

        async def main() -> tuple[list[str], list[str]]:
            internet = Internet()
            await internet.serve("hostile.example", answer(BODY))
            lookups: list[str] = []

            async def rebinding(host: str, port: int) -> list[str]:
                lookups.append(host)
                return [PUBLIC] if len(lookups) == 1 else ["127.0.0.1"]

            await fetching.fetch(
                Asked("http://hostile.example/", OPEN, "x"),
                PATIENT,
                Network(rebinding, internet.connect),
            )
            await internet.close()
            return lookups, internet.dialled

        assert asyncio.run(main()) == (["hostile.example"], [PUBLIC])

    def test_the_next_address_is_tried_when_one_does_not_answer(self) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve("hostile.example", answer(BODY))
            internet.names["hostile.example"] = ["1.1.1.1", PUBLIC]

        found, internet = run(play)
        assert body_of(found) == BODY
        assert internet.dialled == ["1.1.1.1", PUBLIC]

    @pytest.mark.parametrize(
        "location",
        [
            "http://127.0.0.1/",
            "http://inside.example/",
            "http://[::1]/",
            "http://2130706433/",
            "https://0x7f.1/",
        ],
    )
    def test_a_redirect_inside_is_refused_and_nothing_is_dialled_there(self, location: str) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve("hostile.example", answer(b"", "302 Found", Location=location))
            internet.names["inside.example"] = ["127.0.0.1"]

        found, internet = run(play)
        assert found in {"private_address", "ip_literal", "bad_host"}
        assert internet.dialled == [PUBLIC]

    def test_a_redirect_elsewhere_is_followed(self) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve(
                "hostile.example", answer(b"", "301 Moved", Location="http://good.example/x?y")
            )
            await internet.serve("good.example", answer(BODY), "1.1.1.1")

        found, internet = run(play)
        assert body_of(found) == BODY
        assert internet.requests[1].startswith(b"GET /x?y ")
        assert b"Host: good.example" in internet.requests[1]

    @pytest.mark.parametrize(("hops", "code"), [(3, ""), (4, "too_many_redirects")])
    def test_three_redirects_are_followed_and_no_fourth(self, hops: int, code: str) -> None:
        async def behaviour(request: bytes, writer: asyncio.StreamWriter) -> None:
            number = int(request.split(b" ")[1].removeprefix(b"/"))
            reply = answer(b"", "302 Found", Location=f"/{number - 1}") if number else answer(BODY)
            await reply(request, writer)

        found = got(behaviour, url=f"http://hostile.example/{hops}")
        assert found == code if code else body_of(found) == BODY

    @pytest.mark.parametrize(
        ("location", "target"),
        [
            (b"/a b?c=d e", b"/a%20b?c=d%20e"),
            (b" /x ", b"/x"),
            ("/подписка?имя=я".encode(), b"/%D0%BF%D0%BE%D0%B4%D0%BF%D0%B8%D1%81%D0%BA%D0%B0?%D0%B8%D0%BC%D1%8F=%D1%8F"),
            (b'/"<>^`{|}', b"/%22%3C%3E%5E%60%7B%7C%7D"),
            (b"/a%20b", b"/a%20b"),
            (b"?q=1#top", b"/sub?q=1"),
            ("http://пример.example/x".encode(), b"/x"),
        ],
    )  # fmt: skip
    def test_characters_not_allowed_in_a_location_are_escaped(
        self, location: bytes, target: bytes
    ) -> None:
        async def play(internet: Internet) -> None:
            async def behaviour(request: bytes, writer: asyncio.StreamWriter) -> None:
                first = raw(
                    b"HTTP/1.1 302 Found\r\nLocation: "
                    + location
                    + b"\r\nContent-Length: 0\r\n\r\n"
                )
                await (answer(BODY) if len(internet.requests) > 1 else first)(request, writer)

            await internet.serve("hostile.example", behaviour)
            await internet.serve("xn--e1afmkfd.example", behaviour)

        found, internet = run(play)
        assert body_of(found) == BODY
        assert internet.requests[1].split(b" ")[1] == target

    @pytest.mark.parametrize(
        "location",
        ["file:///etc/passwd", "hiddify://import/http://good.example/", "HTTPX://good.example/"],
    )  # fmt: skip
    def test_a_redirect_to_another_scheme_is_refused(self, location: str) -> None:
        assert got(answer(b"", "302 Found", Location=location)) in {"bad_scheme", "bad_url"}

    def test_credentials_are_not_sent_to_another_host(self) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve(
                "hostile.example", answer(b"", "302 Found", Location="http://good.example/")
            )
            await internet.serve("good.example", answer(BODY), "1.1.1.1")

        policy = Policy(http=True, credentials=True)
        _, internet = run(play, url="http://user:secret@hostile.example/", policy=policy)
        assert b"Authorization: Basic" in internet.requests[0]
        assert b"Authorization" not in internet.requests[1]

    def test_a_private_source_that_is_allowed_is_fetched(self) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve("nas.lan", answer(BODY), "10.0.0.5")

        assert (
            body_of(run(play, url="http://nas.lan:3000/", policy=Policy(private=True))[0]) == BODY
        )

    def test_a_private_source_may_not_lead_to_another_private_place(self) -> None:
        async def play(internet: Internet) -> None:
            await internet.serve(
                "nas.lan", answer(b"", "302 Found", Location="http://router.lan/"), "10.0.0.5"
            )
            await internet.serve("router.lan", answer(BODY), "10.0.0.1")

        found, internet = run(play, url="http://nas.lan/", policy=Policy(private=True, http=True))
        assert (found, internet.dialled) == ("private_address", ["10.0.0.5"])


def sets_cookies(*cookies: str, location: str = "/sub") -> Any:
    """Redirects until the first cookie's name is sent back."""

    async def behaviour(request: bytes, writer: asyncio.StreamWriter) -> None:
        name = cookies[0].partition("=")[0]
        if f" {name}=".encode() in request:
            await answer(BODY)(request, writer)
            return
        lines = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in cookies)
        head = f"HTTP/1.1 302 Found\r\n{lines}Location: {location}\r\nContent-Length: 0\r\n\r\n"
        await raw(head.encode())(request, writer)

    return behaviour


class TestCookies:
    @pytest.mark.parametrize(
        ("cookies", "sent"),
        [
            (["session=ok"], b"session=ok"),
            (["session=ok; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=3600"], b"session=ok"),
            (["b=2", "session=ok", "a=1"], b"b=2; session=ok; a=1"),
            (["session=a=b==", "empty="], b"session=a=b==; empty="),
            (['session="q v"'], b'session="q v"'),
            (["session=old", "session=new"], b"session=new"),
            (["session=ok", "gone=x; Max-Age=0", "old=y;max-age=-1"], b"session=ok"),
            (["session=ok", "no cookie", "=x", "bad name=1"], b"session=ok"),
        ],
    )
    def test_a_cookie_comes_back_to_the_host_that_set_it(
        self, cookies: list[str], sent: bytes
    ) -> None:
        found, internet = run(lambda net: net.serve("hostile.example", sets_cookies(*cookies)))
        assert body_of(found) == BODY
        assert b"Cookie" not in internet.requests[0]
        assert b"\r\nCookie: " + sent + b"\r\n" in internet.requests[1]

    def test_no_other_host_gets_it(self) -> None:
        async def play(internet: Internet) -> None:
            leads_away = sets_cookies("session=secret", location="http://sub.hostile.example/")
            await internet.serve("hostile.example", leads_away)
            await internet.serve("sub.hostile.example", answer(BODY), "1.1.1.1")

        found, internet = run(play)
        assert body_of(found) == BODY
        assert b"secret" not in internet.requests[1]

    def test_it_is_forgotten_after_the_fetch(self) -> None:
        _, internet = run(lambda net: net.serve("hostile.example", sets_cookies("session=ok")))
        _, again = run(lambda net: net.serve("hostile.example", sets_cookies("session=ok")))
        assert b"Cookie" not in again.requests[0]
        assert len(internet.requests) == len(again.requests) == 2

    def test_a_host_has_20_cookies_at_most_and_none_of_5000_bytes(self) -> None:
        many = [*(f"c{number}={number}" for number in range(30)), f"large={'x' * 5000}"]
        _, internet = run(lambda net: net.serve("hostile.example", sets_cookies(*many)))
        assert internet.requests[1].count(b"; c") == 19
        assert b"large" not in internet.requests[1]

    def test_a_redirect_that_takes_no_cookie_still_ends(self) -> None:
        behaviour = answer(b"", "302 Found", Location="/", Set_Cookie="session=ok")
        assert got(behaviour) == "too_many_redirects"


class TestTls:
    def test_certificates_are_checked(self) -> None:
        context = dial.tls_context()
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_the_certificate_is_asked_for_the_name_and_the_address_is_dialled(self) -> None:
        asked: list[tuple[str, str]] = []

        async def main() -> str:
            async def found(*_: Any) -> list[str]:
                return [PUBLIC]

            async def connect(address: str, port: int, tls_name: str) -> Any:
                asked.append((address, tls_name))
                raise OSError

            with pytest.raises(OutboundError) as caught:
                await fetching.fetch(
                    Asked("https://hostile.example/", Policy(), "x"),
                    PATIENT,
                    Network(found, connect),
                )
            return caught.value.code

        assert asyncio.run(main()) == "connection"
        assert asked == [(PUBLIC, "hostile.example")]

    def test_a_server_that_speaks_no_tls_is_a_code(self) -> None:
        async def main() -> str:
            async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await writer.drain()
                writer.transport.abort()

            server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            try:
                with pytest.raises(OutboundError) as caught:
                    await fetching.fetch(
                        Asked(f"https://127.0.0.1:{port}/", Policy(private=True), "x"), PATIENT
                    )
            finally:
                server.close()
            return caught.value.code

        assert asyncio.run(main()) in {"tls", "connection"}

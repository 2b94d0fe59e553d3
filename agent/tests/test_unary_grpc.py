"""gRPC without a library, against recorded and hand-made frames."""

from __future__ import annotations

import pytest
from stand_ins import raw_server

from xpert_agent.sources import unary_grpc
from xpert_agent.sources.base import SourceError
from xpert_agent.sources.unary_grpc import Frame

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, PADDED = 1, 4, 8


def _frames(*frames: Frame) -> bytes:
    return b"".join(frame.encoded() for frame in frames)


def _message(payload: bytes) -> bytes:
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def _call(*frames: Frame) -> bytes:
    with raw_server([_frames(*frames)]) as port:
        return unary_grpc.call("127.0.0.1", port, "/a.b.Service/Method", b"")


HEAD = (Frame(SETTINGS, 0, 0, b""), Frame(HEADERS, END_HEADERS, 1, b"\x88"))
TRAILERS = Frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00")


def test_a_message_in_several_frames_is_put_together() -> None:
    whole = _message(b"x" * 40_000)
    parts = [Frame(DATA, 0, 1, whole[at : at + 16_384]) for at in range(0, len(whole), 16_384)]
    assert _call(*HEAD, *parts, TRAILERS) == b"x" * 40_000


def test_padding_is_taken_off() -> None:
    padded = Frame(DATA, PADDED, 1, b"\x05" + _message(b"hello") + bytes(5))
    assert _call(*HEAD, padded, TRAILERS) == b"hello"


def test_pings_window_updates_and_other_streams_do_not_disturb_the_answer() -> None:
    others = (Frame(PING, 0, 0, bytes(8)), Frame(8, 0, 0, bytes(4)), Frame(DATA, 0, 3, b"other"))
    assert _call(*HEAD, *others, Frame(DATA, 0, 1, _message(b"ours")), TRAILERS) == b"ours"


def test_an_empty_message_is_an_answer() -> None:
    assert _call(*HEAD, Frame(DATA, 0, 1, _message(b"")), TRAILERS) == b""


def test_a_farewell_that_includes_our_call_does_not_end_it() -> None:
    farewell = Frame(GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
    assert _call(*HEAD, farewell, Frame(DATA, 0, 1, _message(b"ours")), TRAILERS) == b"ours"


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        pytest.param((*HEAD[:1], TRAILERS), "does not offer Method", id="trailers alone"),
        pytest.param((Frame(RST, 0, 1, bytes(4)),), "refuses the call", id="reset"),
        pytest.param((Frame(GOAWAY, 0, 0, bytes(8)),), "refuses the call", id="farewell"),
        pytest.param(HEAD, "ended before the answer", id="end of connection"),
        pytest.param(
            (*HEAD, Frame(DATA, END_STREAM, 1, b"\1\0\0\0\1x")),
            "compressed or cut",
            id="compressed",
        ),
        pytest.param(
            (*HEAD, Frame(DATA, END_STREAM, 1, _message(b"long")[:-1])),
            "compressed or cut",
            id="cut message",
        ),
    ],
)
def test_what_is_no_answer_is_one_sentence_that_names_the_port(
    frames: tuple[Frame, ...], says: str
) -> None:
    with pytest.raises(SourceError, match=rf"^127\.0\.0\.1:\d+ .*{says}.*\.$"):
        _call(*frames)


def test_a_port_that_speaks_http_1_is_not_taken_for_a_core() -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with raw_server([answer]) as port, pytest.raises(SourceError, match="does not answer"):
        unary_grpc.call("127.0.0.1", port, "/a/b", b"")


def test_a_core_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unary_grpc, "TIMEOUT", 0.1)
    with raw_server([b""], ends=False) as port, pytest.raises(SourceError, match="does not answer"):
        unary_grpc.call("127.0.0.1", port, "/a/b", b"")


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unary_grpc, "MAX_BYTES", 1000)
    frame = Frame(DATA, 0, 1, bytes(2000))
    with pytest.raises(SourceError, match="too much"):
        _call(*HEAD, frame)


def test_a_port_where_nothing_listens_is_one_sentence() -> None:
    with raw_server([]) as port:
        pass
    with pytest.raises(SourceError, match="does not answer"):
        unary_grpc.call("127.0.0.1", port, "/a/b", b"")


def test_a_long_header_has_its_length_in_several_bytes() -> None:
    # RFC 7541, 5.1, with a prefix of seven bits: 1337 - 127 = 9 * 128 + 58.
    assert unary_grpc._text(b"x" * 1337) == b"\x7f\xba\x09" + b"x" * 1337
    assert unary_grpc._text(b"x" * 126)[:1] == b"\x7e"
    assert unary_grpc._text(b"x" * 127)[:2] == b"\x7f\x00"


def test_an_ipv6_address_is_in_brackets() -> None:
    with raw_server([]) as port:
        pass
    with pytest.raises(SourceError, match=r"^\[::1\]:"):
        unary_grpc.call("::1", port, "/a/b", b"")

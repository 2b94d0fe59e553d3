"""Lists of sources in every form that providers send, and hostile ones."""

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions import links
from subscriptions.sources.source_lists import (
    MAX_LINES,
    MAX_NODES,
    BodyError,
    numbered_lines,
    parse,
)

DATA = Path(__file__).parents[1] / "data"
BODIES = [json.loads(line) for line in (DATA / "bodies" / "index.jsonl").read_text().splitlines()]
LINKS = [json.loads(line) for line in (DATA / "links.jsonl").read_text().splitlines()]
A, B = "trojan://pw@a.example.com:1#A", "trojan://pw@b.example.com:2#B"


def names(body: bytes | str, **options: Any) -> list[str]:
    encoded = body.encode() if isinstance(body, str) else body
    return [node.remark for node in parse(encoded, **options).nodes]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def refusal(body: bytes | str) -> str:
    with pytest.raises(BodyError) as caught:
        parse(body.encode() if isinstance(body, str) else body)
    return caught.value.code


@pytest.mark.parametrize("sample", BODIES, ids=[sample["file"] for sample in BODIES])
def test_every_known_form_is_read(sample: dict[str, Any]) -> None:
    body = (DATA / "bodies" / sample["file"]).read_bytes()
    if sample["kind"] == "links":
        assert len(parse(body).nodes) == sample["links"]
    else:
        assert refusal(body) == sample["kind"]


@pytest.mark.parametrize("row", LINKS, ids=[str(row["id"]) for row in LINKS])
def test_a_source_keeps_only_valid_links(row: dict[str, Any]) -> None:
    if row["valid"]:
        found = parse(row["link"].encode()).nodes[0]
        assert (found.server, found.port) == (row["server"], row["port"])
    else:
        try:
            found_nodes = parse(row["link"].encode()).nodes
        except BodyError:
            return
        # What is no link as a whole may hold two of them.
        assert row["reason"] == "two_links"
        assert len(found_nodes) == 2


def test_lines_are_numbered_as_an_editor_shows_them() -> None:
    text = "\ufeffa\r\n\n# note\rb\u2028c\n // x\n"
    assert numbered_lines(text) == [(1, "a"), (4, "b\u2028c")]


def test_links_in_one_line_have_its_number() -> None:
    assert numbered_lines(f"x\n{A} {B}\n") == [(1, "x"), (2, A), (2, B)]


def test_lines_inside_base64_are_numbered() -> None:
    assert numbered_lines(encoded(f"{A}\n\n{B}")) == [(1, A), (3, B)]


def test_a_line_of_more_links_than_a_list_may_have_is_one() -> None:
    line = " ".join([A] * (MAX_LINES + 1))
    assert numbered_lines(line) == [(1, line)]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251"]
)
def test_a_cyrillic_name_survives_every_encoding(encoding: str) -> None:
    bom = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert names(bom + "trojan://pw@a.example.com:1#Вена".encode(encoding)) == ["Вена"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(end: str) -> None:
    assert names(end.join([A, "", B])) == ["A", "B"]


@pytest.mark.parametrize(
    "comment", ["#profile-title: x", "//x: y", "STATUS=ok", "REMARKS=mine", "   # x"]
)
def test_comments_are_left_out_without_being_counted(comment: str) -> None:
    assert parse(f"{comment}\n{A}\n".encode()).skipped == {}


def test_links_glued_by_a_blank_are_cut_apart() -> None:
    assert names(f"{A} {B}") == ["A", "B"]


@pytest.mark.parametrize(
    "between", ["", "|", ",", ";", " | ", "<br>", "<br/>", "</p><p>", "\\n", "\\r\\n", "; "]
)
def test_links_glued_by_anything_are_cut_apart(between: str) -> None:
    assert names(f"{A}{between}{B}") == ["A", "B"]
    assert names(encoded(f"{A}{between}{B}")) == ["A", "B"]


def test_glued_links_without_names_are_cut_apart() -> None:
    found = parse(b"trojan://pw@a.example.com:1?sni=s.examplehy2://pw@b.example.com:2").nodes
    assert [(node.server, node.params["security"]) for node in found] == [
        ("a.example.com", "tls"),
        ("b.example.com", "tls"),
    ]


@pytest.mark.parametrize("before", ["- ", "1. ", "Server: ", "\u200e", "\ufeff ", "> "])
def test_a_link_is_found_behind_what_stands_before_it(before: str) -> None:
    assert names(f"{before}{A}\n{before}{B}") == ["A", "B"]


def test_quoted_links_are_read_without_their_quotes() -> None:
    assert names(f'"{A}",\n"{B}"') == ["A", "B"]


def test_a_link_in_a_comment_stays_a_comment() -> None:
    assert names(f"# {A}\n// {A}\n{B}") == ["B"]


def test_a_link_of_another_app_in_a_line_is_counted_and_not_shown() -> None:
    found = parse(f"{A}juicity://x@b.example.com:2".encode())
    assert ([node.remark for node in found.nodes], found.skipped) == (["A"], {"unsupported": 1})


def test_a_page_in_a_name_is_not_cut_off() -> None:
    assert names("trojan://pw@a.example.com:1#A see https://example.com") == [
        "A see https://example.com"
    ]


def test_urlsafe_base64_is_read() -> None:
    text = "trojan://pw@a.example.com:1#A>>>???"
    assert "_" in (body := base64.urlsafe_b64encode(text.encode()).decode()) or "-" in body
    assert len(names(body)) == 1


@pytest.mark.parametrize("pad", [True, False])
def test_base64_line_by_line_is_read(pad: bool) -> None:
    lines = [encoded(A), encoded(B + "x"), encoded(A + "yy")]
    body = "\n".join(lines if pad else [line.rstrip("=") for line in lines])
    assert len(parse(body.encode()).nodes) + parse(body.encode()).skipped.get("duplicate", 0) == 3


def test_two_layers_of_base64_are_read_and_three_are_not() -> None:
    twice = encoded(encoded(A))
    assert names(twice) == ["A"]
    assert refusal(encoded(twice)) == "unknown"


@pytest.mark.parametrize("width", [20, 1000])
def test_base64_behind_comments_is_read(width: int) -> None:
    body = encoded(f"{A}\n{B}")
    lines = [body[start : start + width] for start in range(0, len(body), width)]
    assert names("\n".join(["#profile-title: x", " #y", *lines, "# end"])) == ["A", "B"]


def test_a_web_page_in_base64_is_refused_as_a_web_page() -> None:
    assert refusal(encoded("<html>")) == "html"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"\0\0\0", "empty"),
        (b"<?xml version='1.0'?>", "html"),
        (b'{"outbounds": []}', "json"),
        (b"[]", "json"),
        (b'[ {"remarks": "x"}]', "json"),
        (b"[Proxy]\nA = trojan", "unknown"),
        (b"port: 1\nproxies: []\n", "clash-yaml"),
        (b"Not found", "unknown"),
        (b"YWJj$ZGVm", "unknown"),
        (b"A", "unknown"),
        (bytes(range(256)) * 100, "unknown"),
        (b"\x1f\x8b\x08" + b"\xff" * 1000, "unknown"),
        (b"vless://nonsense", "no_nodes"),
        (b"trojan://pw@10.0.0.1:443", "no_nodes"),
    ],
)
def test_a_body_that_is_not_a_list_says_why(body: bytes, code: str) -> None:
    assert refusal(body) == code


@pytest.mark.parametrize("count", [MAX_LINES, MAX_LINES + 1])
def test_a_list_has_5000_lines_at_most(count: int) -> None:
    body = "\n".join([A] * count)
    if count == MAX_LINES:
        assert parse(body.encode()).skipped == {"duplicate": MAX_LINES - 1}
    else:
        assert refusal(body) == "too_many_lines"


@pytest.mark.parametrize("count", [MAX_LINES, MAX_LINES + 1])
def test_in_base64_the_decoded_lines_are_counted(count: int) -> None:
    body = encoded("\n".join([A] * count))
    wrapped = "\n".join(body[start : start + 20] for start in range(0, len(body), 20))
    if count == MAX_LINES:
        assert parse(wrapped.encode()).skipped == {"duplicate": MAX_LINES - 1}
    else:
        assert refusal(wrapped) == "too_many_lines"


def test_each_line_in_base64_counts() -> None:
    assert refusal("\n".join([encoded(A)] * (MAX_LINES + 1))) == "too_many_lines"


def test_lines_glued_together_count_too() -> None:
    assert refusal(" ".join([A] * (MAX_LINES + 1))) == "too_many_lines"


@pytest.mark.parametrize("count", [MAX_NODES, MAX_NODES + 1])
def test_a_source_gives_2000_servers_at_most(count: int) -> None:
    found = parse(
        "\n".join(f"trojan://pw{number}@a.example.com:1" for number in range(count)).encode()
    )
    assert len(found.nodes) == MAX_NODES
    assert found.skipped.get("over_limit", 0) == count - MAX_NODES


def test_a_link_longer_than_4096_characters_is_left_out() -> None:
    found = parse(f"{A}\n{A}{'x' * 4096}".encode())
    assert found.skipped == {"too_long": 1}


def test_lines_left_out_are_counted_by_reason() -> None:
    body = f"{A}\n{A}#again\nvless://\ntrojan://pw@10.0.0.1:1\ntrojan://pw@0.0.0.0:1#limit reached"
    assert parse(body.encode()).skipped == {
        "duplicate": 1,
        "empty": 1,
        "private_host": 1,
        "pseudo": 1,
    }


NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "link",
    [
        f"vless://{NIL}@0.0.0.0:1?type=tcp#%E2%9B%94",
        f"vless://{NIL}@127.0.0.1:1#limit",
        f"vless://{NIL}@a.example.com:443#expired",
        "trojan://pw@[::]:443#expired",
        "trojan://pw@127.0.0.1:1#expired",
    ],
)
def test_another_panels_notes_are_not_servers_even_if_private_servers_are_allowed(
    link: str,
) -> None:
    assert names(f"{A}\n{link}", private=True) == ["A"]


def test_private_servers_pass_where_they_are_allowed() -> None:
    assert names("trojan://pw@10.0.0.1:443#mine", private=True) == ["mine"]


@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(str.encode)
    | st.text(max_size=99).map(encoded).map(str.encode)
)
def test_any_body_gives_servers_or_a_body_error(body: bytes) -> None:
    with suppress(BodyError):
        parse(body)


PLAIN_NAMES = st.text(
    st.characters(categories=("L", "N", "So"), exclude_characters="\ufffd"), min_size=1, max_size=20
)


@given(st.lists(PLAIN_NAMES, min_size=1, max_size=8), st.data())
def test_a_truncated_name_does_not_change_other_names(
    names_in: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(names_in) - 1))
    lines = [
        f"trojan://pw@h{n}.example.com:1#DE 1 {name}".encode() for n, name in enumerate(names_in)
    ]
    whole = [node.remark for node in parse(b"\n".join(lines)).nodes]
    # Beyond ASCII, or the body would tell nothing of its encoding.
    lines.append("trojan://pw@last.example.com:1#Вена".encode())
    lines[cut] += "я".encode()[:1]
    for body in (b"\n".join(lines), base64.b64encode(b"\n".join(lines))):
        assert [node.remark for node in parse(body).nodes] == [*whole, "Вена"]


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.sampled_from([20, 64, 76, 10_000]))
def test_links_may_be_plain_or_in_base64_in_any_order(packed: list[bool], width: int) -> None:
    lines: list[str] = []
    for number, is_packed in enumerate(packed):
        link = f"trojan://pw@a.example.com:1{number:02}#{'я' * number}{number}"
        body = encoded(link) if is_packed else link
        # A block is one text: two that touch are told apart only when each is one line.
        touches = any(packed[max(number - 1, 0) : number] + packed[number + 1 : number + 2])
        step = width if is_packed and not touches else len(body)
        lines += [body[start : start + step] for start in range(0, len(body), step)]
    found = parse("\n".join(lines).encode())
    assert [node.port for node in found.nodes] == [100 + number for number in range(len(packed))]


def test_the_schemes_are_those_of_links() -> None:
    assert all(
        numbered_lines(f"{scheme}://x")
        for protocol in links.PROTOCOLS
        for scheme in protocol.schemes
    )

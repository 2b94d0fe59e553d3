import time

import pytest

from subscriptions.readers.documents import (
    MAX_DEPTH,
    MAX_VALUES,
    TWICE,
    DocumentError,
    Unclear,
    read_json,
    read_yaml,
    without_comments,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12345", 12345),
        ('"1e5"', "1e5"),
        ("1e5", Unclear("1e5")),
        ("0123", Unclear("0123")),
        ("0x1f", Unclear("0x1f")),
        ("1_000", Unclear("1_000")),
        ("1.50", Unclear("1.50")),
        ("9" * 30, Unclear("9" * 30)),
        ("2024-01-02", Unclear("2024-01-02")),
        (".inf", Unclear(".inf")),
        ("!!str 0123", "0123"),
        ("!<str> 123", "123"),
        ("!!binary YQ==", Unclear("YQ==")),
        ("true", True),
        ("yes", "yes"),
        ("~", None),
        ("1d2f", "1d2f"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("12:30", "12:30"),
        ("+5", Unclear("+5")),
    ],
)
def test_a_value_without_quotes_is_read_as_go_reads_it_or_is_unclear(
    text: str, value: object
) -> None:
    assert read_yaml(f"a: {text}") == {"a": value}


def test_a_merged_value_gives_way_to_one_of_its_own() -> None:
    text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n"
    assert read_yaml(text)["own"] == {"x": 1, "y": 3}


def test_an_alias_counts_with_everything_in_it() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    begun = time.monotonic()
    with pytest.raises(DocumentError):
        read_yaml("\n".join(lines))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]", "a: *b", "a: [", "\t- x", "a: 'x", "a: b: c", "%YAML 9", "a: \x00"],
)
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        read_yaml(text)


@pytest.mark.parametrize("more", [0, 1])
def test_depth_is_limited(more: int) -> None:
    yaml, json = ("[" * (MAX_DEPTH + more) + "]" * (MAX_DEPTH + more) for _ in range(2))
    if not more:
        assert read_yaml(yaml) == read_json(json)
        return
    for read in (read_yaml, read_json):
        with pytest.raises(DocumentError):
            read(f"[{yaml}]")


def test_the_number_of_values_is_limited() -> None:
    with pytest.raises(DocumentError):
        read_json("[" + "1," * MAX_VALUES + "1]")


def test_a_key_that_occurs_twice_is_marked() -> None:
    assert TWICE in read_json('{"a": 1, "a": 2}')
    assert TWICE in read_yaml("a: 1\na: 2\n")


def test_json_may_have_comments_and_a_last_comma() -> None:
    text = '// first\n{ # second\n "a": "x // y, ]", /* third */ "b": [1, 2, ], }'
    assert read_json(text) == {"a": "x // y, ]", "b": [1, 2]}


@pytest.mark.parametrize(
    "text", ["", "{", "{'a': 1}", '{"a": }', "[" * 100_000, '{"a": "' + '\\"' * 9999]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        read_json(text)


def test_a_huge_number_and_no_number_are_unclear() -> None:
    found = read_json(f'{{"a": {"9" * 5000}, "b": NaN, "c": 1.5}}')
    assert found == {"a": Unclear("9" * 100), "b": Unclear("NaN"), "c": Unclear("1.5")}


def test_an_unclosed_text_that_ends_with_a_backslash_is_read_once() -> None:
    """It took minutes, because each of its characters began another attempt."""
    text = '"\\' * 120_000
    assert without_comments(text) == text

import itertools

import pytest

from subscriptions import links
from subscriptions.sources import name_rules, patterns
from subscriptions.sources.country_flags import with_flag
from subscriptions.sources.name_rules import RuleError, Rules, TooSlow
from subscriptions.sources.patterns import PatternError


def ruled(rules: Rules, *names: str) -> list[tuple[str, str]]:
    nodes = [links.parse(f"trojan://pw@a.example:1#{name}") for name in names]
    return [(each.name, each.code) for each in name_rules.apply(nodes, rules)]


def refusal(**rules: str) -> tuple[str, str, int, int]:
    with pytest.raises(RuleError) as caught:
        name_rules.check(Rules(**rules))  # type: ignore[arg-type]
    error = caught.value
    return error.field, error.code, error.line, error.place


def test_without_rules_names_stay() -> None:
    assert ruled(Rules(), "DE 1", "") == [("DE 1", ""), ("", "")]


def test_only_names_that_match_are_taken_whatever_their_case() -> None:
    assert ruled(Rules(keep="de|nl"), "DE 1", "US 1") == [("DE 1", ""), ("US 1", "not_kept")]


def test_leaving_out_wins_over_taking() -> None:
    rules = Rules(keep="de", drop="x2")
    assert [code for _, code in ruled(rules, "DE 1", "DE x2")] == ["", "dropped"]


def test_a_server_without_a_name_is_known_by_its_address() -> None:
    assert ruled(Rules(drop=r"a\.example"), "") == [("", "dropped")]
    assert ruled(Rules(prefix="A"), "") == [("A trojan a.example:1", "")]


def test_names_are_renamed_line_by_line_then_prefixed_then_flagged() -> None:
    rules = Rules(rename="Germany (\\d+) => DE-\\1\nDE => Berlin", prefix="My", flags=True)
    assert ruled(rules, "Germany 7") == [("🇩🇪 My Berlin-7", "")]


def test_a_replacement_may_be_empty_and_a_name_never_is() -> None:
    assert ruled(Rules(rename="\\s*VIP =>"), "DE VIP", "VIP") == [("DE", ""), ("VIP", "")]


def test_a_name_never_becomes_a_link_and_stays_short() -> None:
    rules = Rules(rename="^a$ => vless://secret\n^b$ => " + "x" * 100, prefix="y" * 40)
    assert [name for name, _ in ruled(rules, "a")] == ["y" * 40 + " a"]
    assert all(len(name) <= 128 for name, _ in ruled(rules, "b"))


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ({"keep": "a(b"}, ("keep", "syntax", 1, 2)),
        ({"drop": "x" * 201}, ("drop", "too_long", 1, 201)),
        ({"drop": "(a+)+$"}, ("drop", "slow", 1, 1)),
        ({"rename": "a => b\n\nc[ => d"}, ("rename", "syntax", 3, 2)),
        ({"rename": "a"}, ("rename", "no_arrow", 1, 1)),
        ({"rename": " => x"}, ("rename", "no_arrow", 1, 1)),
        ({"rename": "(a) => \\2"}, ("rename", "syntax", 1, 9)),
        ({"rename": "\n".join(["a => b"] * 21)}, ("rename", "too_many", 21, 1)),
        ({"rename": f"a => {'x' * 101}"}, ("rename", "too_long", 1, 106)),
    ],
)
def test_a_bad_rule_is_refused_with_its_place(
    rules: dict[str, str], where: tuple[str, str, int, int]
) -> None:
    assert refusal(**rules) == where


def test_20_rules_of_the_greatest_length_are_fine() -> None:
    name_rules.check(Rules(rename="\n".join([f"a => {'x' * 100}"] * 20), keep="x" * 200))


@pytest.mark.parametrize(
    "text",
    ["(a+)+$", "(a|a)*b", "a?" * 60, "(a|a)" * 39, ".*.*.*.*.*x", "((a{1,99}){1,99}){1,99}", "(a|ab)*c"],
)  # fmt: skip
def test_a_pattern_that_may_take_long_is_refused(text: str) -> None:
    with pytest.raises(PatternError, match="slow"):
        patterns.compiled(text)


@pytest.mark.parametrize("text", [r"(a)\1", "(?>a+)b", "a*+b(?(1)x)"])
def test_what_cannot_be_bounded_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        patterns.compiled(text)


@pytest.mark.parametrize(
    "text", [".*HK.*", "^(?!.*(剩余|官网)).*$", "HK|香港", r"(?:HK|JP).*(VIP|x\d+)$", r"\d+ ?- ?\d+", "a{1,500}"]
)  # fmt: skip
def test_usual_patterns_are_allowed(text: str) -> None:
    patterns.compiled(text)


def test_a_list_has_a_deadline() -> None:
    ticks = itertools.count()
    nodes = [links.parse(f"trojan://pw@a.example:{port}#x") for port in range(1, 9)]
    with pytest.raises(TooSlow):
        name_rules.apply(nodes, Rules(keep="x"), lambda: float(next(ticks)))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("DE-1", "🇩🇪 DE-1"),
        ("[NL] fast", "🇳🇱 [NL] fast"),
        ("UK 2", "🇬🇧 UK 2"),
        ("香港 01", "🇭🇰 香港 01"),
        ("日本 → 美国", "🇯🇵 日本 → 美国"),
        ("印度尼西亚", "🇮🇩 印度尼西亚"),
        ("Санкт-Петербург", "🇷🇺 Санкт-Петербург"),
        ("Los Angeles", "🇺🇸 Los Angeles"),
        ("آلمان ۱", "🇩🇪 آلمان ۱"),
        ("🇫🇷 Germany", "🇫🇷 Germany"),
        ("VIP 1", "VIP 1"),
        ("12 GB", "12 GB"),
        ("Germanic", "Germanic"),
        ("", ""),
    ],
)
def test_a_country_in_the_name_gives_its_flag(name: str, shown: str) -> None:
    assert with_flag(name, name) == shown


def test_a_renamed_server_keeps_the_country_of_its_old_name() -> None:
    assert with_flag("Server 1", "Germany") == "🇩🇪 Server 1"

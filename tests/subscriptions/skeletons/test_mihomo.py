"""Skeletons of mihomo: places, groups, references, and values that stay what they were."""

import contextlib
from typing import Any

import pytest

from subscriptions import skeletons
from subscriptions.skeletons import Server, SkeletonError, places
from tests.subscriptions.skeletons.examples import made, refusal

MAIN = '- {name: Main, type: select, proxies: ["<servers>"]}'


def skeleton(*groups: str, rules: str = "- MATCH,Main", rest: str = "") -> str:
    inner = "\n".join(f"  {group}" for group in groups or (MAIN,))
    return f"mode: rule\n{rest}\nproxy-groups:\n{inner}\nrules:\n  {rules}\n"


def groups_of(document: Any) -> dict[str, list[str]]:
    return {group["name"]: group.get("proxies", []) for group in document["proxy-groups"]}


def test_servers_stand_where_the_place_is() -> None:
    text = skeleton(
        '- {name: Main, type: select, proxies: ["<servers>"]}',
        rest='proxies:\n  - {name: Before, type: direct}\n  - "<servers>"\n  - {name: After, type: direct}',
    )
    document, _ = made("mihomo", text, "A", "B")
    assert [each["name"] for each in document["proxies"]] == ["Before", "A", "B", "After"]
    assert groups_of(document) == {"Main": ["A", "B"]}


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("<servers>", ["DE 1", "🇩🇪 two", "Amsterdam", "x"]),
        ("<country DE>", ["DE 1", "🇩🇪 two"]),
        ("<country NL DE>", ["DE 1", "🇩🇪 two", "Amsterdam"]),
        ("<name am|x>", ["Amsterdam", "x"]),
        ("<name ^(?!.*two)>", ["DE 1", "Amsterdam", "x"]),
        ("<protocol trojan>", ["DE 1", "🇩🇪 two", "Amsterdam", "x"]),
    ],
)
def test_a_place_takes_the_servers_that_fit(place: str, found: list[str]) -> None:
    text = skeleton(f'- {{name: Main, type: select, proxies: ["{place}"]}}')
    document, _ = made("mihomo", text, "DE 1", "🇩🇪 two", "Amsterdam", "x")
    assert groups_of(document)["Main"] == found


def test_sources_and_direct_configurations_are_places_too() -> None:
    text = skeleton(
        '- {name: Main, type: select, proxies: ["<source My Provider>", "<direct>"]}',
    )
    servers = [
        Server("A", '{"name": "A"}', "trojan", frozenset({"my provider"})),
        Server("B", '{"name": "B"}', "trojan"),
        Server("C", '{"name": "C"}', "trojan", is_direct=True),
    ]
    _, result = skeletons.read("mihomo", text).render(servers)
    assert result.groups[0].members == ["A", "C"]


def test_a_note_is_in_no_country() -> None:
    text = skeleton(
        '- {name: Main, type: select, proxies: ["<country DE>"]}', MAIN.replace("Main", "All")
    )
    servers = [Server("DE: 3 GB left", "{}", "vless", is_note=True)]
    _, result = skeletons.read("mihomo", text).render(servers)
    assert [each.name for each in result.groups] == ["Main", "All"]
    assert result.groups[0].is_substitute


def test_a_group_with_a_country_in_its_name_is_repeated_for_each_country() -> None:
    text = skeleton(
        '- {name: Main, type: select, proxies: ["<countries>", DIRECT]}',
        '- {name: "<country>", type: url-test, proxies: ["<servers>"]}',
    )
    document, _ = made("mihomo", text, "NL 1", "DE 1", "NL 2", "nowhere")
    assert groups_of(document) == {
        "Main": ["🇳🇱 NL", "🇩🇪 DE", "DIRECT"],
        "🇳🇱 NL": ["NL 1", "NL 2"],
        "🇩🇪 DE": ["DE 1"],
    }


class TestEmptyGroups:
    def test_one_that_no_server_fits_is_left_out_with_its_name(self) -> None:
        text = skeleton(
            '- {name: Main, type: select, proxies: [Swiss, "<servers>"]}',
            "- {name: Swiss, type: select, proxies: [Inner]}",
            '- {name: Inner, type: select, proxies: ["<country CH>"]}',
        )
        document, result = made("mihomo", text, "DE 1")
        assert groups_of(document) == {"Main": ["DE 1"]}
        assert result.left_out == ["Swiss", "Inner"]

    def test_one_that_a_rule_needs_gets_all_servers_and_never_goes_out_directly(self) -> None:
        text = skeleton(
            MAIN,
            '- {name: Swiss, type: select, proxies: ["<country CH>"]}',
            rules="- DOMAIN-SUFFIX,bank.example,Swiss\n  - MATCH,Main",
        )
        document, result = made("mihomo", text, "DE 1", "NL 1")
        assert groups_of(document)["Swiss"] == ["DE 1", "NL 1"]
        assert [each.is_substitute for each in result.groups] == [False, True]

    @pytest.mark.parametrize(
        "rest",
        [
            "dns: {nameserver: ['https://1.1.1.1/dns-query#Swiss&h3=true']}",
            "listeners: [{name: in, type: mixed, port: 1, proxy: Swiss}]",
            "sub-rules: {one: ['MATCH,Swiss']}",
            "rules-of-old: ['AND,((NETWORK,udp),(DST-PORT,443)),Swiss,no-resolve']",
        ],
    )
    def test_whatever_else_refers_to_it_needs_it_too(self, rest: str) -> None:
        text = skeleton(MAIN, '- {name: Swiss, type: select, proxies: ["<country CH>"]}', rest=rest)
        document, _ = made("mihomo", text, "DE 1")
        assert groups_of(document)["Swiss"] == ["DE 1"]

    def test_without_any_server_it_goes_out_directly_as_the_built_in_list_does(self) -> None:
        document, _ = made("mihomo", skeleton())
        assert groups_of(document) == {"Main": ["DIRECT"]}

    def test_one_whose_members_a_provider_has_stays(self) -> None:
        text = skeleton(MAIN, "- {name: Other, type: select, use: [theirs]}")
        document, result = made("mihomo", text, "A")
        assert document["proxy-groups"][1] == {"name": "Other", "type": "select", "use": ["theirs"]}
        assert not result.left_out


class TestValues:
    @pytest.mark.parametrize(
        "scalar", ["0123", "1e3", "on", "0x1F", "1_000", "12:30:00", "1.10", "~", ".5", "-7", "y"]
    )
    def test_an_odd_value_keeps_its_characters(self, scalar: str) -> None:
        text = skeleton(rest=f"odd: {scalar}\ninner: {{password: {scalar}, list: [{scalar}]}}")
        content, _ = skeletons.read("mihomo", text).render([])
        value = "null" if scalar == "~" else scalar
        assert f"odd: {value}\n".encode() in content
        assert f'inner: {{"password": {value}, "list": [{value}]}}\n'.encode() in content

    @pytest.mark.parametrize("scalar", ["'0123'", '"1e3"', "!!str on", '"tab\\there"'])
    def test_a_quoted_value_stays_a_text(self, scalar: str) -> None:
        document, _ = made("mihomo", skeleton(rest=f"odd: {scalar}"))
        assert isinstance(document["odd"], str)

    def test_anchors_and_merges_are_resolved(self) -> None:
        text = skeleton(
            '- &base {name: Main, type: select, proxies: &all ["<servers>"]}',
            "- {<<: *base, name: Auto, type: url-test, interval: 0300}",
            "- {name: Third, type: select, proxies: *all}",
        )
        document, _ = made("mihomo", text, "A")
        assert groups_of(document) == {"Main": ["A"], "Auto": ["A"], "Third": ["A"]}
        assert document["proxy-groups"][1]["type"] == "url-test"

    def test_comments_are_not_for_subscribers(self) -> None:
        content, _ = skeletons.read("mihomo", "# a secret\n" + skeleton()).render([])
        assert b"secret" not in content

    def test_a_section_begins_with_its_letters_as_some_apps_look_for(self) -> None:
        content, _ = skeletons.read("mihomo", skeleton()).render([])
        assert b"\nproxies:" in content
        assert content.startswith(b'mode: "rule"\n')


class TestNames:
    def test_a_server_that_is_named_like_a_group_gets_a_number(self) -> None:
        document, _ = made("mihomo", skeleton(), "main", "Main")
        assert groups_of(document)["Main"] == ["main 2", "Main 3"]

    def test_the_groups_of_countries_are_given_away_too(self) -> None:
        text = skeleton('- {name: "<country>", type: select, proxies: ["<servers>"]}', MAIN)
        assert "🇩🇪 de" in skeletons.read("mihomo", text).reserved


def test_a_pattern_that_takes_too_long_is_given_up() -> None:
    place = places.place_of("<name x>")
    assert place is not None
    servers = [Server(name, "{}", "trojan") for name in ("x", "y")]
    in_time = places.Fitting(servers, iter([0.0, 0.9, 1.0]).__next__)
    assert in_time.servers_of(place) == servers[:1]
    late = places.Fitting(servers, iter([0.0, 0.9, 1.1]).__next__)
    with pytest.raises(SkeletonError) as caught:
        late.servers_of(place)
    assert caught.value.problem.code == "slow"


def test_all_patterns_of_a_list_share_one_deadline() -> None:
    place = places.place_of("<name x>")
    assert place is not None
    fitting = places.Fitting([Server("x", "{}", "trojan")], iter([0.0, 0.9, 1.1]).__next__)
    assert fitting.servers_of(place)
    with pytest.raises(SkeletonError):
        fitting.servers_of(place)


def test_groups_have_only_so_many_members_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_NAMES", 5)
    read = skeletons.read("mihomo", skeleton(MAIN, MAIN.replace("Main", "More")))
    two, three = ([Server(str(number), "{}", "trojan") for number in range(n)] for n in (2, 3))
    assert read.render(two)
    with pytest.raises(SkeletonError) as caught:
        read.render(three)
    assert caught.value.problem.code == "too_long"


def test_there_are_only_so_many_groups() -> None:
    every = [MAIN, *(MAIN.replace("Main", f"G{number}") for number in range(499))]
    assert skeletons.read("mihomo", skeleton(*every))
    more = skeleton(*every, MAIN.replace("Main", "One more"))
    assert refusal("mihomo", more)[0] == "too_many_groups"


def test_servers_have_one_place() -> None:
    text = skeleton(rest='proxies: ["<servers>", "<servers>"]')
    assert refusal("mihomo", text) == ("same_name", "<servers>")


# Each of these took minutes before it was an answer.
_LONG = 200_000


@pytest.mark.parametrize(
    "text",
    [
        skeleton(rest=f'x: "{"#a&" * (_LONG // 3)}\\n"'),
        skeleton(rules=f'- "<domains{" " * _LONG}"\n  - MATCH,Main'),
        skeleton(MAIN.replace("<servers>", f"<name x{' ' * _LONG}y"), MAIN.replace("Main", "B")),
    ],
    ids=["through", "rule", "place"],
)
def test_a_long_text_is_read_once(text: str) -> None:
    with contextlib.suppress(SkeletonError):
        skeletons.read("mihomo", text)


def test_rules_may_name_a_list_that_the_panel_brings_along() -> None:
    text = skeleton(
        rules='- "<domains ir>,DIRECT"\n  - "<networks private>,DIRECT,no-resolve"\n  - MATCH,Main'
    )
    document, _ = made("mihomo", text, "A")
    assert document["rules"][0] == "DOMAIN-SUFFIX,ir,DIRECT"
    assert "IP-CIDR,10.0.0.0/8,DIRECT,no-resolve" in document["rules"]
    assert "IP-CIDR6,fc00::/7,DIRECT,no-resolve" in document["rules"]
    assert document["rules"][-1] == "MATCH,Main"


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [
        ("a: [", "bad_yaml", ""),
        ("- a", "not_a_mapping", ""),
        ("", "empty", ""),
        ("a: !!python/object:os.system x", "bad_yaml", ""),
        ("a: b", "no_place", ""),
        ("a: 1\na: 2", "twice", "a"),
        (skeleton("- {name: Main, type: select, proxies: [A]}"), "no_place", ""),
        (skeleton("- {name: Main, type: select, proxies: ['<servers>', Gone]}"), "unknown_member", "Main: Gone"),
        (skeleton(MAIN, MAIN), "same_name", "Main"),
        (skeleton(MAIN, MAIN.replace("Main", "direct")), "same_name", "direct"),
        (skeleton(MAIN, "- {name: E, type: select, proxies: []}"), "empty_group", "E"),
        (skeleton(MAIN, "- just a text"), "not_an_entry", "proxy-groups"),
        (skeleton(MAIN, "- {type: select}"), "no_name", "proxy-groups"),
        (skeleton(rules="- MATCH,Other"), "unknown_target", "MATCH,Other"),
        (skeleton(rules="- GEOIP,RU,Other,no-resolve"), "unknown_target", "GEOIP,RU,Other,no-resolve"),
        (skeleton(rest="sub-rules: {one: ['MATCH,Other']}"), "unknown_target", "MATCH,Other"),
        (skeleton(MAIN.replace("<servers>", "<server>")), "bad_place", "<server>"),
        (skeleton(MAIN.replace("<servers>", "<country>")), "bad_place", "<country>"),
        (skeleton(MAIN.replace("<servers>", "<country Germany>")), "bad_country", "<country Germany>"),
        (skeleton(MAIN.replace("<servers>", "<name (a+)+$>")), "bad_pattern", "<name (a+)+$>"),
        (skeleton(rules='- "<domains xx>,DIRECT"'), "bad_list", "<domains xx>"),
        (skeleton(rest="proxies: 5"), "not_a_list", "proxies"),
        (
            skeleton(
                "- {name: Main, type: select, proxies: ['<servers>', B]}",
                "- {name: B, type: select, proxies: [C]}",
                "- {name: C, type: select, proxies: [B]}",
            ),
            "circle",
            "B → C → B",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_and_named(text: str, code: str, name: str) -> None:
    assert refusal("mihomo", text) == (code, name)


def test_the_line_of_an_error_is_told() -> None:
    with pytest.raises(SkeletonError) as caught:
        skeletons.read("mihomo", "a: 1\nb: 2\nc: [1\n")
    assert caught.value.problem.line in {3, 4}


def test_a_text_of_256_kib_is_read_and_one_byte_more_is_not() -> None:
    text = skeleton() + "# "
    full = text + "x" * (skeletons.MAX_SIZE - len(text))
    skeletons.read("mihomo", full)
    assert refusal("mihomo", full + "x")[0] == "too_large"


def test_aliases_do_not_multiply_a_small_text() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    )
    assert refusal("mihomo", skeleton(rest=bomb))[0] == "bad_yaml"
    wide = "a0: &a0 [" + "xxxxxxxxxx, " * 3000 + "x]\n" + "\n".join(f"b{n}: *a0" for n in range(30))
    assert refusal("mihomo", skeleton(rest=wide))[0] == "too_large"

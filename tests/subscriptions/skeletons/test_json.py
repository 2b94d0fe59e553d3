"""Skeletons of sing-box and Xray."""

import json
from typing import Any

import pytest

from subscriptions import links, skeletons
from subscriptions.skeletons import SkeletonError
from subscriptions.skeletons import xray as xray_skeletons
from tests.subscriptions.skeletons.examples import ID, made, nodes, refusal, servers

MAIN = {"type": "selector", "tag": "Main", "outbounds": ["<servers>"]}
DIRECT = {"type": "direct", "tag": "direct"}


def sing_box(*outbounds: Any, **sections: Any) -> str:
    return json.dumps({"outbounds": list(outbounds or (MAIN, DIRECT)), **sections})


def members(document: Any) -> dict[str, list[str]]:
    return {each["tag"]: each["outbounds"] for each in document["outbounds"] if "outbounds" in each}


def xray(*outbounds: Any, **sections: Any) -> str:
    return json.dumps({"outbounds": list(outbounds), **sections})


class TestSingBox:
    def test_servers_stand_where_the_place_is_and_else_at_the_end(self) -> None:
        document, _ = made("sing-box", sing_box(MAIN, "<servers>", DIRECT), "A", "B")
        assert [each["tag"] for each in document["outbounds"]] == ["Main", "A", "B", "direct"]
        document, _ = made("sing-box", sing_box(), "A", "B")
        assert [each["tag"] for each in document["outbounds"]] == ["Main", "direct", "A", "B"]

    def test_wireguard_goes_to_the_endpoints_and_is_a_member_too(self) -> None:
        tunnel = f"wireguard://{'A' * 43}%3D@h.example:51820?publickey={'B' * 43}%3D&address=10.0.0.2/32#WG"
        found = servers("sing-box", [links.parse(tunnel), *nodes("A")])
        text = sing_box(endpoints=[{"type": "tailscale", "tag": "ts"}])
        content, _ = skeletons.read("sing-box", text).render(found)
        document = json.loads(content)
        assert [each["tag"] for each in document["endpoints"]] == ["ts", "WG"]
        assert members(document) == {"Main": ["WG", "A"]}

    def test_a_default_that_was_left_out_is_no_default_any_more(self) -> None:
        text = sing_box(
            MAIN | {"outbounds": ["Swiss", "<servers>"], "default": "Swiss"},
            {"type": "urltest", "tag": "Swiss", "outbounds": ["<country CH>"]},
            DIRECT,
        )
        document, result = made("sing-box", text, "DE 1")
        assert "default" not in document["outbounds"][0]
        assert result.left_out == ["Swiss"]
        document, _ = made("sing-box", text, "CH 1")
        assert document["outbounds"][0]["default"] == "Swiss"

    def test_one_that_a_rule_needs_gets_all_servers(self) -> None:
        swiss = {"type": "urltest", "tag": "Swiss", "outbounds": ["<country CH>"]}
        rules = {"rules": [{"domain": ["a.example"], "action": "route", "outbound": "Swiss"}]}
        document, _ = made("sing-box", sing_box(MAIN, swiss, DIRECT, route=rules), "DE 1")
        assert members(document)["Swiss"] == ["DE 1"]

    def test_without_servers_it_goes_out_directly(self) -> None:
        document, _ = made("sing-box", sing_box(route={"final": "Main"}))
        assert members(document) == {"Main": ["direct"]}

    def test_comments_and_numbers_are_read_as_sing_box_reads_them(self) -> None:
        text = (
            '{// mine\n"outbounds": ['
            + json.dumps(MAIN)
            + ","
            + json.dumps(DIRECT)
            + ',], "x": 1e2, "y": 1.50}'
        )
        content, _ = skeletons.read("sing-box", text).render([])
        assert b'"x": 1e2' in content
        assert b'"y": 1.50' in content
        assert b"mine" not in content

    @pytest.mark.parametrize(
        ("text", "code", "name"),
        [
            ("{", "bad_json", ""),
            ("[]", "not_a_mapping", ""),
            ('{"a": 1, "a": 2}', "twice", "a"),
            ('{"a": NaN}', "bad_json", ""),
            ("[" * 100_000, "bad_json", ""),
            (sing_box(DIRECT), "no_place", ""),
            (sing_box(MAIN), "no_direct", ""),
            (sing_box(MAIN, DIRECT, DIRECT | {"tag": "Main"}), "same_name", "Main"),
            (sing_box(MAIN, DIRECT, endpoints=[{"type": "tailscale", "tag": "direct"}]), "same_name", "direct"),
            (sing_box(MAIN | {"outbounds": ["<servers>", "Gone"]}, DIRECT), "unknown_member", "Main: Gone"),
            (sing_box(MAIN | {"default": "Gone"}, DIRECT), "unknown_member", "Gone"),
            (sing_box(route={"final": "Gone"}), "unknown_target", "Gone"),
            (sing_box(route={"rules": [{"type": "logical", "rules": [], "outbound": "Gone"}]}), "unknown_target", "Gone"),
            (sing_box(dns={"servers": [{"tag": "a", "detour": "Gone"}]}), "unknown_target", "Gone"),
            (sing_box(dns={"servers": [{"tag": "a"}], "final": "b"}), "unknown_resolver", "b"),
            (sing_box(route={"default_domain_resolver": {"server": "b"}}), "unknown_resolver", "b"),
            (sing_box(route={"rules": [{"rule_set": ["gone"], "outbound": "direct"}]}), "unknown_rule_set", "gone"),
            (sing_box(route=5), "not_an_entry", "route"),
            (sing_box(MAIN, DIRECT, 5), "not_an_entry", "outbounds"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_refused_and_named(self, text: str, code: str, name: str) -> None:
        assert refusal("sing-box", text) == (code, name)


class TestXray:
    def test_a_configuration_with_one_server_is_repeated(self) -> None:
        text = xray("<server>", {"tag": "direct", "protocol": "freedom"}, remarks="→ <name>")
        document, _ = made("xray", text, "A", "B")
        assert [each["remarks"] for each in document] == ["→ A", "→ B"]
        assert [each["outbounds"][0]["tag"] for each in document] == ["proxy", "proxy"]
        assert document[1]["outbounds"][1] == {"tag": "direct", "protocol": "freedom"}

    def test_one_with_all_servers_occurs_once_and_its_balancers_choose(self) -> None:
        balancers = [
            {"tag": "all", "selector": ["<servers>"]},
            {"tag": "de", "selector": ["<country DE>"]},
            {"tag": "ch", "selector": ["<country CH>"]},
        ]
        rules = [{"type": "field", "network": "tcp,udp", "balancerTag": "de"}]
        text = json.dumps([
            json.loads(xray("<servers>", remarks="Auto", routing={"balancers": balancers, "rules": rules},
                            observatory={"subjectSelector": ["<servers>"]})),
            json.loads(xray("<server>")),
        ])  # fmt: skip
        document, _ = made("xray", text, *(f"DE {n}" for n in range(11)), "NL")
        auto = document[0]
        tags = [each["tag"] for each in auto["outbounds"]]
        assert len(document) == 1 + 12
        assert not [one for one in tags for other in tags if one != other and other.startswith(one)]
        chosen = {each["tag"]: each["selector"] for each in auto["routing"]["balancers"]}
        assert chosen == {"all": tags, "de": tags[:11], "ch": tags}
        assert auto["observatory"]["subjectSelector"] == tags
        assert {each["protocol"] for each in auto["outbounds"]} == {"trojan"}

    def test_without_servers_there_is_no_configuration(self) -> None:
        assert made("xray", xray("<servers>"))[0] == []
        assert made("xray", xray("<server>"))[0] == []

    def test_its_domains_are_marked_as_domains(self) -> None:
        rules = [{"domain": ["<domains ru>"], "outboundTag": "proxy"}]
        document, _ = made("xray", xray("<server>", routing={"rules": rules}), "A")
        assert document[0]["routing"]["rules"][0]["domain"][0] == "domain:ru"

    @pytest.mark.parametrize(
        ("text", "code", "name"),
        [
            ("[]", "no_place", ""),
            ("[5]", "not_a_mapping", ""),
            (xray({"tag": "a"}), "no_place", ""),
            (xray("<server>", {"tag": "proxy"}), "same_name", "proxy"),
            (xray("<server>", 5), "not_an_entry", "outbounds"),
            (xray("<server>", {"protocol": "freedom"}), "no_name", "outbounds"),
            (xray("<server>", remarks=[5]), "no_name", "remarks"),
            (xray("<server>", routing={"rules": [{"outboundTag": "gone"}]}), "unknown_target", "gone"),
            (xray("<servers>", routing={"rules": [{"balancerTag": "gone"}]}), "unknown_target", "gone"),
            (xray("<servers>", routing={"rules": 5}), "not_a_list", "rules"),
            (xray("<servers>", routing={"balancers": [{"tag": "a", "selector": ["<nobody>"]}]}), "bad_place", "<nobody>"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_refused_and_named(self, text: str, code: str, name: str) -> None:
        assert refusal("xray", text) == (code, name)


@pytest.mark.parametrize(
    ("format_name", "text"),
    [
        ("sing-box", '{"outbounds": ["<servers>", "<servers>"]}'),
        ("xray", '{"outbounds": ["<servers>", "<servers>"]}'),
        ("xray", '{"outbounds": ["<server>", "<servers>"]}'),
        ("xray", '{"outbounds": ["<server>", "<server>"]}'),
    ],
)
def test_servers_have_one_place(format_name: str, text: str) -> None:
    """A second one would be a text among the servers, and apps refuse the whole list."""
    assert refusal(format_name, text) == ("same_name", "<servers>")


def test_a_list_of_xray_has_only_so_many_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    skeleton = skeletons.read("xray", json.dumps([{"outbounds": ["<server>"]}] * 3))
    two, three = servers("xray", nodes("A", "B")), servers("xray", nodes("A", "B", "C"))
    monkeypatch.setattr(xray_skeletons, "_MAX_SIZE", len(skeleton.render(two)[0]))
    assert skeleton.render(two)
    with pytest.raises(SkeletonError) as caught:
        skeleton.render(three)
    assert caught.value.problem.code == "too_long"


def test_hostile_names_stay_names() -> None:
    name = '"}, {"tag": "x" <servers> <name> \u2028'
    document, _ = made("xray", xray("<server>", remarks="<name>"), name.replace("#", ""))
    assert len(document) == 1
    assert ID not in json.dumps(document)

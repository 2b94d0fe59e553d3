"""Clash: what an operator's template holds must stay as it is, and cores must take the file."""

from typing import Any

import pytest
import yaml

from integrations.marzban.merging import NotUnderstood, merged
from tests.integrations.marzban.merging.examples import (
    CLASH,
    EMPTY_CLASH,
    HYSTERIA2,
    REALITY,
    TROJAN,
    servers,
)

SHADOWSOCKS = "ss://YWVzLTEyOC1nY206cHc@de.example.com:1#S"
# One of Marzban's servers as an operator's template may write it.
PROXY = "{name: own, type: ss, server: a.example.com, port: 1, cipher: none, password: x}"


def text_of(text: str, *raws: str, is_old_clash: bool = False) -> str:
    return merged(
        "mihomo", text.encode(), servers("mihomo", *raws), is_old_clash=is_old_clash
    ).decode()


def document(text: str, *raws: str, is_old_clash: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of(text, *raws, is_old_clash=is_old_clash))
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [proxy["name"] for proxy in found["proxies"]]


def members(found: dict[str, Any], place: int = 0) -> list[str]:
    return list(found["proxy-groups"][place]["proxies"])


def with_groups(groups: str, proxies: str = f"- {PROXY}") -> str:
    return f"proxies:\n{proxies}\nproxy-groups:\n{groups}\nrules:\n- MATCH,DIRECT\n"


def test_external_servers_follow_in_the_list_and_in_the_group() -> None:
    found = document(CLASH)
    assert names(found) == ["alice [Trojan]", "Berlin", "Paris"]
    assert members(found) == ["alice [Trojan]", "Berlin", "Paris"]
    assert found["proxies"][1]["reality-opts"] == {
        "public-key": "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
    }


def test_everything_that_the_panel_wrote_is_still_there_to_the_letter() -> None:
    lines = text_of(CLASH).splitlines()
    assert [line for line in lines if line in CLASH.splitlines()] == CLASH.splitlines()
    assert len(lines) == len(CLASH.splitlines()) + 4


def test_an_empty_group_is_filled_because_cores_refuse_it() -> None:
    found = document(EMPTY_CLASH)
    assert names(found) == members(found) == ["Berlin", "Paris"]


def test_a_name_of_a_proxy_or_a_group_is_not_given_again() -> None:
    found = document(
        with_groups(
            "- {name: Paris, type: select, proxies: [berlin]}",
            f"- {PROXY.replace('own', 'berlin')}",
        )
    )
    assert names(found) == ["berlin", "Berlin 2", "Paris 2"]
    assert members(found) == ["berlin", "Berlin 2", "Paris 2"]


@pytest.mark.parametrize(
    ("group", "is_open"),
    [
        ("{name: a, type: select, proxies: [own, DIRECT]}", True),
        ("{name: a, type: select, proxies: [DIRECT]}", False),
        ("{name: a, type: select, proxies: [b]}", False),
        ("{name: a, type: select, proxies: []}", True),
        ("{name: a, type: select, use: [provider]}", False),
        ("{name: a, type: select, use: [provider], proxies: [own]}", False),
    ],
)
def test_only_a_group_of_the_panel_s_servers_gets_the_external_ones(
    group: str, is_open: bool
) -> None:
    found = document(
        with_groups(f"- {group}\n- {{name: b, type: select, proxies: [REJECT]}}"), TROJAN
    )
    assert ("Paris" in found["proxy-groups"][0].get("proxies", [])) is is_open
    assert members(found, 1) == ["REJECT"]


def test_without_servers_of_the_panel_every_group_of_servers_gets_them() -> None:
    groups = "- {name: a, type: select, proxies: [b, DIRECT]}\n- {name: b, type: url-test, proxies: }\n- {name: ads, type: select, proxies: [REJECT, DIRECT]}"
    found = document(with_groups(groups, "  []"), TROJAN)
    assert members(found) == ["b", "DIRECT", "Paris"]
    assert members(found, 1) == ["Paris"]
    assert members(found, 2) == ["REJECT", "DIRECT"]


TEMPLATE = """\
# a comment at the top
%s
mixed-port: 7890   # where apps connect
secret: 0123
tolerance: 1e3
allow: on
text: |
  proxies: not here
   indented
dns: {enable: true, nameserver: ["1.1.1.1"]}
"""


@pytest.mark.parametrize("quoted", ["'", '"', ""])
def test_comments_quotes_and_odd_values_stay_as_they_are(quoted: str) -> None:
    rest = TEMPLATE % "" + f"empty: {quoted}on{quoted}\n"
    text = rest + with_groups(
        f"- name: a # the group\n  type: select\n  proxies: [{quoted}own{quoted}]  # all",
        "  # its own\n  - {name: own, type: ss, server: a.example.com, port: 1, cipher: none, password: 0123}",
    )
    found = text_of(text, TROJAN)
    assert found.startswith(rest)
    assert "password: 0123" in found
    for comment in ("# the group", "# all", "# its own"):
        assert comment in found
    assert f'[{quoted}own{quoted}, "Paris"]' in found


def test_thousands_of_rules_are_not_touched() -> None:
    rules = "".join(f"- DOMAIN-SUFFIX,site{n}.example.com,own\n" for n in range(20_000))
    found = text_of(CLASH.replace("rules: []\n", f"rules:\n{rules}"), TROJAN)
    assert found.endswith(rules)


def test_a_list_that_two_groups_share_gets_each_server_once() -> None:
    groups = (
        "- {name: a, type: select, proxies: &all [own]}\n- {name: b, type: url-test, proxies: *all}"
    )
    found = document(with_groups(groups), TROJAN)
    assert members(found) == members(found, 1) == ["own", "Paris"]


@pytest.mark.parametrize("anchor", ["base", "id001"])
def test_an_anchor_of_another_section_is_understood(anchor: str) -> None:
    text = f"x: &{anchor} {{type: select, proxies: [own]}}\n" + with_groups(
        f"- {{name: a, <<: *{anchor}}}\n- {{name: b, <<: *{anchor}}}"
    )
    found = document(text, TROJAN)
    assert members(found) == members(found, 1) == ["own", "Paris"]


def test_an_anchor_that_another_section_uses_is_kept() -> None:
    text = with_groups("- {name: a, type: select, proxies: [own]}", f"- &id001 {PROXY}")
    found = document(text + "copy: *id001\n", TROJAN)
    assert found["copy"]["name"] == "own"


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_any_indentation_is_understood(indent: str) -> None:
    text = with_groups(
        f"{indent}- name: a\n{indent}  type: select\n{indent}  proxies:\n{indent}  - own",
        f"{indent}- {PROXY}",
    )
    found = document(text)
    assert names(found) == members(found) == ["own", "Berlin", "Paris"]


def test_a_file_that_does_not_end_in_a_line_break_is_understood() -> None:
    text = "proxy-groups:\n- {name: a, type: select, proxies: [own]}\nproxies:\n- " + PROXY
    assert names(document(text)) == ["own", "Berlin", "Paris"]


@pytest.mark.parametrize("name", ["on", "1e3", "null", 'a "quoted" one', "a: b #c", "- x", "🇩🇪"])
def test_any_name_is_written_so_that_it_is_read_again(name: str) -> None:
    found = document(CLASH, TROJAN.replace("Paris", name.replace("#", "%23").replace('"', "%22")))
    assert names(found)[-1] == members(found)[-1] == name


@pytest.mark.parametrize(
    ("raw", "is_known"),
    [
        (TROJAN, True),
        (SHADOWSOCKS, True),
        (REALITY, False),
        (HYSTERIA2, False),
        (TROJAN.replace("type=ws", "type=httpupgrade"), False),
        (
            SHADOWSOCKS.replace(
                "YWVzLTEyOC1nY206cHc", "2022-blake3-aes-128-gcm:AAAAAAAAAAAAAAAAAAAAAA%3D%3D"
            ),
            False,
        ),
    ],
)
def test_old_clash_gets_only_what_it_knows(raw: str, is_known: bool) -> None:
    assert len(document(CLASH, raw, is_old_clash=True)["proxies"]) == 1 + is_known
    assert len(document(CLASH, raw)["proxies"]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just a text",
        "- a\n- list\n",
        "mode: rule\n",
        "proxies: {a: b}\n",
        "proxies: [a, b]\n",
        "proxies: []\nproxies: []\n",
        "proxies: []\nproxy-groups: {a: b}\n",
        "proxies: []\nproxy-groups: [a]\n",
        "proxies: [}\n",
        "proxies: [*nowhere]\n",
        "proxies: " + "[" * 5000,
        "proxies: []\n" + "a: 1\n" * 120_000,
    ],
)
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        text_of(text)

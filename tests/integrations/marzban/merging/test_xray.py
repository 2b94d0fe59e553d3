import json
from typing import Any

import pytest

from integrations.marzban.merging import NotUnderstood, merged
from tests.integrations.marzban.merging.examples import HYSTERIA2, TROJAN, as_json, servers, xray


def configs(given: object, *raws: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(merged("xray", as_json(given), servers("xray", *raws)))
    return found


def test_each_external_server_is_one_more_configuration() -> None:
    own = [xray("a"), xray("b")]
    found = configs(own)
    assert [config["remarks"] for config in found] == ["a", "b", "Berlin", "Paris"]
    assert found[:2] == own


def test_it_is_the_panel_s_template_with_another_server() -> None:
    template, found = xray(), configs([xray()], TROJAN)[1]
    assert found["outbounds"][0] | {"tag": "proxy", "protocol": "trojan"} == found["outbounds"][0]
    assert found["outbounds"][1:] == template["outbounds"][1:]
    for key in ("log", "inbounds", "routing"):
        assert found[key] == template[key]


def test_names_are_unique() -> None:
    assert [config["remarks"] for config in configs([xray("paris")], TROJAN)] == [
        "paris",
        "Paris 2",
    ]


def test_what_xray_cannot_express_is_left_out() -> None:
    found = configs(
        [xray()], "tuic://11111111-2222-4333-8444-555555555555:p@a.example:443#T", TROJAN
    )
    assert [config["remarks"] for config in found][1:] == ["Paris"]


@pytest.mark.parametrize(
    "given",
    [
        [],
        xray(),
        ["a"],
        [xray() | {"outbounds": None}],
        [xray() | {"outbounds": [{"tag": "other"}]}],
        [xray() | {"outbounds": [{"tag": "proxy"}, {"tag": "proxy"}]}],
    ],
)
def test_anything_else_is_not_understood(given: object) -> None:
    with pytest.raises(NotUnderstood):
        configs(given, HYSTERIA2)

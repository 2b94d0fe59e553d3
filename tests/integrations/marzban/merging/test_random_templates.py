"""Whatever an operator's template holds: merging adds servers and changes nothing else, or says that it does not understand."""

import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from integrations.marzban.merging import NotUnderstood, merged
from tests.integrations.marzban.merging.examples import as_json, servers, sing_box

NAMES = st.sampled_from(["own", "second", "Paris", "группа", "on", "1e3", "a: b", "- x", "♻️ Auto"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        ["", "on", "0123", "1e3", "~", "x: y", "#", "два", "a\nb", "2001-01-01", "'", '"']
    ),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
PROXIES = st.lists(
    st.builds(lambda name, port: {"name": name, "type": "ss", "port": port}, NAMES, SCALARS),
    max_size=3,
)
GROUPS = st.lists(
    st.builds(
        lambda name, members, more: {"name": name, "proxies": members, **more},
        NAMES,
        st.none() | st.lists(NAMES | st.just("DIRECT"), max_size=3),
        st.sampled_from([{}, {"use": ["p"]}, {"type": "select"}]),
    ),
    max_size=3,
)  # fmt: skip
TEMPLATES = st.builds(
    lambda before, proxies, groups, after: {**before, "proxies": proxies, "proxy-groups": groups, **after},
    st.dictionaries(st.sampled_from(["mode", "dns", "rules"]), ANYTHING, max_size=3),
    PROXIES,
    GROUPS,
    st.dictionaries(st.sampled_from(["rule-providers", "x"]), ANYTHING, max_size=2),
)  # fmt: skip


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in names}


@given(TEMPLATES, st.sampled_from([None, True, False]))
def test_clash_keeps_everything_and_gets_every_server_once(
    template: dict[str, Any], flow: bool | None
) -> None:
    text = yaml.dump(template, sort_keys=False, allow_unicode=True, default_flow_style=flow)
    try:
        found = yaml.safe_load(merged("mihomo", text.encode(), servers("mihomo")))
    except NotUnderstood:
        return
    own = template["proxies"]
    assert without(found, "proxies", "proxy-groups") == without(template, "proxies", "proxy-groups")
    assert found["proxies"][: len(own)] == own
    new = [proxy["name"] for proxy in found["proxies"][len(own) :]]
    taken = [each["name"] for each in [*own, *template["proxy-groups"]]]
    assert len(new) == len({*new, *taken}) - len({*taken}) == 2
    for before, after in zip(template["proxy-groups"], found["proxy-groups"], strict=True):
        assert without(after, "proxies") == without(before, "proxies")
        kept = before["proxies"] or []
        assert after["proxies"] in (before["proxies"], [*kept, *new])


@given(st.lists(NAMES, max_size=3, unique=True), st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_sing_box_keeps_everything_and_every_tag_exists(
    tags: list[str], more: dict[str, Any]
) -> None:
    given_ = sing_box(*({"type": "trojan", "tag": tag} for tag in tags), **more)
    found = json.loads(merged("sing-box", as_json(given_), servers("sing-box")))
    assert without(found, "outbounds") == without(json.loads(as_json(given_)), "outbounds")
    known = [item["tag"] for item in found["outbounds"]]
    assert len(known) == len(set(known)) == len(given_["outbounds"]) + 2
    for group in found["outbounds"][:2]:
        assert set(group["outbounds"]) <= set(known)
        assert len(group["outbounds"]) == len(set(group["outbounds"]))


@given(st.sampled_from(["base64", "mihomo", "sing-box", "xray"]), st.binary(max_size=200))
def test_no_body_breaks_it(format_name: str, body: bytes) -> None:
    try:
        merged(format_name, body, servers(format_name))
    except NotUnderstood:
        pass


@given(st.sampled_from(["base64", "mihomo", "sing-box", "xray"]), ANYTHING, st.booleans())
def test_no_document_breaks_it(format_name: str, document: Any, as_yaml: bool) -> None:
    text = yaml.dump(document, allow_unicode=True) if as_yaml else json.dumps(document)
    try:
        merged(format_name, text.encode(), servers(format_name))
    except NotUnderstood:
        pass

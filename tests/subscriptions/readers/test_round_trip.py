"""What our own writers express, our readers read back as the same server: over all links that the tests know."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from subscriptions import links
from subscriptions.formats import mihomo, sing_box, xray
from subscriptions.formats.common import Inexpressible
from subscriptions.links import Node
from subscriptions.readers import read
from tests.subscriptions.formats.cores import sample_nodes, wild_nodes


class Format(NamedTuple):
    entry: Callable[[Node, str], dict[str, Any]]
    document: Callable[[dict[str, Any]], str]


FORMATS = {
    "mihomo": Format(mihomo.entry, lambda entry: f"proxies:\n  - {json.dumps(entry)}\n"),
    "sing-box": Format(sing_box.entry, lambda entry: json.dumps({"outbounds": [entry]})),
    "xray": Format(xray.entry, json.dumps),
}
# A link names the resolver that knows the ECH settings, mihomo does not.
BEYOND = {"mihomo": {"ech"}, "sing-box": set[str](), "xray": set[str]()}


def entry_of(node: Node, form: Format) -> dict[str, Any] | None:
    try:
        return json.loads(json.dumps(form.entry(node, "x")))  # type: ignore[no-any-return]
    except Inexpressible:
        return None


def expressed(name: str) -> list[Node]:
    return [
        node
        for node in [*sample_nodes(), *wild_nodes()]
        if entry_of(node, FORMATS[name])
        and not ("://" in node.params.get("ech", "") and BEYOND[name])
    ]


def back(name: str, node: Node) -> Node:
    entry = entry_of(node, FORMATS[name])
    assert entry is not None
    [found] = read(FORMATS[name].document(entry))
    assert found.node is not None, found.code
    return found.node


@pytest.mark.parametrize("name", FORMATS)
def test_every_server_that_a_format_expresses_is_read_back_as_the_same(name: str) -> None:
    nodes = expressed(name)
    assert len(nodes) > 100
    for node in nodes:
        assert entry_of(back(name, node), FORMATS[name]) == entry_of(node, FORMATS[name])


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_added_to_a_server_on_the_way(name: str) -> None:
    """Names that a link leaves out are said, and preferences of an app are gone; most servers are equal to the letter."""
    nodes = expressed(name)
    same = [links.fingerprint(node) == links.fingerprint(back(name, node)) for node in nodes]
    assert sum(same) > 0.75 * len(nodes)


@pytest.mark.parametrize("name", FORMATS)
def test_the_link_of_a_read_server_is_stable(name: str) -> None:
    for node in (back(name, each) for each in expressed(name)):
        again = links.parse(node.raw)
        assert (again.params, again.extra) == (node.params, {})
        assert links.fingerprint(again) == links.fingerprint(node)


@pytest.mark.parametrize("name", FORMATS)
def test_a_server_is_the_same_for_the_other_formats(name: str) -> None:
    """What one format cannot hold is absent for the others too, but nothing contradicts."""
    for node in expressed(name):
        found = back(name, node)
        for other in FORMATS.values():
            wanted, given = entry_of(node, other), entry_of(found, other)
            if wanted and given:
                assert _core(given) == _core(wanted), node.raw


def _core(entry: dict[str, Any]) -> dict[str, Any]:
    """What every format holds: address, credentials, transport."""
    text = json.dumps(entry)
    proxy = entry["outbounds"][0] if "outbounds" in entry else entry
    kept = {
        key: proxy.get(key)
        for key in (
            "type",
            "protocol",
            "server",
            "port",
            "server_port",
            "uuid",
            "password",
            "network",
        )
    }
    hosts = {
        key: f'"{key}"' in text for key in ("short-id", "short_id", "shortId", "obfs-password")
    }
    return kept | hosts


def test_our_own_list_is_read_as_a_source() -> None:
    nodes = [links.parse("trojan://pw@a.example:1#A"), links.parse("trojan://pw@b.example:2#Б")]
    for writer in (mihomo.render, sing_box.render, xray.render):
        found = read(writer(nodes).decode())
        assert [(each.name, each.code) for each in found] == [("A", ""), ("Б", "")]

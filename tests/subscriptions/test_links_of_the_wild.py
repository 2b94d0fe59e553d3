"""Links as panels and scripts really write them, each with what every format must make of it.

A row's ``right``: ``refused`` with a code, ``params`` that are there, ``absent`` ones, ``port``, ``names`` of
the servers in a body, and for a format what it must say at least, or that the server is left out of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from subscriptions import formats, links
from subscriptions.formats import common, mihomo, sing_box, xray
from subscriptions.sources import source_lists

_FILE = Path(__file__).parent / "data" / "hunt_links.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in _FILE.read_text("utf-8").splitlines()]
_WRITERS = {"mihomo": mihomo.entry, "sing-box": sing_box.entry, "xray": xray.entry}
_LEFT_OUT = "left out"


def _with(*keys: str) -> list[Any]:
    found = [row for row in ROWS if any(key in row["right"] for key in keys) and "link" in row]
    return [pytest.param(row["link"], row["right"], id=row["name"]) for row in found]


def said(link: str, name: str) -> Any:
    """What a format says of a link."""
    try:
        found = _WRITERS[name](links.parse(link), "n")
    except common.Inexpressible:
        return _LEFT_OUT
    return found["outbounds"][0] if name == "xray" else found


def part_of(found: Any, wanted: Any) -> Any:
    """As much of ``found`` as ``wanted`` speaks of."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: part_of(found.get(key), value) for key, value in wanted.items()}
    if isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        return [part_of(*pair) for pair in zip(found, wanted, strict=True)]
    return found


@pytest.mark.parametrize(("link", "right"), _with(*_WRITERS))
def test_every_format_says_the_way_or_leaves_the_server_out(
    link: str, right: dict[str, Any]
) -> None:
    wanted = {name: right[name] for name in _WRITERS if name in right}
    assert {name: part_of(said(link, name), value) for name, value in wanted.items()} == wanted


@pytest.mark.parametrize(("link", "right"), _with(*_WRITERS))
def test_what_is_left_out_is_counted(link: str, right: dict[str, Any]) -> None:
    counted = formats.left_out([links.parse(link)])
    for name in _WRITERS:
        if name in right:
            assert counted.get(name, 0) == (right[name] == _LEFT_OUT)


@pytest.mark.parametrize(("link", "right"), _with("params", "absent", "port"))
def test_the_link_is_understood(link: str, right: dict[str, Any]) -> None:
    node = links.parse(link)
    assert node.params.items() >= right.get("params", {}).items()
    assert not node.params.keys() & set(right.get("absent", ()))
    assert node.port == right.get("port", node.port)


@pytest.mark.parametrize(("link", "right"), _with("refused"))
def test_the_link_is_refused_with_its_true_reason(link: str, right: dict[str, Any]) -> None:
    with pytest.raises(links.LinkError) as caught:
        links.parse(link)
    assert caught.value.code == right["refused"]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "names" in row["right"]], ids=lambda row: str(row["name"])
)
def test_every_server_of_a_body_is_found_under_its_own_name(row: dict[str, Any]) -> None:
    body = row.get("body") or row["link"]
    assert [node.remark for node in source_lists.parse(body.encode()).nodes] == row["right"][
        "names"
    ]


@pytest.mark.parametrize(
    "link",
    [
        pytest.param(row["link"], id=row["name"])
        for row in ROWS
        if "link" in row and "refused" not in row["right"]
    ],
)
def test_the_link_that_goes_out_is_the_same_server(link: str) -> None:
    node = links.parse(link)
    for written in (links.emit(node), links.outgoing(node)):
        assert links.fingerprint(links.parse(written)) == links.fingerprint(node)
        assert links.parse(written).params == node.params

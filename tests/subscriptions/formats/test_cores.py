"""The cores themselves check what we write."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from subscriptions import formats, links
from subscriptions.formats import mihomo
from subscriptions.links import Node
from subscriptions.serving import notices
from tests.subscriptions.formats.cores import (
    mihomo_complains,
    needs_mihomo,
    needs_sing_box,
    sample_nodes,
    sing_box_complains,
    wild_nodes,
    without_utls,
)
from tests.subscriptions.formats.strategies import lists

pytestmark = pytest.mark.slow

NOTICES = [
    links.parse(notices.link(notices.text(state, "fa")))
    for state in ("disabled", "expired", "limited")
]
# Whole lists are slow to generate and to shrink.
SEVERAL = settings(
    phases=[Phase.generate], max_examples=10, deadline=None, suppress_health_check=list(HealthCheck)
)
XHTTP = json.dumps(
    dict.fromkeys(mihomo.streams.XHTTP_PLACES, " o d d ")
    | {"xPaddingObfsMode": True, "scMaxEachPostBytes": "5-1", "xmux": {"hKeepAlivePeriod": "5-6"}}
)
LISTS = {
    "the samples": sample_nodes(),
    "links as panels write them": wild_nodes(),
    "nothing": [],
    "a notice": NOTICES[:1],
    "the same thrice": sample_nodes()[:1] * 3,
    "all that XHTTP may say": [
        links.parse(f"vless://x@a.example:1?security=tls&type=xhttp&extra={quote(XHTTP)}")
    ],
    "a per cent sign in a plugin's path": [
        links.parse("ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Bpath%3D%2F50%25b")
    ],
}


@needs_mihomo
@pytest.mark.parametrize("wanted", LISTS.values(), ids=LISTS)
def test_mihomo_accepts(wanted: list[Node], tmp_path: Path) -> None:
    assert mihomo_complains(formats.render("mihomo", wanted), tmp_path) == ""


@needs_sing_box
@pytest.mark.parametrize("wanted", LISTS.values(), ids=LISTS)
def test_sing_box_accepts(wanted: list[Node], tmp_path: Path) -> None:
    assert (
        sing_box_complains(without_utls(json.loads(formats.render("sing-box", wanted))), tmp_path)
        == ""
    )


@needs_sing_box
def test_sing_box_only_complains_that_this_build_lacks_fingerprints(tmp_path: Path) -> None:
    with_utls = [node for node in sample_nodes() if {"fp", "pbk"} & node.params.keys()]
    for node in with_utls:
        complaint = sing_box_complains(formats.render("sing-box", [node]), tmp_path)
        assert not complaint or re.search("uTLS.* is not included in this build", complaint)


@needs_mihomo
@SEVERAL
@given(wanted=lists())
def test_no_server_breaks_the_list_for_mihomo(
    wanted: list[Node], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert (
        mihomo_complains(formats.render("mihomo", wanted), tmp_path_factory.mktemp("mihomo")) == ""
    )


@needs_sing_box
@SEVERAL
@given(wanted=lists())
def test_no_server_breaks_the_list_for_sing_box(
    wanted: list[Node], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = without_utls(json.loads(formats.render("sing-box", wanted)))
    assert sing_box_complains(content, tmp_path_factory.mktemp("sing-box")) == ""

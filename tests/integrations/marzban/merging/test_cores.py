"""The cores themselves check merged lists, with every kind of server that the formats can express."""

import json
from pathlib import Path
from typing import Any

import pytest

from integrations.marzban.merging import merged
from subscriptions import formats
from tests.integrations.marzban.merging.examples import (
    CLASH,
    EMPTY_CLASH,
    SING_BOX_NODE,
    as_json,
    sing_box,
)
from tests.subscriptions.formats.cores import (
    mihomo_complains,
    needs_mihomo,
    needs_sing_box,
    sample_nodes,
    sing_box_complains,
    wild_nodes,
    without_utls,
)

pytestmark = pytest.mark.slow
NODES = [*sample_nodes(), *wild_nodes()]


@needs_mihomo
@pytest.mark.parametrize("text", [CLASH, EMPTY_CLASH], ids=["with servers", "without"])
def test_mihomo_accepts(text: str, tmp_path: Path) -> None:
    found = merged("mihomo", text.encode(), formats.entries("mihomo", NODES))
    assert mihomo_complains(found, tmp_path) == ""


@needs_mihomo
def test_mihomo_refuses_what_has_no_external_servers(tmp_path: Path) -> None:
    assert mihomo_complains(EMPTY_CLASH.encode(), tmp_path) != ""


# The stock file names outbounds that newer versions refuse, so the external servers are what is checked.
CURRENT: dict[str, Any] = sing_box(SING_BOX_NODE, endpoints=[])
CURRENT["outbounds"] = [
    item for item in CURRENT["outbounds"] if item["type"] not in {"block", "dns"}
]


@needs_sing_box
def test_sing_box_accepts(tmp_path: Path) -> None:
    found = merged("sing-box", as_json(CURRENT), formats.entries("sing-box", NODES))
    assert sing_box_complains(without_utls(json.loads(found)), tmp_path) == ""

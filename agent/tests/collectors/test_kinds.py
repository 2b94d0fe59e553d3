from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from xpert_agent.config import read_config
from xpert_agent.sources import KINDS, open_source, source_class
from xpert_agent.sources.base import SourceError

from .fakes import MemoryStore

DOCS = Path(__file__).parents[3] / "docs"
COLLECTORS = (
    "amneziawg",
    "hysteria2",
    "nftables",
    "openvpn",
    "outline",
    "radius",
    "shadowsocks",
    "ssm",
    "wireguard",
)
OF_EVERY_SECTION = {"kind", "servers", "people", "server", "person", "count_existing"}


def examples() -> list[str]:
    """The sections of agent.ini in the documentation."""
    texts = [path.read_text() for path in sorted(DOCS.glob("agent*.md"))]
    return [
        block
        for text in texts
        for block in re.findall(r"^```ini\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if re.search(rf"^kind = ({'|'.join(COLLECTORS)})$", block, re.MULTILINE)
    ]


@pytest.mark.parametrize("kind", COLLECTORS)
def test_an_option_has_no_name_that_every_section_has(kind: str) -> None:
    assert kind in KINDS
    assert source_class(kind).kind == kind
    assert not OF_EVERY_SECTION & {option.name for option in source_class(kind).options}


@pytest.mark.parametrize("example", examples())
def test_every_example_of_the_documentation_is_accepted(example: str, tmp_path: Path) -> None:
    (tmp_path / "panel.key").write_text("k3y")
    for name in re.findall(r"^secret_file = (.*)$", example, re.MULTILINE):
        (tmp_path / name).write_text("s3cret")
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    config = tmp_path / "agent.ini"
    config.write_text(
        "[panel]\nurl = https://panel.example.com\nkey_file = panel.key\n\n" + example
    )
    for source in read_config(config).sources:
        open_source(source.kind, source.options, MemoryStore()).close()


def test_every_kind_has_an_example_except_what_differs_by_its_name_alone() -> None:
    shown = {
        kind for text in examples() for kind in re.findall(r"^kind = (\w+)$", text, re.MULTILINE)
    }
    assert shown == set(COLLECTORS) - {"amneziawg"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("hysteria2", {"url": "http://127.0.0.1:9"}),
        ("outline", {"url": "http://127.0.0.1:9/metrics"}),
        ("ssm", {"url": "http://127.0.0.1:9"}),
        ("wireguard", {"interface": "xpert-absent"}),
        ("openvpn", {"status": "/nowhere/status"}),
        ("shadowsocks", {"host": "vpn.example.com", "manager": "127.0.0.1:9"}),
    ],
)
def test_what_does_not_run_is_one_sentence_without_secrets(
    kind: str, options: dict[str, Any]
) -> None:
    source = open_source(kind, options, MemoryStore())
    with pytest.raises(SourceError) as caught:
        source.read()
    source.close()
    assert re.fullmatch(r"[^\n]{10,200}\.", str(caught.value))

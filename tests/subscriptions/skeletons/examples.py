"""What tests of skeletons begin with."""

import json
from typing import Any

import pytest
import yaml

from subscriptions import formats, links, skeletons
from subscriptions.links import Node
from subscriptions.skeletons import Result, Server, SkeletonError

ID = "11111111-2222-4333-8444-555555555555"


def nodes(*names: str) -> list[Node]:
    return [
        links.parse(f"trojan://pw{number}@h{number}.example:443#{name}")
        for number, name in enumerate(names)
    ]


def servers(
    format_name: str, found: list[Node], reserved: frozenset[str] = frozenset()
) -> list[Server]:
    writer = skeletons.writer(format_name)
    names = formats.unique_names(found, reserved)
    written = (
        (node, name, formats.text_of(node, name, writer))
        for node, name in zip(found, names, strict=True)
    )
    return [Server(name, text, node.protocol) for node, name, text in written if text is not None]


def made(format_name: str, text: str, *names: str) -> tuple[Any, Result]:
    """The list as its app reads it, and what became of the groups."""
    skeleton = skeletons.read(format_name, text)
    content, result = skeleton.render(servers(format_name, nodes(*names), skeleton.reserved))
    read = yaml.safe_load if format_name == "mihomo" else json.loads
    return read(content), result


def refusal(format_name: str, text: str) -> tuple[str, str]:
    """The code and what it names."""
    with pytest.raises(SkeletonError) as caught:
        skeletons.read(format_name, text)
    return caught.value.problem.code, caught.value.problem.name

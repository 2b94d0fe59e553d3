"""Whatever an operator sends: it is refused with a code, or it makes lists."""

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from subscriptions import skeletons
from subscriptions.readers import documents
from subscriptions.skeletons import SkeletonError, ready
from subscriptions.template_words import _SENTENCES
from tests.subscriptions.skeletons.examples import nodes, servers

SERVERS = {name: servers(name, nodes("DE 1", "NL 2")) for name in skeletons.FORMATS}
WORDS = st.sampled_from([
    "<servers>", "<server>", "<country DE>", "<countries>", "<domains ru>", "<name x>", "<source a>", "Proxy", "Auto",
    "direct", "DIRECT", "proxies", "outbounds", "tag", "name", "type", "selector", "rules", "", "\0", "MATCH,x", "<", "#x",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else []
    )  # fmt: skip
    return [path, *(found for key, each in inner for found in _paths(each, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _changed(value[path[0]], path[1:], new)
    return copied


def _is_sound(format_name: str, text: str) -> None:
    try:
        skeleton = skeletons.read(format_name, text)
    except SkeletonError as error:
        assert error.problem.code in _SENTENCES
        return
    for found in (SERVERS[format_name], []):
        content, _ = skeleton.render(found)
        yaml.safe_load(content) if format_name == "mihomo" else json.loads(content)


@settings(max_examples=300)
@given(st.sampled_from(ready.READY), st.data())
def test_a_ready_one_with_a_changed_part(each: ready.Ready, data: st.DataObject) -> None:
    if each.format == "mihomo":
        document = yaml.safe_load(each.text)
    else:
        document = json.loads(documents.without_comments(each.text))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(_paths(document)))
        document = _changed(document, path, data.draw(VALUES))
    _is_sound(each.format, json.dumps(document, ensure_ascii=False))


@settings(max_examples=200)
@given(st.sampled_from(skeletons.FORMATS), st.text(max_size=80) | VALUES.map(json.dumps))
def test_any_text(format_name: str, text: str) -> None:
    _is_sound(format_name, text)
    _is_sound(format_name, ready.BY_KEY[f"{format_name}-everything"].text + text)

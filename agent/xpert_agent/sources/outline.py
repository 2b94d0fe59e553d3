"""Outline's own counters: the Prometheus port of outline-ss-server, on the server itself.

`shadowsocks_data_bytes{access_key="1",dir="c<p",proto="tcp"} 1.2e+09` counts what goes between
client and proxy (`c>p` is what the person sends) and between proxy and target. TCP bytes are
added when the connection closes. Connections that no key opened have the key "".

The management API's `/metrics/transfer` is a sliding sum of 30 days that falls by itself, so
it can never be subtracted and is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.local_http import get
from xpert_agent.sources.tally import THIS_SERVER, Fall, Part, Tally

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s|$)")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_UP, _DOWN = "c>p", "c<p"


class Outline:
    kind: ClassVar[str] = "outline"
    options: ClassVar[tuple[Option, ...]] = (
        Option("url", "outline-ss-server's Prometheus page", "http://127.0.0.1:9092/metrics"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._url = options["url"]
        self._tally = Tally(store)

    def read(self) -> Reading:
        page = get(self._url).decode("utf-8", "replace")
        parts, started = parse_page(page)
        self._tally.observe_all(parts, epoch=started, fall=Fall.TOGETHER)
        return self._tally.reading()

    def close(self) -> None:
        self._tally.save()


def parse_page(page: str) -> tuple[dict[str, Part], str]:
    """Counters by access key, and when the process started ("" if the page does not say).

    Raises `SourceError` for a page of another program.
    """
    sums: dict[str, list[int]] = {}
    started, ours = "", False
    for name, labels, value in _samples(page):
        ours = ours or name.startswith("shadowsocks_")
        if name == "process_start_time_seconds":
            started = value
        if name == "shadowsocks_data_bytes":
            _add(sums, labels, value)
    if not ours:
        raise SourceError("The page at outline's url is not outline-ss-server's.")
    parts = {key: Part(Key(key, THIS_SERVER), Counter(*both)) for key, both in sums.items()}
    return parts, started


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], str]]:
    for line in page.splitlines():
        found = _SAMPLE.match(line)
        if found:
            labels = {name: _unescape(text) for name, text in _LABEL.findall(found["labels"] or "")}
            yield found["name"], labels, found["value"]


def _unescape(text: str) -> str:
    return re.sub(r"\\[\\\"n]", lambda found: _ESCAPES[found[0]], text)


def _add(sums: dict[str, list[int]], labels: Mapping[str, str], value: str) -> None:
    key, direction = labels.get("access_key"), labels.get("dir")
    if not key or direction not in (_UP, _DOWN):
        return
    try:
        amount = int(float(value))
    except (ValueError, OverflowError) as error:
        raise SourceError("A counter on outline-ss-server's page is not a number.") from error
    sums.setdefault(key, [0, 0])[direction == _DOWN] += amount

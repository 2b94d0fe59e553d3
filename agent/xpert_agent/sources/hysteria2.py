"""Hysteria2's Traffic Stats API (`trafficStats` in the server's configuration).

`GET /traffic` answers `{"alice": {"tx": 514, "rx": 4017}}`. The server looks from the person to
the internet: tx is what the person sends. The counters are in memory, there is no uptime, and
a person appears with the first byte. `?clear=1` would read and zero, and lose what was read
in a crash, so it is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.local_http import get_json
from xpert_agent.sources.tally import THIS_SERVER, Fall, Part, Tally


class Hysteria2:
    kind: ClassVar[str] = "hysteria2"
    options: ClassVar[tuple[Option, ...]] = (
        Option("url", "trafficStats' listen address", "http://127.0.0.1:9999"),
        Option("secret", "trafficStats' secret", ""),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._url = options["url"].rstrip("/") + "/traffic"
        self._headers = {"Authorization": options["secret"]} if options["secret"] else {}
        self._tally = Tally(store)

    def read(self) -> Reading:
        parts = parse_traffic(get_json(self._url, self._headers))
        self._tally.observe_all(parts, fall=Fall.TOGETHER)
        return self._tally.reading()

    def close(self) -> None:
        self._tally.save()


def parse_traffic(answer: Any) -> dict[str, Part]:
    """Counters by person; raises `SourceError` for an answer of another shape."""
    try:
        return {
            str(person): Part(
                Key(str(person), THIS_SERVER), Counter(int(entry["tx"]), int(entry["rx"]))
            )
            for person, entry in answer.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError("Hysteria2's answer is not a list of people with tx and rx.") from error

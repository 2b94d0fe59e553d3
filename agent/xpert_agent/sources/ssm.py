"""sing-box's Shadowsocks server management API (`services: [{"type": "ssm-api", ...}]`).

`GET /server/v1/stats` lists every user with `uplinkBytes` and `downlinkBytes`. With `cache_path`
sing-box saves the counters when it stops, and a killed sing-box goes back to what it saved: a
smaller value then holds bytes that are counted already. `?clear=true` is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.local_http import get_json
from xpert_agent.sources.tally import THIS_SERVER, Fall, Part, Tally

_FALLS = {"yes": Fall.RESTORED, "no": Fall.ALONE}


class Ssm:
    kind: ClassVar[str] = "ssm"
    options: ClassVar[tuple[Option, ...]] = (
        Option("url", "the ssm-api's address, with the path of the inbound in `servers`"),
        Option("cache", "yes if the ssm-api has a cache_path, no if it has none", "yes"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._url = options["url"].rstrip("/") + "/server/v1/stats"
        if options["cache"] not in _FALLS:
            raise SourceError("The option “cache” of ssm is yes or no.")
        self._fall = _FALLS[options["cache"]]
        self._tally = Tally(store)

    def read(self) -> Reading:
        parts = parse_stats(get_json(self._url))
        self._tally.observe_all(parts, fall=self._fall)
        return self._tally.reading()

    def close(self) -> None:
        self._tally.save()


def parse_stats(answer: Any) -> dict[str, Part]:
    """Counters by user; raises `SourceError` for an answer of another shape."""
    try:
        users = answer["users"] or []
        return {str(user["username"]): _part(user) for user in users}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError("The ssm-api's answer has no list of users with their bytes.") from error


def _part(user: Mapping[str, Any]) -> Part:
    counter = Counter(int(user["uplinkBytes"]), int(user["downlinkBytes"]))
    return Part(Key(str(user["username"]), THIS_SERVER), counter)

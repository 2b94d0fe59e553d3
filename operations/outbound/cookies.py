"""Cookies within one fetch: some panels redirect to the same URL to check that cookies are returned."""

import re
from collections.abc import Iterable

# The most cookies per host, and the most characters per cookie.
_MAX_COOKIES = 20
_MAX_COOKIE = 4096
_COOKIE = re.compile(r"\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*([ -:<-~]*)", re.ASCII)
_EXPIRED = re.compile(r";\s*max-age\s*=\s*(?:0\s*(?:;|$)|-)", re.IGNORECASE)


class Cookies:
    """The cookies of each host, which are sent only to that host."""

    def __init__(self) -> None:
        self._by_host: dict[str, dict[str, str]] = {}

    def keep(self, host: str, set_cookie: Iterable[str]) -> None:
        jar = self._by_host.setdefault(host, {})
        for line in set_cookie:
            found = _COOKIE.match(line)
            if not found or len(line) > _MAX_COOKIE:
                continue
            jar.pop(found[1], None)
            if not _EXPIRED.search(line) and len(jar) < _MAX_COOKIES:
                jar[found[1]] = found[2].strip()

    def of(self, host: str) -> str:
        jar = self._by_host.get(host, {})
        return "; ".join(f"{name}={value}" for name, value in jar.items())

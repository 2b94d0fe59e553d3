"""The settings of one entry of a configuration, taken out one by one. What remains is a setting that nobody understood."""

import json
from typing import Any

from subscriptions import links
from subscriptions.formats.common import FINGERPRINTS
from subscriptions.links import LinkError, Node, clean_remark
from subscriptions.links.hosts import parse_host, parse_port
from subscriptions.links.transports import compact

from .documents import Unclear

# Values that mean "not set".
_UNSET: tuple[Any, ...] = (None, False, "", [], {}, 0)


class ReadError(ValueError):
    """An entry is left out. ``code``: one of ``source_errors``, or of a link."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Settings:
    """Takers return an empty value for an absent setting, and raise ReadError for a value of the wrong type."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ReadError("bad_type")
        self._values = dict(value)
        self._parts: list[Settings] = []

    def take(self, *names: str) -> Any:
        """The first value that is set. All of the names are removed."""
        found = [self._values.pop(name, None) for name in names]
        return next((value for value in found if value is not None), None)

    def text(self, *names: str) -> str:
        value = self.take(*names)
        if value is None:
            return ""
        if isinstance(value, Unclear):
            raise ReadError("unclear")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ReadError("bad_type")
        return str(value)

    def word(self, *names: str) -> str:
        return self.text(*names).strip().lower()

    def number(self, *names: str) -> int:
        text = self.text(*names).strip()
        if text and not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ReadError("bad_number")
        return int(text or 0)

    def switch(self, *names: str) -> bool:
        value = self.take(*names)
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            value = value.lower() == "true"
        if value is not None and not isinstance(value, bool):
            raise ReadError("bad_type")
        return bool(value)

    def texts(self, *names: str) -> list[str]:
        """A list, or a single value. None of them may hold a comma, which separates them in a link."""
        value = self.take(*names)
        items = value if isinstance(value, list) else [] if value is None else [value]
        found = [Settings({"item": item}).text("item").strip() for item in items]
        if len(found) > 1 and any("," in item for item in found):
            raise ReadError("inexact")
        return [item for item in found if item]

    def listed(self, *names: str) -> str:
        return ",".join(self.texts(*names))

    def part(self, *names: str) -> "Settings":
        """The settings in a setting; empty if it is absent."""
        value = self.take(*names)
        found = Settings({} if value is None else value)
        self._parts.append(found)
        return found

    def has(self, *names: str) -> bool:
        return any(self._values.get(name) not in _UNSET for name in names)

    def put(self, name: str, value: Any) -> None:
        """Put back a value that was only looked at."""
        self._values[name] = value

    def ignore(self, *names: str) -> None:
        for name in names:
            self._values.pop(name, None)

    def rest(self) -> dict[str, Any]:
        """Take everything that is left."""
        found, self._values = self._values, {}
        return found

    def done(self) -> None:
        """Raises ReadError if a setting is left, here or in a part: without it the server is used in another way."""
        if any(not _is_unset(value) for value in self._values.values()):
            raise ReadError("unknown_setting")
        for part in self._parts:
            part.done()


def _is_unset(value: Any) -> bool:
    return any(value == unset and type(value) is type(unset) for unset in _UNSET)


def node_of(protocol: str, server: str, port: int, name: str, params: dict[str, str]) -> Node:
    """The server as its share link gives it. Raises ReadError if no link holds all of these parameters."""
    given = {key: value for key, value in params.items() if value}
    try:
        host, place = parse_host(server), parse_port(str(port or ""))
        found = links.parse(links.emit(Node("", protocol, host, place, clean_remark(name), given)))
    except LinkError as error:
        raise ReadError("inexact" if error.code == "not_a_proxy" else error.code) from None
    except (KeyError, ValueError):
        raise ReadError("inexact") from None
    if found.params.keys() != given.keys() or found.extra or found.port != place:
        raise ReadError("inexact")
    return found


def fingerprint(text: str) -> str:
    """The browser to imitate. One that only some apps know becomes the most common one."""
    wanted = text.strip().lower()
    if wanted in {"", "none"}:
        return ""
    return wanted if wanted in FINGERPRINTS else "chrome"


def one(value: Any) -> Any:
    """The only item of a list. Several servers or users in one entry are not one server."""
    if not isinstance(value, list) or len(value) != 1:
        raise ReadError("inexact" if isinstance(value, list) and value else "bad_type")
    return value[0]


def plain(value: Any) -> Any:
    """JSON values only; raises ReadError for an unclear one."""
    if isinstance(value, Unclear):
        raise ReadError("unclear")
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def compact_json(value: Any) -> str:
    """An object as links hold it. Raises ReadError."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise ReadError("bad_type")
    try:
        return compact(json.dumps(plain(value)))
    except LinkError as error:
        raise ReadError(error.code) from None


def with_early_data(path: str, size: int) -> str:
    if not size:
        return path
    path = path or "/"
    return f"{path}{'&' if '?' in path else '?'}ed={size}"

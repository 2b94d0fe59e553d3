"""Plugins of Shadowsocks: ``name;key=value;flag``, where a backslash escapes. Source: shadowsocks.org/doc/sip003.html."""

import re

from .common import LinkError

# Longer ones are made to cost time.
_MAX_LENGTH = 1024
_PART = re.compile(r"((?:[^;\\]|\\.?)*)(?:;|$)")
_SETTING = re.compile(r"((?:[^=\\]|\\.)*)(?:=(.*))?")
_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_NAMES = {"simple-obfs": "obfs-local", "obfs": "obfs-local"}
# What a name contains is enough for mihomo to take it for that plugin.
_MODES = {"obfs": ("obfs", {"http", "tls"}), "v2ray-plugin": ("mode", {"websocket"})}


def parse(text: str) -> str:
    """The plugin in one spelling: its settings sorted, the mode of v2ray-plugin always named."""
    text = text.strip()
    name, _, settings = text.partition(";")
    name = _NAMES.get(name, name)
    if name in {"", "none"}:
        return ""
    if len(text) > _MAX_LENGTH:
        raise LinkError("bad_plugin")
    found = dict(map(_pair, filter(None, _PART.findall(settings))))
    if name == "v2ray-plugin":
        # Without it mihomo refuses the whole list.
        found.setdefault("mode", "websocket")
    _check(name, found)
    items = sorted(found.items(), key=lambda item: (item[0] not in {"mode", "obfs"}, item[0]))
    return ";".join([name, *(_item(key, value) for key, value in items)])


def settings(plugin: str) -> dict[str, str | None]:
    """The settings of a plugin that ``parse`` gave, unescaped; None: a flag."""
    return dict(map(_pair, filter(None, _PART.findall(plugin.partition(";")[2]))))


def _pair(part: str) -> tuple[str, str | None]:
    found = _SETTING.fullmatch(part)
    if not found:
        raise LinkError("bad_plugin")
    return _unescape(found[1]), None if found[2] is None else _unescape(found[2])


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _item(key: str, value: str | None) -> str:
    """Only what must be is escaped: mihomo and v2rayNG don't know the backslash."""
    name = re.sub(r"[\\;=]", r"\\\g<0>", key)
    return name if value is None else name + "=" + re.sub(r"[\\;]", r"\\\g<0>", value)


def _check(name: str, found: dict[str, str | None]) -> None:
    """A mode that it does not know makes mihomo refuse the whole list."""
    modes = [found.get(key) in known for part, (key, known) in _MODES.items() if part in name]
    if not _NAME.fullmatch(name) or not all(modes):
        raise LinkError("bad_plugin")

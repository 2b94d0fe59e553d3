"""Plugins of Shadowsocks: ``name;key=value;flag`` with backslash escapes. Source: shadowsocks.org/doc/sip003.html."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from .common import LinkError

# Longer ones are attempts to waste time.
_MAX_LENGTH = 1024
_PART = re.compile(r"((?:[^;\\]|\\.?)*)(?:;|$)")
_SETTING = re.compile(r"((?:[^=\\]|\\.)*)(?:=(.*))?")
_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
# Settings of a plugin that HiddifyPanel, Surge and Quantumult X write as parameters of the link, with their names there.
BESIDE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "obfs-local": {"obfs": ("obfs",), "obfs-host": ("obfs-host",), "obfs-uri": ("obfs-uri",)},
    "v2ray-plugin": {
        "mode": ("mode",), "host": ("host", "obfs-host"), "path": ("path", "obfs-uri"), "tls": ("tls",), "mux": ("mux",),
    },
    "shadow-tls": {"host": ("host",), "password": ("password",), "version": ("version",)},
}  # fmt: skip
_NAMES = {"simple-obfs": "obfs-local", "obfs": "obfs-local"}
# mihomo identifies a plugin by a part of its name.
_MODES = {"obfs": ("obfs", {"http", "tls"}), "v2ray-plugin": ("mode", {"websocket"})}


def name_of(text: str) -> str:
    name = text.partition(";")[0].strip()
    return _NAMES.get(name, name)


def parse(text: str, beside: Mapping[str, str] = MappingProxyType({})) -> str:
    """The plugin in one spelling: its settings sorted, the mode of v2ray-plugin always named.

    ``beside``: settings from parameters of the link. The plugin's own settings take precedence.
    """
    text = text.strip()
    name, settings = name_of(text), text.partition(";")[2]
    if name in {"", "none"}:
        return ""
    if len(text) > _MAX_LENGTH:
        raise LinkError("bad_plugin")
    found = dict(beside) | dict(map(_pair, filter(None, _PART.findall(settings))))
    if name == "v2ray-plugin":
        # mihomo refuses the whole list without it.
        found.setdefault("mode", "websocket")
    _check(name, found)
    return written(name, found)


def written(name: str, found: Mapping[str, str | None]) -> str:
    """A plugin with these unescaped settings, as ``settings`` reads it."""
    items = sorted(found.items(), key=lambda item: (item[0] not in {"mode", "obfs"}, item[0]))
    return ";".join([name, *(_item(key, value) for key, value in items)])


def settings(plugin: str) -> dict[str, str | None]:
    """The unescaped settings of a plugin from ``parse``; None for a flag."""
    return dict(map(_pair, filter(None, _PART.findall(plugin.partition(";")[2]))))


def _pair(part: str) -> tuple[str, str | None]:
    found = _SETTING.fullmatch(part)
    if not found:
        raise LinkError("bad_plugin")
    return _unescape(found[1]), None if found[2] is None else _unescape(found[2])


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _item(key: str, value: str | None) -> str:
    """Escape only what is necessary, because mihomo and v2rayNG do not support the backslash."""
    name = re.sub(r"[\\;=]", r"\\\g<0>", key)
    return name if value is None else name + "=" + re.sub(r"[\\;]", r"\\\g<0>", value)


def _check(name: str, found: dict[str, str | None]) -> None:
    """Refuse an unknown mode, for which mihomo would refuse the whole list."""
    modes = [found.get(key) in known for part, (key, known) in _MODES.items() if part in name]
    if not _NAME.fullmatch(name) or not all(modes):
        raise LinkError("bad_plugin")

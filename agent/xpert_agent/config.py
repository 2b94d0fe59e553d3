"""agent.ini, checked. Every mistake is one clear sentence that names section and option."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xpert_agent.growth import COUNT_EVERYTHING
from xpert_agent.mapping import SourceMap, parse_endpoint
from xpert_agent.panel import Address, PanelError, panel_of
from xpert_agent.secret_files import read_secret, warn_if_others_can_read
from xpert_agent.sources import complete_options, source_class
from xpert_agent.sources.base import SourceError

DEFAULT_INTERVAL = 60.0
SOURCE_PREFIX = "source "
_COMMON = frozenset({"kind", "servers", "people", "server", "person", "count_existing"})
_PANEL = frozenset({"url", "key", "key_file", "subscription_file", "allow_http", "ca_file"})
_AGENT = frozenset({"state", "interval"})
_YES = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}


class ConfigError(Exception):
    """agent.ini cannot be used. One clear sentence for people, without secrets."""


@dataclass(frozen=True)
class SourceSettings:
    name: str
    kind: str
    options: Mapping[str, str] = field(repr=False)
    map: SourceMap = field(default_factory=SourceMap)
    since: float | None = None
    """Unix seconds: what was counted by a run that began earlier is history; None: before the agent."""
    longest: float = float("inf")
    """Seconds between two readings at most."""


@dataclass(frozen=True)
class Settings:
    panel: Address
    state: Path
    sources: tuple[SourceSettings, ...] = ()
    interval: float = DEFAULT_INTERVAL
    """Seconds between readings, and between messages."""
    discover: bool = False
    """A person's own computer: sources are found, and everything is this person's."""


def read_config(path: Path) -> Settings:
    """Raises `ConfigError`."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are told apart by case
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error
    return _settings(path, {name: dict(parser[name]) for name in parser.sections()})


def _settings(path: Path, sections: Mapping[str, Mapping[str, str]]) -> Settings:
    for name in sections:
        if name not in ("panel", "agent") and not name.startswith(SOURCE_PREFIX):
            raise ConfigError(
                f"[{name}] is not a section of {path.name}: it has [panel], [agent] and [source NAME]."
            )
    agent = sections.get("agent", {})
    _known("agent", agent, _AGENT)
    sources = tuple(
        _source(path, name, section)
        for name, section in sections.items()
        if name.startswith(SOURCE_PREFIX)
    )
    if not sources:
        raise ConfigError(f"{path.name} has no [source NAME]: there is nothing to read.")
    return Settings(
        panel=_panel(path, sections.get("panel", {})),
        state=path.parent / agent.get("state", f"{path.stem}-state"),
        sources=sources,
        interval=_interval(agent.get("interval", "60")),
    )


def _panel(path: Path, section: Mapping[str, str]) -> Address:
    _known("panel", section, _PANEL)
    key = section.get("key", "") or _secret_of(path, "panel", section.get("key_file", ""))
    if section.get("key"):
        warn_if_others_can_read(path)
    url, token = section.get("url", "").rstrip("/"), ""
    try:
        if section.get("subscription_file"):
            panel, token = panel_of(_secret_of(path, "panel", section["subscription_file"]))
            url = url or panel
        address = Address(
            url, key, token, _yes("panel", section, "allow_http"), section.get("ca_file", "")
        )
        address.check()
    except PanelError as error:
        raise ConfigError(f"[panel]: {error}") from error
    if not key and not token:
        raise ConfigError(
            "[panel] needs key_file (an API key), or subscription_file (one person's own subscription)."
        )
    return address


def _source(path: Path, section_name: str, section: Mapping[str, str]) -> SourceSettings:
    kind = section.get("kind", "")
    if not kind:
        raise ConfigError(f"[{section_name}] needs the option “kind”.")
    given = {name: value for name, value in section.items() if name not in _COMMON}
    try:
        options = complete_options(kind, _with_secrets(path, section_name, kind, given))
    except SourceError as error:
        raise ConfigError(f"[{section_name}]: {error}") from error
    return SourceSettings(
        name=section_name[len(SOURCE_PREFIX) :].strip(),
        kind=kind,
        options=options,
        map=_source_map(section_name, section),
        since=COUNT_EVERYTHING if _yes(section_name, section, "count_existing") else None,
    )


def _with_secrets(path: Path, section: str, kind: str, given: Mapping[str, str]) -> dict[str, str]:
    """`secret_file = F` stands for `secret = (what is in F)`, for every option of the source."""
    known = {option.name for option in source_class(kind).options}
    options = {}
    for name, value in given.items():
        target = name[: -len("_file")] if name.endswith("_file") and name not in known else ""
        options[target or name] = _secret_of(path, section, value) if target in known else value
    if options.get("secret") and "secret" in given:
        warn_if_others_can_read(path)
    return options


def _source_map(section_name: str, section: Mapping[str, str]) -> SourceMap:
    servers = _pairs(section_name, "servers", section.get("servers", ""))
    for text in [*servers.values(), section.get("server", "")]:
        if text and "/" in text and parse_endpoint(text) is None:
            raise ConfigError(f"[{section_name}]: “{text}” is not host:port/protocol.")
    return SourceMap(
        servers=servers,
        people=_pairs(section_name, "people", section.get("people", "")),
        server=section.get("server", ""),
        person=section.get("person", ""),
    )


def _pairs(section: str, option: str, text: str) -> dict[str, str]:
    pairs = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, arrow, value = line.rpartition(" -> ")
        if not arrow or not name.strip() or not value.strip():
            raise ConfigError(
                f"[{section}]: each line of {option} is “name -> name”, not “{line[:60]}”."
            )
        pairs[name.strip()] = value.strip()
    return pairs


def _secret_of(path: Path, section: str, name: str) -> str:
    if not name:
        return ""
    try:
        return read_secret(path.parent / Path(name).expanduser())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"[{section}]: {name} cannot be read: {error}.") from error


def _known(section: str, given: Mapping[str, str], known: frozenset[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(
            f"[{section}]: “{unknown[0]}” is not an option; there are {', '.join(sorted(known))}."
        )


def _yes(section: str, given: Mapping[str, str], option: str) -> bool:
    text = given.get(option, "no").lower()
    if text not in _YES:
        raise ConfigError(f"[{section}]: {option} is yes or no, not “{text}”.")
    return _YES[text]


def _interval(text: str) -> float:
    if not text.isascii() or not text.isdigit() or not 10 <= int(text) <= 3600:
        raise ConfigError(f"[agent]: interval is 10 to 3600 seconds, not “{text}”.")
    return float(text)

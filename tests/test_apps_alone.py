"""Each app in a project of its own that has nothing else: as somebody else would reuse it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("app", ["traffic", "subscriptions"])
@pytest.mark.parametrize("command", ["check --fail-level WARNING", "migrate -v0", "makemigrations --check --dry-run"])
def test_an_app_stands_alone(app: str, command: str) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *command.split()],
        cwd=REPOSITORY,
        env=kept | {"DJANGO_SETTINGS_MODULE": f"tests.settings_{app}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_traffic_knows_nothing_of_those_who_use_it() -> None:
    forbidden = ("subscriptions", "xpert_panel")
    code = "import os, sys, django; django.setup(); import traffic.urls; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "tests.settings_traffic"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert not [name for name in done.stdout.split() if name.partition(".")[0] in forbidden]

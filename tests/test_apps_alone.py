"""Each app works in a project without the others, so that it can be reused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "app",
    [
        "operations",
        "traffic",
        "subscriptions",
        "gateways",
        "marzban",
        "three_x_ui",
        "pulls",
        "moving",
        "telegram",
    ],
)
@pytest.mark.parametrize(
    "command", ["check --fail-level WARNING", "migrate -v0", "makemigrations --check --dry-run"]
)
def test_an_app_works_alone(app: str, command: str) -> None:
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


@pytest.mark.parametrize(
    ("app", "loads", "forbidden"),
    [
        ("operations", "operations.apps", ("traffic", "subscriptions", "gateways", "xpert_panel")),
        ("traffic", "traffic.urls", ("subscriptions", "gateways", "xpert_panel")),
        ("subscriptions", "subscriptions.urls", ("gateways", "xpert_panel")),
        ("gateways", "gateways.urls", ("xpert_panel",)),
    ],
)
def test_an_app_does_not_import_the_apps_above_it(
    app: str, loads: str, forbidden: tuple[str, ...]
) -> None:
    code = f"import sys, django; django.setup(); import {loads}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": f"tests.settings_{app}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert not [name for name in done.stdout.split() if name.partition(".")[0] in forbidden]

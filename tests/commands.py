"""Commands of our own panel, run as processes of their own that a test may kill."""

import os
import subprocess
import sys

from tests.test_crash import PATIENCE, REPOSITORY
from tests.test_scripts import environment


class Here:
    """Our own panel, of which only commands run, on a database of its own. ``more``: its other settings."""

    def __init__(self, database: dict[str, str], **more: str) -> None:
        self._environment = environment(
            **{"XPERT_ENV_FILE": os.devnull} | database | more,
            SECRET_KEY="only-for-tests-" + "0123456789abcdef" * 4,
            DJANGO_SETTINGS_MODULE="xpert_panel.settings",
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY, env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        process = self.begin(*arguments)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        return output

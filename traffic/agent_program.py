"""The agent as this panel serves it: the lines that fetch it, check its digest and start it."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

_FILE = "agent/xpert-agent.pyz"
_DIGEST = re.compile(r"[0-9a-f]{64}\b")


class AgentProgram(NamedTuple):
    """``url``: where everybody can fetch it; ``digest``: SHA-256 in hexadecimal."""

    url: str
    digest: str

    def posix_line(self, *arguments: str) -> str:
        """For a shell of Linux or macOS. It ends before the program runs if the digest differs."""
        # macOS before 15 has no sha256sum; a failed one leaves shasum nothing to read, so it fails too.
        check = (
            f'echo "{self.digest}  xpert-agent.pyz" | {{ sha256sum -c - || shasum -a 256 -c -; }}'
        )
        start = shlex.join(["python3", "xpert-agent.pyz", *arguments])
        return f"curl -fsSO {shlex.quote(self.url)} && {check} && {start}"

    def windows_line(self, *arguments: str) -> str:
        """For PowerShell. It does not start a program whose digest differs."""
        quoted = " ".join(map(_powershell_quoted, arguments))
        fetch = f"iwr -UseBasicParsing {_powershell_quoted(self.url)} -OutFile xpert-agent.pyz"
        check = f"if ((Get-FileHash xpert-agent.pyz).Hash -eq '{self.digest}')"
        return f"{fetch}; {check} {{ py xpert-agent.pyz {quoted} }} else {{ 'Wrong digest.' }}"


def served(origin: str) -> AgentProgram | None:
    """``origin``: the panel's, as ``https://panel.example.com``. None: ``script/server`` has not built it."""
    folder = getattr(settings, "PUBLIC_FOLDER", None)
    if folder is None:
        return None
    try:
        text = Path(folder, f"{_FILE}.sha256").read_text("ascii")
    except OSError:
        return None
    digest = _DIGEST.match(text)
    return AgentProgram(f"{origin}/{_FILE}", digest[0]) if digest else None


def _powershell_quoted(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"

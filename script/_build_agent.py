"""Builds the agent as one file, with the same bytes on every machine and Python.

``script/build_agent`` calls it, and the panel's start can: ``build_agent(folder)``.
"""

import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "agent"
NAME = "xpert-agent.pyz"

_SHEBANG = b"#!/usr/bin/env python3\n"
# Runs on any Python, to report which version is needed.
_MAIN = """import sys

if sys.version_info < (3, 9):
    sys.exit("xpert-agent needs Python 3.9 or newer; this is " + sys.version.split()[0] + ".")

from xpert_agent.cli import main

sys.exit(main())
"""


def build_agent(folder: Path) -> Path:
    """Writes xpert-agent.pyz and its .sha256 into ``folder``, unless they are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = agent_archive()
    target = folder / NAME
    _write(target, archive)
    _write(folder / f"{NAME}.sha256", f"{hashlib.sha256(archive).hexdigest()}  {NAME}\n".encode())
    return target


def agent_archive() -> bytes:
    """The zipapp. Files are stored uncompressed, because different versions of zlib compress differently."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("__main__.py"), _MAIN)
        for path in sorted((SOURCE / "xpert_agent").rglob("*.py")):
            archive.writestr(_entry(path.relative_to(SOURCE).as_posix()), _unix_text(path))
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix; the default depends on the machine
    return entry


def _unix_text(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "run" / "agent"
    print(build_agent(folder))  # noqa: T201


if __name__ == "__main__":
    main()

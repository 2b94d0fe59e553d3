"""The path below which the whole panel lives, when it shares its domain with something else."""

import functools
import re

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


@functools.lru_cache(maxsize=8)
def cleaned(value: str) -> str | None:
    """``/panel`` from ``panel/`` and the like; "" for the root of the site; None for what cannot be a path."""
    path = f"/{value.strip('/')}" if value.strip("/") else ""
    is_path = _PATH.fullmatch(path) and not {".", ".."} & set(path.split("/"))
    return path if is_path and len(path) <= 100 else None

"""JSON documents of a panel, read so that writing them changes nothing."""

import json
from typing import Any, NoReturn

from .names import NotUnderstood

Json = dict[str, Any]


def read(body: bytes) -> Any:
    """Raises NotUnderstood for anything that would not come out as it went in."""
    try:
        return json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except ValueError:
        raise NotUnderstood from None


def write(document: object) -> bytes:
    """As Marzban writes it."""
    return json.dumps(document, indent=4).encode()


def objects(value: object) -> list[Json]:
    """A list of objects; raises NotUnderstood for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise NotUnderstood
    return value


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotUnderstood
    return found


def _refuse(word: str) -> NoReturn:
    raise NotUnderstood

"""One HTTP request to a core's own interface: no proxy, no redirect, bounded in time and size."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from xpert_agent.sources.base import SourceError, place_of

TIMEOUT = 5.0
MAX_BYTES = 32 * 1024 * 1024
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def get(url: str, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
    """The body of a 200; raises `SourceError` that names host and port, never path or headers."""
    place = place_of(url)
    connection = _connection(url, place)
    try:
        return _body(connection, url, headers, place)
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(
            f"{place} does not answer: {str(error) or type(error).__name__}."
        ) from error
    finally:
        connection.close()


def get_json(url: str, headers: Mapping[str, str] = _NO_HEADERS) -> Any:
    """The parsed body of a 200; raises `SourceError`."""
    try:
        return json.loads(get(url, headers))
    except ValueError as error:
        place = place_of(url)
        raise SourceError(f"{place} answers something that is not JSON.") from error


def _connection(url: str, place: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError(f"“{place or url[:8]}” is not an http:// or https:// address.")
    try:
        port = parts.port
    except ValueError as error:
        raise SourceError(f"“{place}” has a port that is not a number.") from error
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=TIMEOUT)


def _body(
    connection: http.client.HTTPConnection, url: str, headers: Mapping[str, str], place: str
) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", target, headers=dict(headers))
    answer = connection.getresponse()
    if answer.status in (401, 403):
        raise SourceError(f"{place} refuses the secret (HTTP {answer.status}).")
    if answer.status != http.client.OK:
        raise SourceError(f"{place} answers HTTP {answer.status}.")
    body = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise SourceError(f"{place} answers more than {MAX_BYTES // 2**20} MiB.")
    return body

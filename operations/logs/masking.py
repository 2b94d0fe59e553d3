"""Which parts of a request are secret."""

import functools
import re
from collections.abc import Callable, Iterator

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, QueryDict
from django.urls import ResolverMatch

from operations.extension import extensions
from operations.masks import masked

from .context import TOKEN, current_request

# Query parameters of the panel itself whose values are not secret.
_PAGE_NUMBER = re.compile(r"\d{1,6}", re.ASCII).fullmatch
_HARMLESS: dict[str, Callable[[str], object]] = {"page": _PAGE_NUMBER, "p": _PAGE_NUMBER}
# Parameters whose names may be shown; their values are masked.
_NAMES = frozenset({"token", "q", "o", "next"})
# Parts of paths that are not secret, for paths that matched no route.
_PLAIN = frozenset({"api", "admin", "static"})


@functools.cache
def _harmless() -> dict[str, Callable[[str], object]]:
    """Query parameters of the panel and every app, with the function that decides whether a value is harmless."""
    found = dict(_HARMLESS)
    for extension in extensions():
        found |= extension.harmless
    return found


@functools.cache
def _path_words() -> frozenset[str]:
    return _PLAIN.union(*(extension.path_words for extension in extensions()))


@functools.cache
def _open_parts() -> frozenset[str]:
    """Parts of a route that are not secret."""
    return frozenset({"app_label"}).union(*(extension.open_parts for extension in extensions()))


@functools.cache
def subject_names() -> frozenset[str]:
    """Parameters and parts of routes that identify the subject of a request by a secret."""
    return frozenset().union(*(extension.subject_names for extension in extensions()))


# Parts of a route that are not secret if they are numbers.
_ID_PARTS = frozenset({"pk", "object_id"})


_MAX_PATH = 300


# A value that is not longer than this looks like an ordinary word.
_SHORT = 3


# PostgreSQL quotes the values that it refused in these lines.
_DETAILS = re.compile(r"(?m)^(DETAIL|CONTEXT|LINE \d+):.*\n?")


def scrubbed(text: str) -> str:
    """``text`` without the secrets of the current request, because an error message may quote them."""
    text = _DETAILS.sub("", text)
    request = current_request()
    for secret in sorted(_secrets(request), key=len, reverse=True) if request is not None else ():
        text = text.replace(secret, masked(secret))
    return text


def _secrets(request: HttpRequest) -> set[str]:
    match, meta = request.resolver_match, request.META
    found = (
        set(request.path.split("/")) - _path_words() if match is None else _secret_segments(match)
    )
    found |= {meta.get(TOKEN, ""), *request.COOKIES.values()}
    found |= {
        meta.get(name, "").rpartition(" ")[2] for name in ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY")
    }
    found |= {value for name, value in sent(request) if not _is_harmless(name, value)}
    return {secret for secret in found if len(secret) > _SHORT}


def sent(request: HttpRequest) -> Iterator[tuple[str, str]]:
    """The query, and the form if it was already read. An error handler must not read the body."""
    try:
        queries = [request.GET, request.POST if hasattr(request, "_post") else QueryDict()]
    except SuspiciousOperation:  # more parameters than any real request has
        return
    for query in queries:
        for name, values in query.lists():
            yield from ((name, str(value)) for value in values)


def masked_path(request: HttpRequest) -> str:
    """Path and query on one line for the log. Tokens are masked; a path that matched no route is masked as a whole."""
    match = request.resolver_match
    segments = request.path.split("/")
    secrets = set(segments) - _path_words() if match is None else _secret_segments(match)
    path = "/".join(masked(part) if part and part in secrets else part for part in segments)
    query = _masked_query(request)
    line = f"{path}?{query}" if query else path
    return "".join(letter if letter.isprintable() else "?" for letter in line[:_MAX_PATH])


def _secret_segments(match: ResolverMatch) -> set[str]:
    return {
        segment
        for name, value in match.kwargs.items()
        if name not in _open_parts() and not (name in _ID_PARTS and str(value).isdigit())
        for segment in str(value).split("/")
    }


def _masked_query(request: HttpRequest) -> str:
    try:
        query = request.GET
    except SuspiciousOperation:  # more parameters than any real request has
        return "…"
    names = _NAMES | subject_names() | _harmless().keys()
    return "&".join(
        f"{name if name in names else masked(name)}={value if _is_harmless(name, value) else masked(value)}"
        for name, values in query.lists()
        for value in values
    )


def _is_harmless(name: str, value: str) -> bool:
    is_harmless = _harmless().get(name)
    return is_harmless is not None and bool(is_harmless(value))

"""All routes of the panel, each with a matching address, for tests that must cover every route."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver, reverse

# What an operator does with one subscriber by the API: the last part of the address.
SUBSCRIBER_ACTIONS = (
    "apply-plan",
    "next-plan",
    "renew",
    "extend",
    "restart-period",
    "new-token",
    "correct",
)


class Route(NamedTuple):
    name: str
    url: str


def routes(values: Mapping[str, object]) -> list[Route]:
    """``values``: parts of the address by parameter name. A route without a name fails."""
    return [
        Route(name, reverse(name, kwargs=_kwargs(pattern, values)))
        for name, pattern in _named("", get_resolver())
    ]


def _named(namespace: str, resolver: URLResolver) -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _named(inner, pattern)
        elif pattern.name:
            yield f"{namespace}{pattern.name}", pattern


def _kwargs(pattern: URLPattern, values: Mapping[str, object]) -> dict[str, object]:
    names = {*pattern.pattern.converters, *pattern.pattern.regex.groupindex}
    return {name: values[name] for name in names}

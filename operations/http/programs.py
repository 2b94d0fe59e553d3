"""Requests of programs pass by the middleware that only pages need: sessions, language, CSRF, users, messages."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import (
    NoReverseMatch,
    URLResolver,
    get_resolver,
    get_script_prefix,
    resolve,
    reverse,
)
from django.utils.functional import cached_property

from .middleware import GetResponse

V = TypeVar("V", bound=Callable[..., Any])

# By name, because an app that is not installed cannot be imported.
FOR_PAGES = (
    "operations.http.middleware.AdminMethodsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "operations.http.middleware.PanelLocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "operations.http.second_factor.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "axes.middleware.AxesMiddleware",
)


def for_programs(view: V) -> V:
    """Mark a view that knows its callers by a key or a token alone. A viewset says ``for_programs = True`` instead."""
    view.for_programs = True  # type: ignore[attr-defined]
    return view


class ProgramsMiddleware:
    """Takes requests of marked views past those of ``FOR_PAGES`` that follow it in MIDDLEWARE without a gap."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.behind_pages = _behind_pages(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in self._paths:
            return self.behind_pages(request)
        return self.get_response(request)

    @cached_property
    def _paths(self) -> frozenset[str]:
        """Computed late, because the routes are not loaded at the start."""
        return paths_for_programs(settings.ROOT_URLCONF)


def _behind_pages(handler: Any) -> GetResponse:
    # Django wraps each middleware into a function, which names it as ``__wrapped__``.
    middleware: Any = getattr(handler, "__wrapped__", None)
    while _name_of(middleware) in FOR_PAGES:
        handler = middleware.get_response
        middleware = getattr(handler, "__wrapped__", None)
    return handler  # type: ignore[no-any-return]


def _name_of(middleware: object) -> str:
    """The name that MIDDLEWARE knows it by."""
    return f"{type(middleware).__module__}.{type(middleware).__qualname__}"


@cache
def paths_for_programs(urlconf: str) -> frozenset[str]:
    """The paths of all marked views without parameters, with and without a slash at the end, below XPERT_BASE_PATH."""
    found = set()
    for name in _names(get_resolver(urlconf)):
        with suppress(NoReverseMatch):  # it has parameters
            path = f"/{reverse(name, urlconf).removeprefix(get_script_prefix())}"
            found |= {path, f"{path}/"}
    return frozenset(path for path in found if is_for_programs(resolve(path, urlconf).func))


def _names(resolver: URLResolver, namespace: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _names(pattern, inner)
        elif pattern.name and is_for_programs(pattern.callback):
            yield f"{namespace}{pattern.name}"


def is_for_programs(view: Callable[..., Any]) -> bool:
    return bool(getattr(getattr(view, "cls", view), "for_programs", False))

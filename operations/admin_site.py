"""The site of the admin: the theme's, to which modules of ``admin`` add pages that belong to no model.

It stands outside ``admin``, because Django makes the site before it loads what registers with it.
"""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from unfold.sites import UnfoldAdminSite

View = Callable[[HttpRequest], HttpResponse]


class StepNeeded(Exception):  # noqa: N818  not an error
    """Raised by the login form: the password is right, and ``answer`` leads to the next step."""

    def __init__(self, answer: View) -> None:
        super().__init__()
        self.answer = answer


class PanelSite(UnfoldAdminSite):  # type: ignore[misc]  # the theme has no types
    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.own_pages: list[URLPattern] = []

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            answer: HttpResponse = super().login(request, extra_context)
        except StepNeeded as needed:
            return needed.answer(request)
        return answer

    def get_urls(self) -> list[URLPattern]:
        return [*self.own_pages, *super().get_urls()]


def panel_site() -> PanelSite:
    return cast("PanelSite", admin.site)

"""Sessions of staff who have a second factor count only after a code of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from operations import second_factor
from operations.conf import conf

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# What staff who must set one up may open meanwhile, by name in the admin.
_OPEN = frozenset({"second_factor", "login", "login_code", "logout", "jsi18n"})


class SecondFactorMiddleware:
    """Follows AuthenticationMiddleware. Whoever has a second factor is nobody until this session had a code of it.

    This holds for everything that a session opens: the admin, JSON endpoints, metrics and downloads. With
    XPERT_REQUIRE_SECOND_FACTOR, staff without one are led to the page where they set it up, and are nobody elsewhere.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Under ASGI the result is a coroutine, as that of ``get_response`` is."""
        user: Any = request.user
        request.user = SimpleLazyObject(lambda: _believed(request, user))  # type: ignore[assignment]
        request.auser = partial(sync_to_async(_believed), request, user)
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponseBase | None:
        match = request.resolver_match
        # The user is looked at last, because that costs a query.
        if not conf.require_second_factor or match is None or match.app_name != "admin":
            return None
        if match.url_name in _OPEN or not second_factor.is_missing(request.user):
            return None
        return HttpResponseRedirect(reverse("admin:second_factor"))


def _believed(request: HttpRequest, user: Any) -> Any:
    if not user.is_authenticated:
        return user
    factor = second_factor.factor_of(user)
    if factor is not None:
        return user if second_factor.is_verified(request, factor) else AnonymousUser()
    is_shut_out = second_factor.is_missing(user) and not _is_admin(request)
    return AnonymousUser() if is_shut_out else user


def _is_admin(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.app_name == "admin"

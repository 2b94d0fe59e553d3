"""The second step of signing in: a code, after the right password.

Between the steps the session names the person who gave the password, and opens nothing.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import authenticate, get_user_model, login
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from unfold.forms import AuthenticationForm

from operations import second_factor
from operations.admin_site import StepNeeded

from .second_factor_forms import CodeForm
from .signing_in import refusal

_WAITING = "operations.code_step"
# How long the password stays good for the second step.
_KEPT = timedelta(minutes=10)


class LoginForm(AuthenticationForm):  # type: ignore[misc]  # the theme has no types
    """The theme's form. A password alone does not let in people with a second factor."""

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        super().confirm_login_allowed(user)
        if second_factor.factor_of(user) is not None:
            raise StepNeeded(partial(ask_for_code, user=user))


def ask_for_code(request: HttpRequest, user: Any) -> HttpResponse:
    """Remember who gave the right password, and lead to the page that asks for the code."""
    request.session.cycle_key()
    request.session[_WAITING] = {
        "user": str(user.pk),
        "password": user.get_session_auth_hash(),
        "at": timezone.now().timestamp(),
        "next": request.POST.get("next") or request.GET.get("next") or "",
    }
    return HttpResponseRedirect(reverse("admin:login_code"))


@sensitive_post_parameters()
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def view(request: HttpRequest) -> HttpResponse:
    user = _waiting(request, timezone.now())
    if user is None:
        return HttpResponseRedirect(reverse("admin:login"))
    form = CodeForm(request.POST if request.method == "POST" else None)
    form.fields["code"].widget.attrs["autofocus"] = True
    if form.is_valid():
        found = authenticate(request, username=user.get_username(), token=form.cleaned_data["code"])
        if found is not None:
            return _let_in(request, found)
        form.add_error("code", refusal(request, user))
    context = {
        **admin.site.each_context(request),
        "title": _("Code of your app"),
        "form": form,
        "name": user.get_username(),
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, "admin/operations/login_code.html", context)


def _waiting(request: HttpRequest, now: datetime) -> Any:
    """The user who has given the right password, unless that was too long ago or it has changed since."""
    told: dict[str, Any] = request.session.get(_WAITING) or {}
    if not told or not 0 <= now.timestamp() - told["at"] < _KEPT.total_seconds():
        return None
    users = get_user_model()._default_manager.select_related("second_factor")  # noqa: SLF001
    user: Any = users.filter(pk=told["user"], is_active=True, is_staff=True).first()
    is_same = user is not None and constant_time_compare(
        told["password"], user.get_session_auth_hash()
    )
    return user if is_same and second_factor.factor_of(user) is not None else None


def _let_in(request: HttpRequest, user: Any) -> HttpResponse:
    there = request.session.pop(_WAITING)["next"]
    login(request, user)
    if factor := second_factor.factor_of(user):
        second_factor.mark_verified(request, factor)
    is_safe = url_has_allowed_host_and_scheme(
        there, {request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(there if is_safe else reverse(settings.LOGIN_REDIRECT_URL))

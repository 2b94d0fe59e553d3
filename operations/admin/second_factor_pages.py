"""The pages of one's own second factor, in the account menu: set up, new recovery codes, switch off."""

from typing import Any
from urllib.parse import quote

import segno
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from operations import second_factor
from operations.conf import conf
from operations.models import SecondFactor
from operations.sealing import CannotOpenError, seal, unseal

from .base import STYLES, by
from .second_factor_forms import CodeForm, PasswordAndCodeForm
from .signing_in import refusal

# In the session, sealed, until a code confirms it.
_SECRET = "operations.second_factor_secret"  # noqa: S105
_TITLE = gettext_lazy("Second factor")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def own_view(request: HttpRequest) -> HttpResponse:
    """Without a second factor: set one up. With one: its state."""
    factor = second_factor.factor_of(request.user)
    if factor is not None:
        return _page(request, "second_factor.html", _state(factor))
    secret = _secret(request)
    form = CodeForm(request.POST if request.method == "POST" else None)
    form.fields["code"].help_text = _("The six digits that the app shows now.")
    if form.is_valid():
        code = form.cleaned_data["code"]
        codes = second_factor.set_up(request.user, secret, code, by(request))
        if codes is not None:
            return _set_up(request, codes)
        form.add_error("code", _wrong())
    return _page(request, "second_factor_new.html", _to_scan(request, secret) | {"form": form})


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def codes_view(request: HttpRequest) -> HttpResponse:
    """New recovery codes in place of the old ones."""
    factor = second_factor.factor_of(request.user)
    if factor is None:
        return _home()
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and _is_right(request, form):
        return _shown_once(request, second_factor.renew_codes(factor, by(request)))
    asked = {
        "form": form,
        "title": _("New recovery codes"),
        "text": _("The codes that you have now stop working."),
        "button": _("Make new codes"),
    }
    return _page(request, "second_factor_ask.html", asked)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def off_view(request: HttpRequest) -> HttpResponse:
    """Switch it off, with the password and a code."""
    if second_factor.factor_of(request.user) is None:
        return _home()
    form = PasswordAndCodeForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and _has_password(request, form) and _is_right(request, form):
        second_factor.take_away(request.user, by(request))
        messages.success(request, _("The second factor is switched off."))
        return _home()
    asked = {
        "form": form,
        "title": _("Switch the second factor off"),
        "text": _must_set_up() if conf.require_second_factor else _password_alone(),
        "button": _("Switch off"),
        "is_loss": True,
    }
    return _page(request, "second_factor_ask.html", asked)


def account_links(request: HttpRequest) -> list[dict[str, Any]]:
    """The links of the theme's account menu."""
    found: list[dict[str, Any]] = [{"title": _TITLE, "link": reverse("admin:second_factor")}]
    if getattr(request.user, "has_usable_password", lambda: False)():
        link = reverse("admin:password_change")
        found.insert(0, {"title": _("Change password"), "link": link})
    return found


# --- Setting up --------------------------------------------------------------


def _secret(request: HttpRequest) -> str:
    """The same until it is confirmed, so that the page may be loaded again after the code was scanned."""
    try:
        secret = unseal(request.session.get(_SECRET, ""))
    except CannotOpenError:
        secret = ""
    if not secret:
        secret = second_factor.new_secret()
        request.session[_SECRET] = seal(secret)
    return secret


def _to_scan(request: HttpRequest, secret: str) -> dict[str, Any]:
    url = second_factor.app_url(request.user.get_username(), secret)
    return {
        "qr": _qr_code(url),
        "url": url,
        "secret": " ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        "is_required": conf.require_second_factor,
    }


def _qr_code(url: str) -> SafeString:
    """Dark on light even in dark mode, so that a phone's camera can read it."""
    code = segno.make(url, error="m", micro=False)
    title = _("QR code for your authenticator app")
    return mark_safe(code.svg_inline(omitsize=True, border=4, light="#fff", title=title))  # noqa: S308


def _set_up(request: HttpRequest, codes: list[str]) -> HttpResponse:
    del request.session[_SECRET]
    factor = SecondFactor.objects.get(user_id=request.user.pk)
    second_factor.mark_verified(request, factor)
    messages.success(request, _("The second factor is set up."))
    return _shown_once(request, codes)


def _shown_once(request: HttpRequest, codes: list[str]) -> HttpResponse:
    text = "\n".join(codes)
    file = f"Xpert Panel, {request.user.get_username()}\n\n{text}\n"
    context = {
        "title": _("Recovery codes"),
        "codes": codes,
        "text": text,
        "file": f"data:text/plain;charset=utf-8,{quote(file)}",
    }
    return _page(request, "recovery_codes.html", context)


# --- Checking ----------------------------------------------------------------


def _has_password(request: HttpRequest, form: PasswordAndCodeForm) -> bool:
    """Before the code, which is used up when it is looked at. A wrong one counts like one at the login."""
    name, password = request.user.get_username(), form.cleaned_data["password"]
    if authenticate(request, username=name, password=password) is not None:
        return True
    form.add_error("password", _("The password is wrong."))
    return False


def _is_right(request: HttpRequest, form: CodeForm) -> bool:
    name, code = request.user.get_username(), form.cleaned_data["code"]
    if authenticate(request, username=name, token=code) is not None:
        return True
    form.add_error("code", refusal(request, request.user))  # type: ignore[arg-type]
    return False


# --- Words and pages ---------------------------------------------------------


def _wrong() -> str:
    return _("This code is wrong. Scan the QR code again, and check the clock of your phone.")


def _password_alone() -> str:
    return _("Your password alone then opens the panel.")


def _must_set_up() -> str:
    return _("The panel requires one, so you set up another one next.")


def _state(factor: SecondFactor) -> dict[str, Any]:
    left = factor.recovery_codes.count()
    return {"factor": factor, "left": left, "all": second_factor.CODES, "are_few": left <= 3}


def _home() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:second_factor"))


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    media = forms.Media(css={"all": STYLES}, js=["operations/copy.js"])
    own = {**admin.site.each_context(request), "title": _TITLE, "media": media}
    request.current_app = admin.site.name
    return TemplateResponse(request, f"admin/operations/{template}", own | context)

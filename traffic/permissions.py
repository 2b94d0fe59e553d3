"""Who may do what. The rules are part B4 of the contract (docs/api.md)."""

from django.http import HttpRequest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from .addresses import parse_address
from .conf import LOOPBACK_NAMES, conf
from .models import ApiKey

_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_")
_INCLUDES = {
    ApiKey.Scope.REPORT: {"report"},
    ApiKey.Scope.READ: {"read"},
    ApiKey.Scope.MANAGE: {"report", "read", "manage"},
}


def has_scope(key: ApiKey, scope: str) -> bool:
    return scope in _INCLUDES[ApiKey.Scope(key.scope)]


def is_open_to(request: HttpRequest | Request) -> bool:
    """Whether operator endpoints answer this request without a key: open access, and all of it on this one machine."""
    return conf.open_access and not conf.has_public_domain and _is_local(request) and _is_from_here(request)


def _is_local(request: HttpRequest | Request) -> bool:
    meta = request.META
    peer = parse_address(meta.get("REMOTE_ADDR", ""))
    return (
        peer is not None
        and peer.is_loopback
        and _host_name(meta.get("HTTP_HOST", "")) in LOOPBACK_NAMES
        and not any(name.startswith(_FORWARDED) for name in meta)
    )


def _is_from_here(request: HttpRequest | Request) -> bool:
    """No other site's page has sent it through the operator's browser."""
    meta = request.META
    own = f"{request.scheme}://{meta.get('HTTP_HOST', '')}"
    return meta.get("HTTP_ORIGIN", own) == own and meta.get("HTTP_SEC_FETCH_SITE", "none") in {"same-origin", "none"}


def _host_name(host: str) -> str:
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0].lower()


class MayOperate(BasePermission):
    """A key with the action's scope, a staff user with its model permission, or open access on this machine.

    The view says which: ``scopes`` and ``staff_permissions``, by action.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        action = getattr(view, "action", None) or ""
        if isinstance(request.auth, ApiKey):
            return has_scope(request.auth, getattr(view, "scopes", {}).get(action, "manage"))
        if request.user and request.user.is_authenticated:
            needed = getattr(view, "staff_permissions", {}).get(action)
            return needed is not None and request.user.has_perm(needed)
        return is_open_to(request)


class MayReport(BasePermission):
    """Anybody for himself, unless reports need a key; a key must have the scope ``report`` or ``manage``."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, ApiKey):
            return has_scope(request.auth, "report")
        return not conf.reports_need_key

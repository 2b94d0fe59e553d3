"""Permissions of callers, as docs/api.md describes them."""

import re
from collections.abc import Collection

from django.http import HttpRequest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from operations.addresses import parse_address
from operations.conf import LOOPBACK_NAMES, conf
from operations.extension import Bearer, limits_of
from operations.models import ApiKey

# Among the names in ``request.META``, one per line.
_FORWARDED = re.compile(r"^HTTP_(?:FORWARDED|VIA|X_REAL_IP|X_FORWARDED_)", re.MULTILINE)
_INCLUDES = {
    ApiKey.Scope.REPORT: {"report"},
    ApiKey.Scope.READ: {"read"},
    ApiKey.Scope.MANAGE: {"report", "read", "manage"},
    ApiKey.Scope.BOUND: set(),
}


def has_scope(key: ApiKey | Bearer, scope: str) -> bool:
    return bool(key.scope) and scope in _INCLUDES[ApiKey.Scope(key.scope)]


def is_open_to(request: HttpRequest | Request) -> bool:
    """Whether open access applies: it is on, and nothing suggests that the caller is on another machine.

    Then operator endpoints need no key, and a report or subscription with a new token creates its subscriber.
    """
    return (
        conf.open_access
        and not conf.has_public_domain
        and _is_local(request)
        and _is_from_here(request)
    )


def _is_local(request: HttpRequest | Request) -> bool:
    meta = request.META
    peer = parse_address(meta.get("REMOTE_ADDR", ""))
    return (
        peer is not None
        and peer.is_loopback
        and _host_name(meta.get("HTTP_HOST", "")) in LOOPBACK_NAMES
        and not _FORWARDED.search("\n".join(meta))
    )


def _is_from_here(request: HttpRequest | Request) -> bool:
    """Whether the request did not come from another site's page in the operator's browser."""
    meta = request.META
    own = f"{request.scheme}://{meta.get('HTTP_HOST', '')}"
    return meta.get("HTTP_ORIGIN", own) == own and meta.get("HTTP_SEC_FETCH_SITE", "none") in {
        "same-origin",
        "none",
    }


def _host_name(host: str) -> str:
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0].lower()


def may_see_secrets(request: Request, permission: str) -> bool:
    """Whether tokens, links and URLs are shown whole: to keys of scope manage, and to staff who hold ``permission``."""
    if isinstance(request.auth, ApiKey):
        return has_scope(request.auth, "manage")
    return request.user.has_perm(permission) if request.user.is_authenticated else True


class NeedsKey(BasePermission):
    """The message of a refusal names the scope that is needed, and how to get a key."""

    message = ""

    def is_enough(self, key: ApiKey | Bearer, scope: str) -> bool:
        needed = f"This needs an API key of scope {_scopes_for(scope)}; yours has {key.scope}."
        self.message = (key.refusal if isinstance(key, Bearer) else "") or needed
        return has_scope(key, scope)

    def ask_for_key(self, scope: str, otherwise: str = "") -> None:
        self.message = (
            "Authentication credentials were not provided: send an API key as Authorization: Bearer KEY. "
            f"manage.py create_api_key NAME --scope {scope} makes one{otherwise}."
        )


def _scopes_for(scope: str) -> str:
    return " or ".join(name for name, included in _INCLUDES.items() if scope in included)


class MayOperate(NeedsKey):
    """Allows a key with the action's scope, a staff user with its model permission, or open access on this machine.

    The view declares ``scopes``, ``staff_permissions`` and the ``limits`` of keys that it heeds by action.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        action = getattr(view, "action", None) or ""
        scope = getattr(view, "scopes", {}).get(action, "manage")
        if isinstance(request.auth, ApiKey | Bearer):
            heeded = getattr(view, "limits", {}).get(action, frozenset())
            return self.is_enough(request.auth, scope) and self._is_within(request.auth, heeded)
        if request.user and request.user.is_authenticated:
            needed = getattr(view, "staff_permissions", {}).get(action)
            self.message = f"Your account lacks the permission {needed}; a superuser can grant it."
            return needed is not None and request.user.has_perm(needed)
        self.ask_for_key(scope, ", or sign in to the admin")
        return is_open_to(request)

    def _is_within(self, key: ApiKey | Bearer, heeded: Collection[str]) -> bool:
        limits = limits_of(key.options) if isinstance(key, ApiKey) else frozenset()
        self.message = f"This key is limited to {' and '.join(sorted(limits))} of its own."
        return limits <= set(heeded)

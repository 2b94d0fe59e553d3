"""Django's permissions of resellers: none, whatever groups their account is in."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from traffic.people import resellers


class ResellerBackend:
    """Comes before ``ModelBackend``. What resellers may do is opened by ``traffic.people.resellers`` alone.

    It signs nobody in, and has no ``get_user``, so Django takes it for nothing else.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        return None

    def has_perm(self, user: Any, permission: str, obj: object = None) -> bool:
        return self._refused(user)

    def has_module_perms(self, user: Any, app_label: str) -> bool:
        return self._refused(user)

    def _refused(self, user: Any) -> bool:
        """False lets the next backend answer; PermissionDenied ends the question."""
        if user.is_active and resellers.of(user) is not None:
            raise PermissionDenied
        return False

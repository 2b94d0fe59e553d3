"""Two groups of staff that every panel has: ``operator`` may do all but keys and staff, ``viewer`` reads only."""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

OPERATOR, VIEWER = "operator", "viewer"
# Who may open doors is for superusers to say.
_RESERVED = Q(content_type__app_label="traffic", content_type__model="apikey")


def grant(sender: AppConfig, using: str, **_: Any) -> None:
    """To connect to ``post_migrate`` of an app: gives both groups what concerns its models.

    Only of models of which a group has no permission yet: what an administrator has taken away from it, or added
    to it, is not touched by the next update.
    """
    found = Permission.objects.using(using).filter(content_type__app_label=sender.label).exclude(_RESERVED)
    _add(OPERATOR, found, using)
    _add(VIEWER, found.filter(codename__startswith="view_"), using)


def _add(name: str, permissions: Any, using: str) -> None:
    group, _ = Group.objects.using(using).get_or_create(name=name)
    known = set(group.permissions.values_list("content_type_id", flat=True))
    group.permissions.add(*(found for found in permissions if found.content_type_id not in known))

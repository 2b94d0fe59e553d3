"""Two groups of staff that every panel has: ``operator`` may do all but keys, staff and the audit trail, ``viewer`` reads only."""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

OPERATOR, VIEWER = "operator", "viewer"
# Only superusers manage access, and see who changed it.
_RESERVED = Q(
    content_type__app_label="operations", content_type__model__in=("apikey", "auditentry")
)


def grant(sender: AppConfig, using: str, **_: Any) -> None:
    """A receiver for ``post_migrate`` of an app: gives both groups the permissions for its models.

    A model is skipped if the group already has a permission for it, so that an update does not undo the changes of
    an administrator.
    """
    # Django's own receiver may run after this one, depending on the order of the apps.
    create_permissions(sender, verbosity=0, using=using)
    found = (
        Permission.objects.using(using)
        .filter(content_type__app_label=sender.label)
        .exclude(_RESERVED)
    )
    _add(OPERATOR, found, using)
    _add(VIEWER, found.filter(codename__startswith="view_"), using)


def _add(name: str, permissions: Any, using: str) -> None:
    group, _ = Group.objects.using(using).get_or_create(name=name)
    known = set(group.permissions.values_list("content_type_id", flat=True))
    group.permissions.add(*(found for found in permissions if found.content_type_id not in known))

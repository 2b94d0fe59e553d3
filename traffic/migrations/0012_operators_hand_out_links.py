"""The group ``operator`` of an existing panel gets the permission that taking links from lists needs since 0011.

``operations.roles`` grants permissions for new models only, so that it does not undo what an administrator took away.
"""

from typing import Any

from django.db import migrations


def grant(apps: Any, schema_editor: Any) -> None:
    """A new panel has no such group yet, and gets it with all permissions."""
    database = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    change = permissions.filter(
        content_type__app_label="traffic", codename="change_subscriber", group__name="operator"
    ).first()
    if change is None:
        return
    permission, _ = permissions.get_or_create(
        content_type=change.content_type,
        codename="hand_out_link",
        defaults={"name": "Can take subscription links from lists and downloads"},
    )
    permission.group_set.add(*change.group_set.filter(name="operator"))


class Migration(migrations.Migration):
    dependencies = [
        ("traffic", "0011_hand_out_link"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

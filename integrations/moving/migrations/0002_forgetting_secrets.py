"""Staff with a permission of their own may remove the secrets of old panels."""

from typing import Any

from django.db import migrations, models


def grant(apps: Any, schema_editor: Any) -> None:
    """The group ``operator`` of an existing panel gets it; a new panel's gets all permissions anyway."""
    database = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    view = permissions.filter(
        content_type__app_label="moving", codename="view_oldpanel", group__name="operator"
    ).first()
    if view is None:
        return
    permission, _ = permissions.get_or_create(
        content_type=view.content_type,
        codename="change_oldpanel",
        defaults={"name": "Can change old panel"},
    )
    permission.group_set.add(*view.group_set.filter(name="operator"))


class Migration(migrations.Migration):
    dependencies = [
        ("moving", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="oldpanel",
            options={
                "default_permissions": ("change", "view"),
                "ordering": ["name", "id"],
                "verbose_name": "old panel",
                "verbose_name_plural": "old panels",
            },
        ),
        migrations.AlterField(
            model_name="oldpanel",
            name="sealed_secret",
            field=models.TextField(blank=True, editable=False, verbose_name="secret of its links"),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]

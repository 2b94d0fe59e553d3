from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class MovingConfig(AppConfig):
    name = "integrations.moving"
    label = "moving"
    verbose_name = _("Moving in")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.databases.citus import Place  # noqa: PLC0415
        from operations.extension import Extension, register  # noqa: PLC0415

        from . import erasure, old_links  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places={
                    "OldPanel": Place.LOCAL,
                    "OldAccount": Place.LOCAL,
                },
                erase={"old accounts": erasure.erase},
                own_token=old_links.own_token,
                admin={"traffic.subscriber": "integrations.moving.admin.move_in_page.PAGES"},
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

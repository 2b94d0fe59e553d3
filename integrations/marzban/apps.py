from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class MarzbanConfig(AppConfig):
    name = "integrations.marzban"
    label = "marzban"
    verbose_name = _("Linked panels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.databases.citus import Place  # noqa: PLC0415
        from operations.extension import Extension, register  # noqa: PLC0415

        from . import checks, condition_words, conditions, handover, models  # noqa: F401, PLC0415  registers the system checks
        from .authentication import bearer  # noqa: PLC0415
        from .subscription_tokens import own_token  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places={
                    "PanelLink": Place.LOCAL,
                    "PanelIdentity": Place.COPIED,
                    "HandedUsage": Place.SPREAD,
                    "HandedServerUsage": Place.LOCAL,
                    "HandOver": Place.KNOWN,
                },
                cleanup={"hand-overs": handover.drop_old},
                erase={"users of linked panels": handover.erase},
                bearer=bearer,
                own_token=own_token,
                linked_panels=models.addresses,
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                events=condition_words.KINDS,
                gauges=condition_words.gauges,
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class PullsConfig(AppConfig):
    name = "integrations.pulls"
    label = "pulls"
    verbose_name = _("Other panels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.databases.citus import Place  # noqa: PLC0415
        from operations.extension import Extension, register  # noqa: PLC0415

        from . import accounts, condition_words, conditions, erasure  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places={
                    "Panel": Place.LOCAL,
                    "Reading": Place.LOCAL,
                    "Total": Place.LOCAL,
                },
                erase={"readings of panels": erasure.erase},
                reads_account=accounts.reads,
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                events=condition_words.KINDS,
                gauges=condition_words.gauges,
                commands=conditions.expected,
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

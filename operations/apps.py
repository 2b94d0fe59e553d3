from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class PanelAdminConfig(admin_apps.AdminConfig):
    """Django's admin with the site of the panel: in INSTALLED_APPS in place of ``django.contrib.admin``."""

    default = False
    default_site = "operations.admin_site.PanelSite"


class OperationsConfig(AppConfig):
    name = "operations"
    default = True
    verbose_name = _("Operations")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, idempotency, roles  # noqa: F401, PLC0415  registers the system checks
        from .databases.citus import Place  # noqa: PLC0415
        from .extension import Extension, register  # noqa: PLC0415  apps are loaded only now
        from .notifications import outbox  # noqa: PLC0415
        from .watch import exposition, words  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places={
                    "ApiKey": Place.COPIED,
                    "SecondFactor": Place.LOCAL,
                    "RecoveryCode": Place.LOCAL,
                    "AuditEntry": Place.LOCAL,
                    "IdempotentRequest": Place.LOCAL,
                    "CommandRun": Place.LOCAL,
                    "Receiver": Place.LOCAL,
                    "Notification": Place.LOCAL,
                    "Delivery": Place.LOCAL,
                },
                cleanup={"idempotency keys": idempotency.drop_old},
                words=words.WORDS,
                events=words.KINDS,
                gauges=exposition.gauges,
                settled_in={"notifications-stuck": "operations_delivery_changelist"},
                commands=outbox.expected,
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

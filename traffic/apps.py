from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class TrafficConfig(AppConfig):
    name = "traffic"
    verbose_name = _("Traffic")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, erasure, groups, retention, runs  # noqa: F401, PLC0415  registers the system checks
        from .notifications import outbox  # noqa: PLC0415  apps are loaded only now

        runs.also_expect(outbox.expected)
        retention.also_tidy("notifications", outbox.drop_old)
        erasure.also_erase("notifications", outbox.erase)
        post_migrate.connect(groups.grant, sender=self, dispatch_uid="traffic.groups.grant")

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SubscriptionsConfig(AppConfig):
    name = "subscriptions"
    verbose_name = _("Subscriptions")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from traffic import doctor as panel  # noqa: PLC0415
        from traffic import erasure, exposition, groups, retention, runs  # noqa: PLC0415  apps are loaded only now

        from . import checks, doctor, hits, source_events  # noqa: F401, PLC0415  registers the system checks

        retention.also_tidy("hits", hits.drop_old)
        post_migrate.connect(groups.grant, sender=self, dispatch_uid="traffic.groups.grant")
        erasure.also_erase("hits", hits.erase)
        panel.also_examine(doctor.examine)
        runs.also_expect(doctor.expected)
        exposition.also_expose(doctor.gauges)
        source_events.register()

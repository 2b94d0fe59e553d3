from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class GatewaysConfig(AppConfig):
    name = "gateways"
    verbose_name = _("Gateways")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.databases.citus import Place  # noqa: PLC0415
        from operations.extension import Extension, register  # noqa: PLC0415
        from subscriptions.serving import catalogue  # noqa: PLC0415

        from . import card, condition_words, conditions, hours, lists, metering  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places={
                    "Gateway": Place.LOCAL,
                    "Inbound": Place.LOCAL,
                    "GatewayServer": Place.LOCAL,
                    "GatewayHour": Place.LOCAL,
                },
                meter=metering.meter,
                cleanup={"hours of gateways": hours.drop_old},
                cards={"gateways": card.CARD},
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                events=condition_words.KINDS,
                gauges=condition_words.gauges,
                path_words=frozenset({"gateways", "config", "state"}),
            )
        )
        catalogue.personalise_with(lists.PERSONALISER)
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

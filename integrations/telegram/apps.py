from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class TelegramConfig(AppConfig):
    name = "integrations.telegram"
    label = "telegram"
    verbose_name = _("Telegram bot")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.databases.citus import Place  # noqa: PLC0415
        from operations.extension import Extension, register  # noqa: PLC0415

        from . import channel, checks, codes, condition_words, conditions, links, page  # noqa: F401, PLC0415  registers the system checks

        register(
            Extension(
                name=self.label,
                places={
                    "Bot": Place.LOCAL,
                    "Link": Place.LOCAL,
                    "LinkCode": Place.LOCAL,
                    "Answer": Place.LOCAL,
                },
                cleanup={"codes for Telegram": codes.drop_old},
                erase={"Telegram chat": links.erase},
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                channels=channel.CHANNELS,
                page_part=page.part,
                path_words=frozenset({"telegram-link"}),
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

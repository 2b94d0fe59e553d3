from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ThreeXUIConfig(AppConfig):
    name = "integrations.three_x_ui"
    label = "three_x_ui"
    verbose_name = _("3x-ui")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations.extension import Extension, register  # noqa: PLC0415  apps are loaded only now

        from . import condition_words, conditions, key_options  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                gauges=condition_words.gauges,
                key_options=(key_options.SERVER,),
                admin={"traffic.reporter": "integrations.three_x_ui.reporter_page.PAGES"},
                path_words=frozenset({"inform", "3x-ui"}),
            )
        )

import re
from datetime import timedelta

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class TrafficConfig(AppConfig):
    name = "traffic"
    verbose_name = _("Traffic")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.conf import available_time_zones  # noqa: PLC0415
        from operations.extension import Extension, Proof, register  # noqa: PLC0415

        from . import checks, condition_words, conditions, key_options  # noqa: F401, PLC0415  registers the system checks
        from .backup_summary import backup_summary  # noqa: PLC0415
        from .concerns import CONCERNS, SETTLED_IN  # noqa: PLC0415
        from .distribution import PLACES  # noqa: PLC0415
        from .ledger import verification  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places=PLACES,
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                events=condition_words.KINDS,
                gauges=condition_words.gauges,
                concerns=CONCERNS,
                settled_in=SETTLED_IN,
                commands=lambda: {"cleanup_traffic": timedelta(days=2)},
                proofs=(Proof(verification.count_steps, verification.count_differences),),
                backup_summary=backup_summary,
                harmless={
                    "days": re.compile(r"\d{1,4}", re.ASCII).fullmatch,
                    "bucket": re.compile(r"hour|day").fullmatch,
                    # Looked up: a pattern would let tokens pass.
                    "tz": lambda value: value in available_time_zones(),
                },
                subject_names=frozenset({"user_token"}),
                open_parts=frozenset({"server", "port"}),
                key_options=(key_options.GRADE, key_options.WAY, key_options.SERVERS),
                path_words=frozenset(
                    {"xpert", "traffic-stats", "traffic-webhook", "meter-readings"}
                ),
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

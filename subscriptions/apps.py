from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SubscriptionsConfig(AppConfig):
    name = "subscriptions"
    verbose_name = _("Subscriptions")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operations import roles  # noqa: PLC0415  apps are loaded only now
        from operations.databases.citus import Place  # noqa: PLC0415
        from operations.extension import Extension, register  # noqa: PLC0415

        from . import checks, condition_words, conditions, devices, key_options, membership, telling  # noqa: F401, PLC0415  registers the system checks
        from .card import CARD  # noqa: PLC0415
        from .formats import ASKABLE  # noqa: PLC0415
        from .person_events import KINDS  # noqa: PLC0415
        from .serving import hits  # noqa: PLC0415
        from .sources import accounts, provider_usage  # noqa: PLC0415

        register(
            Extension(
                name=self.label,
                places={
                    "Edition": Place.LOCAL,
                    "Group": Place.LOCAL,
                    "DirectConfig": Place.LOCAL,
                    "Source": Place.LOCAL,
                    "Template": Place.LOCAL,
                    "ProviderUsage": Place.LOCAL,
                    "Node": Place.LOCAL,
                    "Endpoint": Place.LOCAL,
                    "EndpointCheck": Place.LOCAL,
                    "SubscriptionHit": Place.LOCAL,
                    "ToldPerson": Place.LOCAL,
                    "Device": Place.LOCAL,
                    "Brand": Place.LOCAL,
                },
                cleanup={
                    "hits": hits.drop_old,
                    "providers' days": provider_usage.drop_old,
                    "devices": devices.drop_old,
                },
                erase={
                    "hits": hits.erase,
                    "own accounts": accounts.erase,
                    "wish to be notified": telling.erase,
                    "devices": devices.erase,
                },
                conditions=conditions.WATCHES,
                words=condition_words.WORDS,
                events=(*condition_words.KINDS, *KINDS),
                gauges=condition_words.gauges,
                cards={"sources": CARD},
                commands=conditions.expected,
                settled_in={
                    "source-failing": "subscriptions_source_changelist?failing=yes",
                    "provider-running-out": "subscriptions_source_changelist",
                    "provider-used-up": "subscriptions_source_changelist",
                    "provider-ends": "subscriptions_source_changelist",
                    "provider-ended": "subscriptions_source_changelist",
                    "template-failing": "subscriptions_template_changelist",
                    "servers-down": "subscriptions_node_changelist?answers=down",
                },
                plan_applied=membership.apply_plan,
                token_replaced=devices.forget_all_of,
                key_options=(key_options.GROUPS,),
                admin={
                    "traffic.subscriber": "subscriptions.admin.subscribers.PAGES",
                    "traffic.server": "subscriptions.admin.servers.PAGES",
                },
                harmless={"format": frozenset(ASKABLE).__contains__},
                path_words=frozenset(
                    {
                        "sub",
                        "direct-configs",
                        "sources",
                        "subscribers",
                        "tell-me",
                        "devices",
                        "templates",
                    }
                ),
            )
        )
        post_migrate.connect(roles.grant, sender=self, dispatch_uid="operations.roles.grant")

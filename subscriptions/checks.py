"""A malformed setting stops the start with a sentence, not with a traceback."""

from typing import Any

from django.core.checks import CheckMessage, register

from operations.checks import wrong_settings

from .conf import conf

# One id per setting, never changed, because operators silence and look up checks by id.
_CHECKS = {
    "rate_subscriptions": (
        "subscriptions.E007",
        "XPERT_RATE_SUBSCRIPTIONS=60/min is the default; empty means no limit.",
    ),
    "userinfo_total": ("subscriptions.E001", "XPERT_USERINFO_TOTAL=auto suits every app."),
    "support_url": ("subscriptions.E002", "Leave XPERT_SUPPORT_URL empty to send none."),
    "profile_web_page_url": (
        "subscriptions.E003",
        "Leave XPERT_PROFILE_WEB_PAGE_URL empty to send none.",
    ),
    "hits_enabled": (
        "subscriptions.E004",
        "XPERT_HITS_ENABLED=True records subscription requests, False does not.",
    ),
    "hits_retention_days": ("subscriptions.E005", "XPERT_HITS_RETENTION_DAYS=30 is the default."),
    "language": ("subscriptions.E006", "XPERT_LANGUAGE=en is the default."),
    "allow_private_sources": (
        "subscriptions.E011",
        "XPERT_ALLOW_PRIVATE_SOURCES=False keeps sources out of your network.",
    ),
    "sources_allow": (
        "subscriptions.E012",
        "Leave XPERT_SOURCES_ALLOW empty for https on usual ports alone.",
    ),
    "sources_user_agent": (
        "subscriptions.E013",
        "Leave XPERT_SOURCES_USER_AGENT empty for the usual one.",
    ),
    "sources_max_mb": ("subscriptions.E014", "XPERT_SOURCES_MAX_MB=5 is the default."),
    "down_nodes": ("subscriptions.E015", "XPERT_DOWN_NODES=last is the default."),
    "devices_without_id": (
        "subscriptions.E018",
        "XPERT_DEVICES_WITHOUT_ID=allow serves apps that do not identify their device, refuse does not.",
    ),
    "devices_retention_days": (
        "subscriptions.E019",
        "XPERT_DEVICES_RETENTION_DAYS=0 never forgets a device.",
    ),
    "server_checks": ("subscriptions.E016", "XPERT_SERVER_CHECKS=3 is the default."),
    "cores": (
        "subscriptions.E020",
        "Leave XPERT_CORES empty to use those on PATH; off uses none.",
    ),
    "tell_people": ("subscriptions.E017", "XPERT_TELL_PEOPLE=False tells operators alone."),
}


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    return wrong_settings(conf, _CHECKS)

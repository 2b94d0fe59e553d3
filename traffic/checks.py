"""A malformed setting stops the start with a sentence, not with a traceback."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from operations.checks import wrong_settings

from .conf import conf

# One id per setting, never changed, because operators silence and look up checks by id.
_CHECKS = {
    "tracking_enabled": (
        "traffic.E001",
        "XPERT_TRAFFIC_TRACKING_ENABLED=True counts reports, False refuses them.",
    ),
    "retention_days": ("traffic.E002", "XPERT_TRAFFIC_RETENTION_DAYS=0 keeps records for ever."),
    "reports_need_key": (
        "traffic.E005",
        "XPERT_REPORTS_NEED_KEY=True takes reports with an API key only.",
    ),
    "rate_reports": (
        "traffic.E006",
        "XPERT_RATE_REPORTS=120/min is the default; empty means no limit.",
    ),
    "max_bytes_per_hour": (
        "traffic.E007",
        "XPERT_MAX_GB_PER_HOUR=5000 is the default; 0 takes any amount.",
    ),
    "new_servers": ("traffic.E008", "XPERT_NEW_SERVERS=50/day is the default; empty means any."),
    "switch_off_after_days": (
        "traffic.E009",
        "XPERT_SWITCH_OFF_AFTER_DAYS=0 switches off nobody whose subscription is over.",
    ),
    "delete_after_days": (
        "traffic.E010",
        "XPERT_DELETE_AFTER_DAYS=0 deletes nobody whose subscription is over.",
    ),
}


@register
def check_settings(**options: Any) -> list[CheckMessage]:
    return wrong_settings(conf, _CHECKS)


_RESELLERS = "traffic.backends.ResellerBackend"


@register
def check_backends(**options: Any) -> list[CheckMessage]:
    """Without the backend, groups would open to resellers what is not theirs."""
    order = list(settings.AUTHENTICATION_BACKENDS)
    later = order[order.index(_RESELLERS) :] if _RESELLERS in order else []
    granting = [name for name in order if issubclass(import_string(name), ModelBackend)]
    if all(name in later for name in granting):
        return []
    hint = f"Put {_RESELLERS} into AUTHENTICATION_BACKENDS, before every backend that grants permissions."
    return [Error("The permissions of resellers are not narrowed.", hint=hint, id="traffic.E011")]

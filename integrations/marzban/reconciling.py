"""Comparing our people with the panel's list of users: what neither its nodes nor its webhook tell comes to light here."""

from datetime import datetime

from . import accounts, people
from .events import BY_STATUS
from .models import PanelIdentity, PanelLink
from .panel_api import ApiError, PanelApi


def reconcile(link: PanelLink, now: datetime) -> int:
    """Follow the whole list; return its length. Notes when it was done, or why not. Raises ApiError."""
    try:
        count = _reconcile(link, accounts.sign_in(link), now)
    except ApiError as error:
        PanelLink.objects.filter(pk=link.pk).update(reconcile_error=error.code[:40])
        raise
    PanelLink.objects.filter(pk=link.pk).update(reconciled_at=now, reconcile_error="")
    return count


def _reconcile(link: PanelLink, api: PanelApi, now: datetime) -> int:
    users = list(api.users())
    if link.kind == PanelLink.Kind.PASARGUARD:
        people.name(link, {user.id: user.username for user in users if user.id is not None}, now)
    ours = set(_names(link))
    listed = {user.username: user.status for user in users}
    missing = ours - {name.lower() for name in listed}
    if missing:  # or a page moved while it was read: they must be missing twice
        missing -= {user.username.lower() for user in api.users()}
    statuses = {name: BY_STATUS[status] for name, status in listed.items() if status in BY_STATUS}
    gone = dict.fromkeys(missing, PanelIdentity.Status.DELETED.value)
    people.told(link, gone | statuses, now)
    return len(listed)


def _names(link: PanelLink) -> list[str]:
    current = PanelIdentity.objects.filter(link=link, closed_at=None)
    return [name.lower() for name in current.values_list("username", flat=True)]

"""Removes stored keys, passwords and headers of panels."""

from collections.abc import Iterable

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from traffic.ledger import reporters

from .models import Panel

_FIELDS = ("enabled", "sealed_secret", "sealed_headers")


@write_transaction
def forget(ids: Iterable[int], by: By) -> int:
    """Return how many of these panels had any. They are no longer read, because no panel answers without its secret."""
    chosen = Panel.objects.select_for_update().filter(pk__in=list(ids))
    panels = [panel for panel in chosen if panel.has_secrets]
    changes = []
    for panel in panels:
        before = audit.values(panel, _FIELDS)
        panel.enabled, panel.sealed_secret, panel.sealed_headers = False, "", ""
        changes.append((panel, audit.differences(panel, before)))
        reporters.end(panel.origin, by.now)
    Panel.objects.bulk_update(panels, _FIELDS)
    audit.note_many(Action.CHANGED, changes, by)
    return len(panels)

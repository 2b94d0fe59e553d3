"""Removes what old panels sign subscription tokens with."""

from collections.abc import Iterable

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction

from .models import OldPanel


@write_transaction
def forget(ids: Iterable[int], by: By) -> int:
    """Return how many of these panels had one. Links that they have signed end; whoever moved in stays."""
    panels = list(
        OldPanel.objects.select_for_update().filter(pk__in=list(ids)).exclude(sealed_secret="")
    )
    changes = {panel: {"sealed_secret": (panel.sealed_secret, "")} for panel in panels}
    OldPanel.objects.filter(pk__in=[panel.pk for panel in panels]).update(sealed_secret="")
    audit.note_many(Action.CHANGED, changes.items(), by)
    return len(panels)

"""Old subscription links of people who moved in: a token that an old panel has signed means its owner here."""

from operations.sealing import CannotOpenError
from traffic.models import Subscriber

from . import old_tokens
from .models import OldAccount, OldPanel
from .old_tokens import Token


def own_token(token: str) -> str | None:
    """The owner's own token; None if no old panel has signed this one, or has revoked it since.

    Asks the database only about tokens that have such a form.
    """
    claimed = old_tokens.read(token)
    if claimed is None:
        return None
    panels = OldPanel.objects.exclude(sealed_secret="")
    signers = [panel for panel in panels if _has_signed(panel, claimed)]
    owners = (_owner(panel, claimed) for panel in signers)
    owner = next((found for found in owners if found), None)
    if owner is None or Subscriber.objects.filter(token=token).exists():
        return None
    return owner.subscriber.token


def _has_signed(panel: OldPanel, claimed: Token) -> bool:
    try:
        return claimed.is_signed_with(panel.secret)
    except CannotOpenError:
        return False


def _owner(panel: OldPanel, claimed: Token) -> OldAccount | None:
    """A token is only valid from the making of the account, and of its revocation, on."""
    rows = OldAccount.objects.filter(
        panel=panel, born__lte=claimed.made, revoked__lte=claimed.made
    ).select_related("subscriber")
    if claimed.number is not None:
        return rows.filter(number=claimed.number).first()
    return rows.filter(username=claimed.username).first()

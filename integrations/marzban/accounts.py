"""An admin's account of a linked panel, stored encrypted, for what neither the node nor the webhook tells."""

from operations import audit, sealing
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from operations.sealing import CannotOpenError

from .models import PanelLink
from .panel_api import ApiError, PanelApi


def store(link: PanelLink, username: str, password: str, by: By) -> None:
    """Try it, then keep it. Raises ApiError."""
    PanelApi.sign_in(link.url, username, password)
    _save(link, username, sealing.seal(password), by)


def forget(link: PanelLink, by: By) -> None:
    _save(link, "", "", by)


def sign_in(link: PanelLink) -> PanelApi:
    """With the stored account. Codes besides those of the panel: ``no_account``, ``sealed``. Raises ApiError."""
    if not link.account_name:
        raise ApiError("no_account")
    try:
        password = sealing.unseal(link.account_password)
    except CannotOpenError:
        raise ApiError("sealed") from None
    return PanelApi.sign_in(link.url, link.account_name, password)


@write_transaction
def _save(link: PanelLink, username: str, sealed: str, by: By) -> None:
    before = link.account_name
    link.account_name, link.account_password = username, sealed
    link.save(update_fields=["account_name", "account_password"])
    audit.note(Action.CHANGED, link, by, {"account_name": (before, username)})

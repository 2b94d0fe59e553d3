"""A Marzban admin's bearer token, as the Marzban UI sends it with every request."""

from collections.abc import Callable

from rest_framework.exceptions import AuthenticationFailed

from operations.api.exceptions import ServiceUnavailable
from operations.extension import Bearer
from operations.outbound.errors import OutboundError

from . import admin_tokens, own_users


class PanelUnavailable(ServiceUnavailable):
    default_detail = "Marzban could not be asked whose token this is; try again."
    default_code = "panel_unavailable"


class PanelAdmin(Bearer, frozen=True):
    """``names``: asks Marzban for the users of this admin; raises OutboundError."""

    username: str = ""
    is_sudo: bool = False
    names: Callable[[], frozenset[str]] = frozenset


def bearer(token: str) -> PanelAdmin | None:
    """The owner of the token; None when it is not an admin token, or no panel's admins sign in here.

    Raises AuthenticationFailed when Marzban refuses it, and PanelUnavailable when Marzban does not say.
    """
    if not admin_tokens.is_admin_token(token) or not admin_tokens.panel_url():
        return None
    try:
        admin = admin_tokens.find(token)
    except OutboundError:
        raise PanelUnavailable from None
    if admin is None:
        raise AuthenticationFailed("Marzban does not accept this token; sign in to Marzban again.")
    return _bearer(admin, token)


def _bearer(admin: admin_tokens.Admin, token: str) -> PanelAdmin:
    refusal = f"This needs a sudo admin of Marzban; {admin.username} is not one."
    return PanelAdmin(
        name=f"Marzban admin {admin.username}",
        scope="manage" if admin.is_sudo else "",
        refusal="" if admin.is_sudo else refusal,
        username=admin.username,
        is_sudo=admin.is_sudo,
        names=lambda: own_users.names(token),
    )

"""The users of an admin who is not sudo: Marzban lists nobody else to them."""

import os
import time

from operations.outbound.errors import OutboundError

from . import admin_tokens
from .panel_api import ApiError, PanelApi
from .token_checks import TokenChecks

# Seconds: a panel of thousands works for the answer, which only decides whose figures are added up.
_REMEMBERED = 300.0
_PATIENCE = 60.0


def names(token: str) -> frozenset[str]:
    """In lower case, because Marzban's names are unique whatever their case. Raises OutboundError.

    The first answer may take longer than the caller waits; it is then ready for the next call.
    """
    return _checks.verdict(admin_tokens.panel_url(), token)


def forget_all() -> None:
    _checks.begin_afresh()


def _ask(url: str, token: str) -> frozenset[str]:
    end = time.monotonic() + _PATIENCE
    found: set[str] = set()
    try:
        for user in PanelApi(url, token).users():
            found.add(user.username.lower())
            if time.monotonic() > end:
                raise OutboundError("timeout")
    except ApiError as error:
        raise OutboundError(error.code) from None
    return frozenset(found)


_checks: TokenChecks[frozenset[str]] = TokenChecks(_ask, remembered=_REMEMBERED)
os.register_at_fork(after_in_child=forget_all)

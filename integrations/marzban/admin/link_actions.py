"""What an operator may do with a link: each a button that asks first."""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from integrations.marzban import accounts, events, handover, linking, node_keys, reconciling
from integrations.marzban.linking import Account
from integrations.marzban.models import HandOver, PanelLink
from operations.admin.questions import ObjectAction
from operations.admin.secrets import shown_once
from operations.audit import By
from operations.formatting import size

from .forms import AccountForm, ResumeForm

_SECRET = gettext_lazy("Copy WEBHOOK_SECRET for the panel's .env now. It is shown only once.")

_KEY = gettext_lazy("Copy the API key of the node now. It is shown only once.")


class LinkAction(ObjectAction, frozen=True, kw_only=True):
    """``do`` takes the link, the cleaned data of the form and the author, and returns what was done as a sentence.

    It may raise LinkError and ApiError. ``fits``: whether the button makes sense for a link.
    """

    do: Callable[[PanelLink, Mapping[str, Any], By], str]
    fits: Callable[[PanelLink], bool]


def _again(link: PanelLink, _data: Mapping[str, Any], by: By) -> str:
    return _("%(size)s go with the next answers.") % {"size": size(handover.again(link, by))}


def _pause(link: PanelLink, _data: Mapping[str, Any], by: By) -> str:
    handover.pause(link, by)
    return _("Nothing is handed over until you resume it.")


def _go_on(link: PanelLink, _data: Mapping[str, Any], by: By) -> str:
    handover.go_on(link, by)
    return _("What waited is handed over with the next answers.")


def _resume(link: PanelLink, data: Mapping[str, Any], by: By) -> str:
    handover.resume(link, data["since"], by.now)
    return _("Everything used since then is handed over with the next answers.")


def _secret(link: PanelLink, _data: Mapping[str, Any], by: By) -> SafeString:
    return shown_once(_SECRET, events.renew_secret(link, by))


def _key(link: PanelLink, _data: Mapping[str, Any], by: By) -> SafeString:
    return shown_once(_KEY, node_keys.renew(link))


def _store(link: PanelLink, data: Mapping[str, Any], by: By) -> str:
    accounts.store(link, data["username"], data["password"], by)
    return _("The account works and is stored.")


def _forget(link: PanelLink, _data: Mapping[str, Any], by: By) -> str:
    accounts.forget(link, by)
    return _("The account is forgotten.")


def _reconcile(link: PanelLink, _data: Mapping[str, Any], by: By) -> str:
    count = reconciling.reconcile(link, by.now)
    return ngettext("%d user was compared.", "%d users were compared.", count) % count


def _remove(link: PanelLink, data: Mapping[str, Any], by: By) -> str:
    linking.disconnect(link.url, Account(data["username"], data["password"]), by)
    return _("%(url)s is no longer linked.") % {"url": link.url}


def _has_unknown(link: PanelLink) -> bool:
    return link.batches.filter(state=HandOver.State.UNKNOWN).exists()


def _is_paused(link: PanelLink) -> bool:
    return link.state == PanelLink.State.PAUSED


ACTIONS: dict[str, LinkAction] = {
    "again": LinkAction(
        button=gettext_lazy("Hand over again"),
        icon="replay",
        text=gettext_lazy(
            "Nobody knows whether these bytes arrived. If they did, these people are charged for them twice: compare first."
        ),
        do=_again,
        fits=_has_unknown,
        is_loss=True,
    ),
    "pause": LinkAction(
        button=gettext_lazy("Pause"),
        icon="pause",
        text=gettext_lazy(
            "Bytes are counted here and wait. The panel goes on as if nobody used an external server."
        ),
        do=_pause,
        fits=lambda link: not _is_paused(link),
        is_loss=True,
    ),
    "continue": LinkAction(
        button=gettext_lazy("Go on"),
        icon="play_arrow",
        text=gettext_lazy("Everything that waited since the pause is handed over."),
        do=_go_on,
        fits=lambda link: _is_paused(link) and not handover.is_restored(link),
    ),
    "resume": LinkAction(
        button=gettext_lazy("Resume from a moment"),
        icon="restore",
        text=gettext_lazy(
            "After a restore, this database does not know what was handed over since the backup. Choose the moment up to which"
            " the panel has got everything: what was used later is handed over, and nothing twice."
        ),
        do=_resume,
        fits=_is_paused,
        form=ResumeForm,
    ),
    "reconcile": LinkAction(
        button=gettext_lazy("Compare people"),
        icon="sync",
        text=gettext_lazy(
            "Reads the panel's whole list of users with the stored account and follows it. It may take a minute."
        ),
        do=_reconcile,
        fits=lambda link: bool(link.account_name),
    ),
    "secret": LinkAction(
        button=gettext_lazy("New webhook secret"),
        icon="key",
        text=gettext_lazy("The panel then sends its events with it. An older secret ends at once."),
        do=_secret,
        fits=lambda link: True,
    ),
    "key": LinkAction(
        button=gettext_lazy("New API key"),
        icon="vpn_key",
        text=gettext_lazy(
            "The panel calls the node with it: enter it in the panel's entry of the node. The older key ends at once."
        ),
        do=_key,
        fits=lambda link: link.kind == PanelLink.Kind.PASARGUARD,
    ),
    "account": LinkAction(
        button=gettext_lazy("Store an account"),
        icon="badge",
        text=gettext_lazy(
            "For comparing people every ten minutes and for the difference report. It is stored encrypted and shown to nobody."
        ),
        do=_store,
        fits=lambda link: True,
        form=AccountForm,
    ),
    "forget": LinkAction(
        button=gettext_lazy("Forget the account"),
        icon="person_off",
        text=gettext_lazy(
            "People are then compared when the panel starts its node, and there is no difference report."
        ),
        do=_forget,
        fits=lambda link: bool(link.account_name),
        is_loss=True,
    ),
    "remove": LinkAction(
        button=gettext_lazy("Remove from both panels"),
        icon="link_off",
        text=gettext_lazy(
            "The node goes from the panel, and the link from here. Subscribers and their usage stay; whoever was suspended stays switched off."
        ),
        do=_remove,
        fits=lambda link: True,
        form=AccountForm,
        is_loss=True,
    ),
}

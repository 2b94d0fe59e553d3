"""Why a panel cannot be linked: one sentence for each reason."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .models import PanelLink
from .panel_api import ApiError


class LinkError(Exception):
    """Why a panel is not linked, or its link not removed: a sentence for the operator."""


_UNREACHABLE = gettext_lazy(
    "%(url)s does not answer: see that the panel runs and the address is right."
)
_NOT_A_PANEL = gettext_lazy(
    "%(url)s is not a Marzban or PasarGuard: give the address of its dashboard without /dashboard."
)
_BY_CODE: dict[str, str | Promise] = {
    "password": gettext_lazy("%(url)s does not accept this user name and password."),
    "not_sudo": gettext_lazy(
        "This admin is not a sudo admin of %(url)s, so they cannot add a node."
    ),
    "http_403": gettext_lazy("This admin may not manage the nodes of %(url)s: %(detail)s"),
    "tls": gettext_lazy(
        "%(url)s has no TLS that this machine trusts: without TLS write http://, otherwise renew its certificate."
    ),
    "private_address": gettext_lazy("%(url)s leads to an address that is never dialled."),
    "connection": _UNREACHABLE,
    "connect_timeout": _UNREACHABLE,
    "timeout": _UNREACHABLE,
    "stalled": _UNREACHABLE,
    "dns": gettext_lazy("The name in %(url)s cannot be resolved."),
    "no_account": gettext_lazy("No account of %(url)s is stored."),
    "sealed": gettext_lazy(
        "SECRET_KEY has changed, so the stored account cannot be read: store it again."
    ),
    "http_404": _NOT_A_PANEL,
    "http_405": _NOT_A_PANEL,
    "bad_response": _NOT_A_PANEL,
}


@contextmanager
def as_sentences(url: str) -> Iterator[None]:
    """Turn what the panel's API refuses within the block into a LinkError."""
    try:
        yield
    except ApiError as error:
        raise LinkError(sentence(error, url)) from None


def sentence(error: ApiError, url: str) -> str:
    text = _BY_CODE.get(error.code) or gettext_lazy("%(url)s refused: %(detail)s")
    detail = error.detail or error.code.replace("http_", "HTTP ")
    return str(text) % {"url": url, "detail": detail}


def open_access() -> str:
    return _(
        "Open access is on, which would let everybody count for anybody: set XPERT_OPEN_ACCESS=False first."
    )


def not_linked(url: str) -> str:
    return _("%(url)s is not linked.") % {"url": url}


def bad_address(text: str) -> str:
    return _("%(url)s is not an address like https://marzban.example.com.") % {"url": text}


def unencrypted(url: str) -> str:
    return _(
        "%(url)s would get the password unencrypted: use https://, or the panel's private address."
    ) % {"url": url}


def node_port_taken(port: int) -> str:
    return _(
        "Port %(port)d of the node is taken by another program: set XPERT_MARZBAN_NODE_LISTEN and XPERT_MARZBAN_NODE_API."
    ) % {"port": port}


def of_node(link: PanelLink) -> str:
    """Why the process of the node cannot start it."""
    return str(PanelLink.NodeError(link.node_error).label)


def node_is_silent(port: int) -> str:
    return _(
        "The node does not listen on port %(port)d: start the service xpert-panel-marzban-node"
        " (manage.py marzban_node), then try again."
    ) % {"port": port}


def node_disabled(name: str) -> str:
    return _(
        "The node “%(name)s” is switched off in the panel's Node Settings: switch it on there."
    ) % {"name": name}


def not_connected(address: str, message: str) -> str:
    return _("The panel cannot connect to the node at %(address)s: %(message)s") % {
        "address": address,
        "message": message or _("it has not tried yet"),
    }


def no_node_address() -> str:
    return _("The node listens on all addresses: say with --node-address how the panel reaches it.")


def no_core() -> str:
    return _(
        "The panel has no core configuration yet, and a node needs one: add a core there first."
    )

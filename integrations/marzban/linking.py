"""Linking a panel and undoing it: everything that an operator would otherwise do by hand in both panels."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from operations import audit
from operations.audit import Action, By
from operations.conf import conf as operations_conf
from operations.databases.transactions import write_transaction
from operations.hosts import join_host_port
from operations.outbound.url_policy import Refused, check_url, is_private_host
from traffic.models import Subscriber

from . import link_certificates, link_errors, marks, node_keys, own_node, ports, sightings
from .link_errors import LinkError, as_sentences
from .models import PanelLink
from .panel_api import ApiError, PanelApi, PanelNode
from .panel_client import POLICY

# What the node is called in the panel's Node Settings.
NODE_NAME = "External servers"
_DASHBOARD = re.compile(r"/dashboard/?$")
# Seconds in which the panel must have connected, and between two looks.
_CONNECTS = 30.0
_PAUSE = 0.5

_T = TypeVar("_T")


class Account(msgspec.Struct, frozen=True):
    """An admin of the panel."""

    username: str
    password: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """``url`` as people copy it. ``node_address``: how the panel reaches our node; empty: as before, or where it listens."""

    url: str
    account: Account
    node_address: str = ""


class Linked(msgspec.Struct, frozen=True):
    link: PanelLink
    node: PanelNode
    is_new: bool


def connect(wanted: Wanted, by: By) -> Linked:
    """Link a panel and wait until it has connected to our node. Run again, it changes nothing. Raises LinkError."""
    if operations_conf.open_access:
        raise LinkError(link_errors.open_access())
    url = address_of(wanted.url)
    with as_sentences(url):
        api = PanelApi.sign_in(url, wanted.account.username, wanted.account.password)
        link, is_new = _link(wanted, url, api.certificate(), by)
        _start_node(link, by, is_new=is_new)
        node, is_new_node = _node(api, link, wanted.node_address)
        _wait_until_connected(api, link, node)
    return Linked(link, node, is_new or is_new_node)


def disconnect(url: str, account: Account, by: By) -> PanelLink:
    """Remove our node from the panel, and the link from here. Subscribers and their usage stay. Raises LinkError."""
    address = address_of(url)
    link = PanelLink.objects.filter(url=address).first()
    if link is None:
        raise LinkError(link_errors.not_linked(address))
    with as_sentences(address):
        api = PanelApi.sign_in(address, account.username, account.password)
        for node in _ours(api.nodes(), link):
            api.remove_node(node.id)
    forget(link, by)
    return link


def address_of(text: str) -> str:
    """The panel's address, without what a copied one may have at its end. Raises LinkError."""
    bare = text.strip().partition("#")[0].partition("?")[0].rstrip("/")
    found = _DASHBOARD.sub("", bare).rstrip("/")
    try:
        target = check_url(found, POLICY)
    except Refused:
        raise LinkError(link_errors.bad_address(text)) from None
    if target.scheme == "http" and not is_private_host(target.host):
        raise LinkError(link_errors.unencrypted(found))
    parts = urlsplit(found)
    return f"{target.scheme}://{parts.netloc.lower()}{parts.path}"


@write_transaction
def forget(link: PanelLink, by: By) -> None:
    """Remove a link from here alone. Whom its panel had suspended stays switched off."""
    current = link.identities.filter(closed_at=None, subscriber__isnull=False)
    people = Subscriber.objects.filter(pk__in=current.values("subscriber"))
    people.exclude(suspension="").update(is_active=False, suspension="")
    audit.note(Action.DELETED, link, by)
    key = link.key
    sightings.end(link, by.now)
    PanelLink.objects.filter(pk=link.pk).delete()
    with suppress(OSError):
        marks.remove(key)


# --- Here ----------------------------------------------------------------------


@write_transaction
def _link(wanted: Wanted, url: str, certificate: str, by: By) -> tuple[PanelLink, bool]:
    """The link of this address, made if there is none. A certificate that has changed replaces the old one."""
    link = PanelLink.objects.filter(url=url).first()
    if link:
        if certificate != link.client_certificate:
            link.client_certificate = certificate
            link.save(update_fields=["client_certificate"])
        return link, False
    made = PanelLink(
        name=_free(
            _numbered(urlsplit(url).netloc), PanelLink.objects.values_list("name", flat=True)
        ),
        kind=PanelLink.Kind.MARZBAN if certificate else PanelLink.Kind.PASARGUARD,
        url=url,
        node_address=wanted.node_address,
        client_certificate=certificate,
        number=_free(count(), PanelLink.objects.values_list("number", flat=True)),
    )
    made.save(force_insert=True)
    audit.note(Action.ADDED, made, by)
    return made, True


def _free(candidates: Iterable[_T], taken: Iterable[_T]) -> _T:
    known = set(taken)
    return next(found for found in candidates if found not in known)


def _start_node(link: PanelLink, by: By, *, is_new: bool) -> None:
    """Wait for our node's process to listen for this link. A link that was made for nothing goes again."""
    try:
        own_node.wait(link)
    except LinkError:
        if is_new:
            forget(link, by)
        raise


# --- There ---------------------------------------------------------------------


def _node(api: PanelApi, link: PanelLink, address: str) -> tuple[PanelNode, bool]:
    """Our entry in the panel's nodes, made if there is none."""
    nodes = api.nodes()
    known = next(_ours(nodes, link), None)
    if known is None:
        made = _add(api, link, _address(link, address), {node.name for node in nodes})
        _remember(link, made)
        return made, True
    if known.status == "disabled":
        raise LinkError(link_errors.node_disabled(known.name))
    _remember(link, known)
    if address and address != known.address:
        api.change_node(known.id, {"address": address})
    elif known.status != "connected":
        api.reconnect(known.id)
    return known, False


def _ours(nodes: Iterable[PanelNode], link: PanelLink) -> Iterator[PanelNode]:
    """An id is given to another node once this one was deleted, so the port must agree too."""
    port = _port(link)
    for node in nodes:
        is_known = node.id == link.node_id or node.address == link.node_address
        if node.port == port and (is_known or _is_here(node.address)):
            yield node


def _port(link: PanelLink) -> int:
    """PasarGuard speaks gRPC on the port of its entry, Marzban HTTPS."""
    is_grpc = link.kind == PanelLink.Kind.PASARGUARD
    return (ports.api(link) if is_grpc else ports.listen(link)).port


def _is_here(address: str) -> bool:
    return address in {"127.0.0.1", "::1", "localhost"}


def _address(link: PanelLink, wanted: str) -> str:
    found = wanted or link.node_address or ports.address(link)
    if not found:
        raise LinkError(link_errors.no_node_address())
    return found


def _add(api: PanelApi, link: PanelLink, address: str, taken: set[str]) -> PanelNode:
    """A new node in the panel. Its name may be taken by one that this admin does not see."""
    fields = _fields(api, link, address)
    for name in _numbered(NODE_NAME):
        if name in taken:
            continue
        try:
            return api.add_node({"name": name, **fields})
        except ApiError as error:
            if error.code != "http_409":
                raise
    raise AssertionError("names never end")


def _fields(api: PanelApi, link: PanelLink, address: str) -> dict[str, object]:
    if link.kind == PanelLink.Kind.PASARGUARD:
        return _pasarguard_fields(api, link) | {"address": address, "port": _port(link)}
    return {
        "address": address,
        "port": _port(link),
        "api_port": ports.api(link).port,
        "usage_coefficient": 1.0,
        # Else every subscription gets a dead server per inbound, which deleting the node does not remove.
        "add_as_new_host": False,
    }


def _pasarguard_fields(api: PanelApi, link: PanelLink) -> dict[str, object]:
    core = api.first_core()
    if core is None:
        raise LinkError(link_errors.no_core())
    return {
        "api_port": ports.listen(link).port,
        "connection_type": "grpc",
        "server_ca": link_certificates.of(link).certificate.read_text(),
        "keep_alive": 60,
        "core_config_id": core,
        "api_key": node_keys.renew(link),
        "usage_coefficient": 1.0,
    }


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name} {number}"


def _remember(link: PanelLink, node: PanelNode) -> None:
    link.node_id, link.node_address = node.id, node.address
    link.save(update_fields=["node_id", "node_address"])


def _wait_until_connected(
    api: PanelApi, link: PanelLink, node: PanelNode, clock: Callable[[], float] = time.monotonic
) -> None:
    deadline = clock() + _CONNECTS
    while True:
        found = next((one for one in api.nodes() if one.id == node.id), node)
        if found.status == "connected":
            return
        if clock() > deadline:
            address = join_host_port(found.address, found.port)
            raise LinkError(link_errors.not_connected(address, found.message or ""))
        time.sleep(_PAUSE)

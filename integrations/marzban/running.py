"""Nodes of all links in one process: each listens on its own ports, is kept up to date, and is stopped with its link."""

import logging
import threading
import time
from collections.abc import Callable

import msgspec
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.db.models import Q
from django.utils import timezone

from . import certificates, handover, link_certificates, ports, sightings
from .api import ApiServer
from .certificates import CertificateError
from .models import PanelLink
from .node import Node
from .pasarguard import Service
from .pasarguard_api import PasarGuardApi
from .pasarguard_rest import PasarGuardRest
from .rest import RestServer
from .tls_server import TlsServer

logger = logging.getLogger(__name__)
# Seconds between two looks at the links, and between two looks at what a node has to write.
_LINKS = 2.0
_TIDY = 0.5
# Seconds between two notes of when a panel was last heard of, and between two comparisons with what others wrote.
_SEEN = 10.0
_COMPARE = 60.0
# Seconds between two notes in the panel's list of reporters.
_REPORTED = 300.0
# Seconds from the start to the first comparison with the panel's own list of users, and between two.
_FIRST_RECONCILE = 30.0
_RECONCILE = 600.0


class RunningNode:
    """A node with its two servers and the thread that writes for it."""

    def __init__(self, link: PanelLink) -> None:
        """Raises CertificateError, OSError and DatabaseError."""
        self.basis = _basis(link)
        self.node = Node(handover.adopt(link.pk, timezone.now()))
        self.node.load()
        self._ended = threading.Event()
        self._noted = 0.0
        self._reported = -_REPORTED
        self._compared = time.monotonic()
        # gRPC first, because whoever waits for the node tries the other port.
        self.api, rest = _servers(link, self.node)
        try:
            self.rest = rest()
        except OSError:
            self.api.close()
            raise
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        threading.Thread(target=self._reconcile, daemon=True).start()

    def close(self) -> None:
        self.rest.close()
        self.api.close()
        self._ended.set()
        self.node.wake.set()
        self._writer.join()

    def _write(self) -> None:
        while not self._ended.is_set():
            self.node.wake.wait(_TIDY)
            self.node.wake.clear()
            close_old_connections()
            if not self._is_written():
                self._ended.wait(_TIDY)
        self._is_written()  # what was answered while it stopped
        connection.close()

    def _reconcile(self) -> None:
        wait = _FIRST_RECONCILE
        while not self._ended.wait(wait):
            wait = _RECONCILE
            _reconcile(self.node.link.pk)
            connection.close()

    def _is_written(self) -> bool:
        try:
            self.node.settle()
            self._compare_at_times()
            self.node.write_people()
            self._note_seen()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The node cannot write now: %s", error)
        except Exception:
            logger.exception("The node cannot write.")
        else:
            return True
        return False

    def _compare_at_times(self) -> None:
        now = time.monotonic()
        if now - self._compared >= _COMPARE:
            self._compared = now
            self.node.compare()

    def _note_seen(self) -> None:
        seen = self.node.seen_at
        if seen is not None and seen - self._noted >= _SEEN:
            PanelLink.objects.filter(pk=self.node.link.pk).update(seen_at=timezone.now())
            self._noted = seen
            if seen - self._reported >= _REPORTED:
                sightings.note(self.node.link, timezone.now())
                self._reported = seen


def _servers(
    link: PanelLink, node: Node
) -> tuple[ApiServer | PasarGuardApi, Callable[[], TlsServer]]:
    """The server for gRPC, and what starts the other. Raises CertificateError and OSError."""
    own = link_certificates.of(link)
    api, listen = ports.api(link), ports.listen(link)
    if link.kind == PanelLink.Kind.PASARGUARD:
        service, context = Service(node), certificates.open_context(own)
        return PasarGuardApi(api, own, service), lambda: PasarGuardRest(listen, context, service)
    context = certificates.server_context(link.client_certificate, own)
    return ApiServer(api, own, node), lambda: RestServer(listen, context, node)


class Basis(msgspec.Struct, frozen=True):
    """What a running node was made of: when it changes, the node starts again."""

    certificate: str
    number: int
    makes_subscribers: bool
    node_address: str


class Nodes:
    """The nodes of this process by link."""

    def __init__(self) -> None:
        self._running: dict[int, RunningNode] = {}
        self._failed: dict[int, str] = {}

    def update(self) -> None:
        """Start what is new, stop what is gone. Raises DatabaseError."""
        # PasarGuard shows a key instead of a certificate.
        is_known = ~Q(client_certificate="") | Q(kind=PanelLink.Kind.PASARGUARD)
        links = {link.pk: link for link in PanelLink.objects.filter(is_known)}
        for pk, running in list(self._running.items()):
            if pk not in links or _basis(links[pk]) != running.basis:
                del self._running[pk]
                running.close()
        for pk, link in links.items():
            if pk not in self._running:
                self._start(link)

    def close(self) -> None:
        for running in self._running.values():
            running.close()
        self._running.clear()

    def _start(self, link: PanelLink) -> None:
        try:
            self._running[link.pk] = RunningNode(link)
        except PanelLink.DoesNotExist:
            return  # removed a moment ago
        except (CertificateError, OSError) as error:
            if self._failed.get(link.pk) != str(error):  # each reason once
                logger.error("The node of %s cannot start: %s", link.name, error)  # noqa: TRY400
            self._failed[link.pk] = str(error)
            is_own = isinstance(error, CertificateError)
            _note(link, PanelLink.NodeError.CERTIFICATE if is_own else PanelLink.NodeError.PORT)
            return
        self._failed.pop(link.pk, None)
        _note(link, "")
        logger.info("The node of %s listens.", link.name)


def run(stopping: threading.Event) -> None:
    """Serve until ``stopping`` is set. Without a link it waits for one."""
    nodes = Nodes()
    try:
        while not stopping.is_set():
            close_old_connections()
            try:
                nodes.update()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The links cannot be read now: %s", error)
            stopping.wait(_LINKS)
    finally:
        begun = time.monotonic()
        nodes.close()
        connection.close()
        logger.info("Stopped after %.1f s.", time.monotonic() - begun)


def _reconcile(pk: int) -> None:
    """Compare people with the panel's list, if an account of it is stored."""
    link = PanelLink.objects.filter(pk=pk).exclude(account_name="").first()
    if link is None:
        return
    # A client of panels, which most links don't need.
    from . import reconciling  # noqa: PLC0415
    from .panel_api import ApiError  # noqa: PLC0415

    try:
        reconciling.reconcile(link, timezone.now())
    except (ApiError, DatabaseError, InterfaceError) as error:
        logger.warning("People of %s cannot be compared now: %s", link.name, error)
    except Exception:  # whatever the panel answers must not end the comparisons
        logger.exception("People of %s cannot be compared.", link.name)


def _note(link: PanelLink, error: str) -> None:
    if link.node_error != error:
        PanelLink.objects.filter(pk=link.pk).update(node_error=error)


def _basis(link: PanelLink) -> Basis:
    address = link.node_address if link.kind == PanelLink.Kind.PASARGUARD else ""
    return Basis(link.client_certificate, link.number, link.makes_subscribers, address)

"""Reads all people of another panel, from its address or from its database. Nothing is changed there."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from integrations.pulls import client
from integrations.pulls.adapters.asking import Access, BadAnswerError, Way
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits
from operations.outbound.url_policy import Policy, Refused

from . import databases
from .accounts import People
from .databases import BadDatabaseError
from .panels import PANELS

# Seconds and bytes of one answer: 3x-ui tells of everybody at once.
LIMITS = Limits(connect=10, gap=60, total=120, body=64 * 2**20)


class ReadingError(Exception):
    """Nothing could be read. ``code`` is for programs."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Address(msgspec.Struct, frozen=True):
    """A running panel. ``is_private``: it may be inside the operator's own network."""

    url: str
    access: Access
    is_private: bool = False


def ways(kind: str) -> Mapping[Way, object]:
    """How a panel of this kind can be read over its API."""
    return PANELS[kind].adapter.talk


def over_api(kind: str, address: Address, network: Network = Network()) -> People:  # noqa: B008  it is frozen
    """Raises ReadingError."""
    policy = Policy(ports=True, addresses=True, private=address.is_private)
    asked = client.Panel(PANELS[kind].adapter, address.url, address.access, policy)
    try:
        return asyncio.run(client.read(asked, LIMITS, network))
    except (OutboundError, BadAnswerError, Refused) as error:
        raise ReadingError(error.code) from None


def from_file(kind: str, path: Path) -> People:
    """Raises ReadingError."""
    panel = PANELS[kind]
    if panel.stored is None:
        raise ReadingError("no_database")
    try:
        with databases.opened(path, panel.tables) as database:
            return panel.stored(database)
    except BadDatabaseError as error:
        raise ReadingError(error.code) from None


def from_content(kind: str, content: bytes) -> People:
    """The same of a file that was uploaded, of which nothing is kept. Raises ReadingError."""
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(content)
        file.flush()
        return from_file(kind, Path(file.name))

"""Typed settings of ``integrations.marzban``. Each is read when needed, so that tests can override it.

A property raises ImproperlyConfigured with a sentence when the value is of the wrong
form; ``checks`` turns each such sentence into a system check.
"""

import re
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from operations.outbound.url_policy import Policy, Refused, check_url
from traffic import conf as traffic_conf

_ADDRESS = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[\w.-]+):(?P<port>\d{1,5})", re.IGNORECASE | re.ASCII
)


class Address(NamedTuple):
    host: str
    port: int


def address(name: str, *, default: str) -> Address:
    """Where to listen: host, or address in brackets, and port."""
    value = getattr(settings, name, default)
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if not found or not 0 < int(found["port"]) < 65_536:
        raise ImproperlyConfigured(f"{name} takes an address like {default}, not {value!r}.")
    return Address(found["host"].strip("[]"), int(found["port"]))


def _is_panel(url: str) -> bool:
    """Whether paths can be added to it, and it may be dialled."""
    try:
        check_url(url, Policy(private=True))
    except Refused:
        return False
    return not {"?", "#"} & set(url)


class Settings(traffic_conf.Settings):
    """The settings of ``integrations.marzban``, one typed property each."""

    @property
    def node_listen(self) -> Address:
        """Where Marzban reaches the node over HTTPS."""
        return address("XPERT_MARZBAN_NODE_LISTEN", default="127.0.0.1:62060")

    @property
    def node_api(self) -> Address:
        """Where Marzban asks the node for traffic, over gRPC."""
        return address("XPERT_MARZBAN_NODE_API", default="127.0.0.1:62061")

    @property
    def marzban_url(self) -> str:
        """The panel whose admins sign in here, without a slash at its end; empty: the link that is marked so."""
        value = getattr(settings, "XPERT_MARZBAN_URL", "")
        if value and not (isinstance(value, str) and _is_panel(value)):
            raise ImproperlyConfigured(
                f"XPERT_MARZBAN_URL takes a URL like http://127.0.0.1:8000, not {value!r}."
            )
        return str(value).rstrip("/")

    @property
    def node_folder(self) -> Path:
        """Key and certificate of the node, and the marks by which a restored database is recognised."""
        return Path(getattr(settings, "XPERT_MARZBAN_FOLDER", "data/marzban"))


conf = Settings()

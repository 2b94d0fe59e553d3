"""One process at a time asks for updates: the others would take them away from it.

The holder renews its lease before every question. A lease ends by itself, and at once when its process on this machine is gone.
"""

import os
import secrets
import socket
from datetime import datetime, timedelta

from django.db.models import Q

from operations.databases.transactions import write_transaction

from .models import Bot

# Longer than the longest question.
_LASTS = timedelta(seconds=90)


class HeldError(Exception):
    """Another process has the lease. The text names it."""


class LostError(Exception):
    """The lease has ended, and another process may have it."""


def bot() -> Bot:
    return Bot.objects.get_or_create(pk=1)[0]


@write_transaction
def take(now: datetime) -> str:
    """Take the lease and return its holder's name; raises HeldError."""
    Bot.objects.get_or_create(pk=1)
    found = Bot.objects.select_for_update().get(pk=1)
    if found.holder and found.held_until and found.held_until > now and _may_live(found.holder):
        raise HeldError(found.holder.rpartition(":")[0])
    found.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
    found.held_until = now + _LASTS
    found.save(update_fields=["holder", "held_until"])
    return found.holder


@write_transaction
def renew(holder: str, now: datetime) -> None:
    """Raises LostError."""
    found = Bot.objects.filter(Q(holder=holder), pk=1)
    if not found.update(held_until=now + _LASTS):
        raise LostError


@write_transaction
def give_back(holder: str) -> None:
    Bot.objects.filter(pk=1, holder=holder).update(holder="", held_until=None)


def _may_live(holder: str) -> bool:
    """Whether the process may still run. Of other machines nothing is known."""
    host, pid, _ = holder.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    if int(pid) == os.getpid():
        return False  # a container that started again: the name is of an earlier life
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

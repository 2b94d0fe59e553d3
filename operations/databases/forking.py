"""A forked child never touches its parent's database connections.

Every module that holds state of a process (locks, connections, queues) uses the same idiom: it
registers how a child starts afresh with ``os.register_at_fork(after_in_child=…)``.
"""

import ctypes
import os

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def abandon(wrapper: BaseDatabaseWrapper) -> None:
    """Drop a connection without ever closing it, not even when this process ends.

    Closing would end the parent's session on PostgreSQL, and release the parent's locks and log on SQLite.
    """
    if wrapper.connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(wrapper.connection))
        wrapper.connection = None


def _abandon_connections() -> None:
    for wrapper in connections.all(initialized_only=True):
        abandon(wrapper)
        del connections[wrapper.alias]


os.register_at_fork(after_in_child=_abandon_connections)

"""Lets a server stop without dropping a connection: first no new one begins, then the last ones are accepted."""

import ctypes
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

# Linux only; Python has no name for it.
_SO_ATTACH_FILTER = 26
_SYN = 0x02
# A classic BPF program; the packet begins with the header of TCP, whose 14th byte holds the flags.
_WITHOUT_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags
        (0x45, 0, 1, _SYN),  # if SYN is set:
        (0x06, 0, 0, 0),  # drop the packet
        (0x06, 0, 0, 0xFFFFFFFF),  # otherwise take all of it
    )
)


def begin_no_more(listeners: Iterable[socket.socket]) -> None:
    """Drop requests for new connections; those that have begun are completed.

    A listener that is closed resets the connections that nobody has accepted yet, and one may arrive between the last
    look and the end. Whoever is dropped here asks again after a second, and is then refused or accepted properly.
    Where the system cannot do it nothing changes.
    """
    program = ctypes.create_string_buffer(_WITHOUT_SYN)
    found = struct.pack("HL", len(_WITHOUT_SYN) // 8, ctypes.addressof(program))
    for listener in listeners:
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, found)

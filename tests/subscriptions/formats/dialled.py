"""What a core really dials: a server on the loopback interface that records how it was contacted.

It parses enough TLS to read the offers of a client hello, accepts every handshake, and stores the first
data inside.
"""

import json
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from subscriptions import formats
from subscriptions.links import Node
from tests.ports import free_ports
from tests.subscriptions.formats.cores import MIHOMO, SING_BOX, V2RAY, without_utls
from tests.subscriptions.formats.running import fetch_once, running

_ECH, _SNI, _ALPN = 0xFE0D, 0, 16


@dataclass
class Dialled:
    """How one server was contacted. ``sent``: the first data, inside TLS if it is used."""

    tls: bool = False
    sni: str = ""
    alpn: list[str] = field(default_factory=list)
    ech: bool = False
    sent: bytes = b""

    @property
    def request(self) -> str:
        """The first line, if it is HTTP/1.1."""
        line = self.sent.partition(b"\r\n")[0].decode("latin-1")
        return line if line.endswith(" HTTP/1.1") else ""

    def header(self, name: str) -> str:
        found = re.search(rf"(?im)^{name}: (.*?)\r?$", self.sent.decode("latin-1"))
        return found[1] if found else ""


class Listener:
    """Listens on one port for each server. ``heard``: the first connection to each."""

    def __init__(self, count: int, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(count)
        self.heard: dict[int, Dialled] = {}
        self.certificate = _certificate(folder / "pair.pem")
        self._context = _context(folder / "pair.pem")
        self._sockets = [socket.create_server(("127.0.0.1", port)) for port in self.ports]
        for port, one in zip(self.ports, self._sockets, strict=True):
            threading.Thread(target=self._serve, args=(port, one), daemon=True).start()

    def close(self) -> None:
        for one in self._sockets:
            # Closing the socket does not wake a thread in accept().
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self, port: int, one: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = one.accept()
                connection.settimeout(1)
                with suppress(OSError, ssl.SSLError, ValueError, IndexError, struct.error):
                    self._hear(port, connection)
                connection.close()

    def _hear(self, port: int, connection: socket.socket) -> None:
        hello = _peeked(connection)
        dialled = _client_hello(hello) if hello[:1] == b"\x16" else Dialled()
        self.heard.setdefault(port, dialled)
        if not dialled.tls:
            _read(connection, dialled)
            return
        with self._context.wrap_socket(connection, server_side=True) as inside:
            _read(inside, dialled)


def _read(connection: socket.socket, dialled: Dialled) -> None:
    with suppress(TimeoutError):
        while len(dialled.sent) < 4096 and not _is_enough(dialled.sent):
            more = connection.recv(4096)
            if not more:
                break
            dialled.sent += more


def _is_enough(sent: bytes) -> bool:
    return b"\r\n\r\n" in sent and not sent.startswith(b"PRI ")


def _peeked(connection: socket.socket) -> bytes:
    """The first record, without consuming it."""
    found = _at_least(connection, 5)
    return (
        _at_least(connection, 5 + int.from_bytes(found[3:5], "big"))
        if found[:1] == b"\x16"
        else found
    )


def _at_least(connection: socket.socket, wanted: int) -> bytes:
    deadline = time.monotonic() + 3
    found = b""
    while len(found) < wanted and time.monotonic() < deadline:
        found = connection.recv(wanted, socket.MSG_PEEK)
        if not found or found[:1] != b"\x16":
            break
        time.sleep(0.01)
    return found


def _client_hello(record: bytes) -> Dialled:
    """The extensions for the server's name and the next protocol (RFC 8446, 4.1.2)."""
    found = Dialled(tls=True)
    at = 5 + 4 + 2 + 32
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at : at + 2], "big")
    at += 1 + record[at]
    end = at + 2 + int.from_bytes(record[at : at + 2], "big")
    at += 2
    while at < end:
        kind, length = struct.unpack_from(">HH", record, at)
        value = record[at + 4 : at + 4 + length]
        if kind == _SNI:
            found.sni = value[5:].decode()
        elif kind == _ALPN:
            found.alpn = list(_names(value[2:]))
        elif kind == _ECH:
            found.ech = True
        at += 4 + length
    return found


def _names(value: bytes) -> Iterator[str]:
    while value:
        yield value[1 : 1 + value[0]].decode()
        value = value[1 + value[0] :]


def _certificate(path: Path) -> bytes:
    """Write a new self-signed certificate for localhost and its key to the file; return the certificate in DER."""
    made = subprocess.run(
        [str(SING_BOX), "generate", "tls-keypair", "localhost"],
        capture_output=True,
        text=True,
        check=True,
    )
    path.write_text(made.stdout)
    found = re.search(r"-----BEGIN CERT.*END CERTIFICATE-----", made.stdout, re.DOTALL)
    assert found
    return ssl.PEM_cert_to_DER_cert(found[0])


def public_key(certificate: bytes) -> bytes:
    """The subject's public key with its algorithm, which key pins use (RFC 5280, 4.1)."""
    inside, _ = _der(_der(certificate)[0])
    # Version, serial number, algorithm, issuer, validity, subject.
    for _ in range(6):
        inside = inside[_der(inside)[1] :]
    return inside[: _der(inside)[1]]


def _der(value: bytes) -> tuple[bytes, int]:
    """The content of an element, and its total length."""
    length, head = value[1], 2
    if length & 128:
        head += length & 127
        length = int.from_bytes(value[2:head], "big")
    return value[head : head + length], head + length


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@contextmanager
def listening(count: int, folder: Path) -> Iterator[Listener]:
    listener = Listener(count, folder)
    try:
        yield listener
    finally:
        listener.close()


def by_mihomo(nodes: Sequence[Node], listener: Listener) -> None:
    """Send a request through each server in the configuration."""
    folder = listener.folder
    config = yaml.safe_load(formats.render("mihomo", nodes))
    names = [each["name"] for each in config["proxies"]]
    ports = free_ports(len(names))
    del config["mixed-port"]
    config["proxy-groups"] = []
    config["rules"] = ["MATCH,DIRECT"]
    config["listeners"] = [
        {"name": f"in {name}", "type": "mixed", "listen": "127.0.0.1", "port": port, "proxy": name}
        for name, port in zip(names, ports, strict=True)
    ]
    path = folder / "mihomo.yaml"
    path.write_text(json.dumps(config))
    _ask([str(MIHOMO), "-d", str(folder), "-f", str(path)], ports, listener)


def by_sing_box(nodes: Sequence[Node], listener: Listener) -> None:
    folder = listener.folder
    config: dict[str, Any] = without_utls(json.loads(formats.render("sing-box", nodes)))
    kinds = {"selector", "urltest", "direct"}
    names = [each["tag"] for each in config["outbounds"] if each["type"] not in kinds]
    ports = free_ports(len(names))
    config["outbounds"] = [each for each in config["outbounds"] if each["tag"] in names]
    config["inbounds"] = [
        {"type": "mixed", "tag": f"in {name}", "listen": "127.0.0.1", "listen_port": port}
        for name, port in zip(names, ports, strict=True)
    ]
    config["route"] = {"rules": [{"inbound": f"in {name}", "outbound": name} for name in names]}
    del config["dns"]
    path = folder / "sing-box.json"
    path.write_text(json.dumps(config))
    _ask([str(SING_BOX), "run", "-c", str(path)], ports, listener)


def by_v2ray(nodes: Sequence[Node], listener: Listener) -> None:
    """V2Ray of Debian 12, whose configuration Xray inherited, except for the newer host of a WebSocket."""
    configs = json.loads(formats.render("xray", nodes))
    for each in configs:
        settings = each["outbounds"][0]["streamSettings"]["wsSettings"]
        settings["headers"] = {"Host": settings.pop("host")}
    ports = free_ports(len(configs))
    tags = [str(port) for port in ports]
    merged = {
        "inbounds": [
            {"tag": tag, "listen": "127.0.0.1", "port": int(tag), "protocol": "http"}
            for tag in tags
        ],
        "outbounds": [
            each["outbounds"][0] | {"tag": f"to {tag}"}
            for each, tag in zip(configs, tags, strict=True)
        ],
        "routing": {
            "rules": [
                {"type": "field", "inboundTag": [tag], "outboundTag": f"to {tag}"} for tag in tags
            ]
        },
    }
    path = listener.folder / "v2ray.json"
    path.write_text(json.dumps(merged))
    _ask([str(V2RAY), "-config", str(path)], ports, listener)


def _ask(command: Sequence[str], ports: Sequence[int], listener: Listener) -> None:
    """Send requests until every server was contacted, because mihomo refuses requests for a moment after it starts."""
    with running(command, ports):
        deadline = time.monotonic() + 20
        while len(listener.heard) < len(ports) and time.monotonic() < deadline:
            threads = [threading.Thread(target=fetch_once, args=(port,)) for port in ports]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(0.05)

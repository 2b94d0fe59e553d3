"""OpenVPN: a server and clients in namespaces, real certificates, real traffic."""

from __future__ import annotations

import shlex
import socket
from functools import partial
from pathlib import Path

import pytest
from waiting import eventually

from xpert_agent.sources.base import Counter, Endpoint, SourceError
from xpert_agent.sources.openvpn_management import management
from xpert_agent.sources.tally import THIS_SERVER

from .fakes import Journal, MemoryStore, booked, opened
from .labs import Lab, Network, Origin, Process, exchange, needs, needs_namespaces, run

pytestmark = [needs("openvpn", "openssl"), needs_namespaces()]

UP, DOWN = 200_000, 700_000
ALICE = ("alice", THIS_SERVER)
SCRIPT = """\
#!/bin/sh
printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' "$time_unix" "$bytes_received" "$bytes_sent" \\
    "${{trusted_ip:-$trusted_ip6}}" "$trusted_port" "$username" "$common_name" >> {file}
"""


class Vpn:
    """A server with a status file of each version, a management socket and the script."""

    def __init__(self, lab: Lab, version: int = 3) -> None:
        self.lab = lab
        self.folder = lab.folder
        self.server_side, self.client_side = lab.network("ovs"), lab.network("ovc")
        lab.cable(self.server_side, "192.0.2.1/24", self.client_side, "192.0.2.2/24")
        self.fingerprints = {name: self._certify(name) for name in ("server", "alice", "bob")}
        self.status = self.folder / "status"
        self.management = self.folder / "management.sock"
        self.disconnects = self.folder / "disconnects"
        script = self.folder / "disconnect.sh"
        script.write_text(SCRIPT.format(file=shlex.quote(str(self.disconnects))))
        script.chmod(0o755)
        trusted = "\n".join(self.fingerprints[name] for name in ("alice", "bob"))
        (self.folder / "server.conf").write_text(
            "dev tun\nproto udp\nport 1194\nserver 10.99.0.0 255.255.255.0\ntopology subnet\n"
            "cert server.crt\nkey server.key\ndh none\nkeepalive 1 3\nduplicate-cn\n"
            f"<peer-fingerprint>\n{trusted}\n</peer-fingerprint>\n"
            f"status {self.status} 1\nstatus-version {version}\n"
            f"management {self.management} unix\nscript-security 2\n"
            f"client-disconnect {script}\n"
        )
        self.server = self.start_server()
        self.origin = self.server_side.inside(lambda: Origin("10.99.0.1"))

    def start_server(self) -> Process:
        process = self._start("server.conf", self.server_side)
        eventually(lambda: "Initialization Sequence Completed" in process.output)
        return process

    def connect(self, name: str) -> Client:
        return Client(self, name)

    def end_sessions(self, name: str) -> None:
        """The admin ends this person's sessions, and the script is called."""
        before = self.told()
        with socket.socket(socket.AF_UNIX) as management:
            management.connect(str(self.management))
            management.settimeout(5)
            management.sendall(f"kill {name}\n".encode())
            eventually(lambda: self.told() > before)

    def told(self) -> int:
        """How often the script was called."""
        return self.disconnects.read_text().count("\n") if self.disconnects.exists() else 0

    def sessions(self) -> int:
        text = self.status.read_text() if self.status.exists() else ""
        return sum(line.startswith(("CLIENT_LIST", "alice,", "bob,")) for line in text.splitlines())

    def _start(self, config: str, network: Network) -> Process:
        return self.lab.start("openvpn", "--config", config, network=network)

    def _certify(self, name: str) -> str:
        run(
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-keyout", f"{self.folder}/{name}.key", "-out", f"{self.folder}/{name}.crt"),
        )
        printed = run(
            "openssl",
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            f"{self.folder}/{name}.crt",
        )
        return printed.partition("=")[2].strip()


class Client:
    def __init__(self, vpn: Vpn, name: str) -> None:
        self.vpn = vpn
        number = len(list(vpn.folder.glob("client-*.conf")))
        config = vpn.folder / f"client-{number}.conf"
        self.management = vpn.folder / f"client-{number}.sock"
        self.status = vpn.folder / f"client-{number}.status"
        self.tun = f"tun{10 + number}"
        config.write_text(
            f"client\ndev {self.tun}\nproto udp\nremote 192.0.2.1 1194\nnobind\n"
            f"cert {name}.crt\nkey {name}.key\nexplicit-exit-notify 1\n"
            f"peer-fingerprint {vpn.fingerprints['server']}\n"
            f"management {self.management} unix\nstatus {self.status} 1\n"
        )
        self.process = vpn._start(config.name, vpn.client_side)
        eventually(lambda: "Initialization Sequence Completed" in self.process.output)

    def carry(self, up: int = UP, down: int = DOWN) -> None:
        """Through this client's own tunnel."""

        def work() -> None:
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.tun.encode())
                connection.settimeout(20)
                connection.connect(("10.99.0.1", self.vpn.origin.port))
                exchange(connection, up, down)

        self.vpn.client_side.inside(work)

    def counts(self) -> Counter:
        """All bytes of the process, as OpenVPN itself tells them."""
        with management(str(self.management), "") as talking:
            told = talking.bytes_of_client()
        assert told is not None
        return told

    def leave(self) -> None:
        """Ends with a word to the server, as a person's client does."""
        before = (
            self.vpn.disconnects.read_text().count("\n") if self.vpn.disconnects.exists() else 0
        )
        self.process.stop()
        eventually(
            lambda: (
                self.vpn.disconnects.exists()
                and self.vpn.disconnects.read_text().count("\n") == before + 1
            )
        )


@pytest.fixture
def vpn(lab: Lab) -> Vpn:
    return Vpn(lab)


def script_says(vpn: Vpn, name: str = "alice") -> tuple[int, int]:
    """Bytes received and sent of this person's ended sessions, as OpenVPN told the script."""
    rows = [line.split("\t") for line in vpn.disconnects.read_text().splitlines()]
    own = [row for row in rows if row[6] == name]
    return sum(int(row[1]) for row in own), sum(int(row[2]) for row in own)


def _is_newer(path: Path, written: int) -> bool:
    return path.stat().st_mtime_ns > written


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_session_is_counted_from_its_first_to_its_last_byte(lab: Lab, version: int) -> None:
    vpn, journal = Vpn(lab, version), Journal()
    eventually(vpn.status.exists)
    source = opened("openvpn", status=str(vpn.status), disconnects=str(vpn.disconnects))
    journal.read(source)
    client = vpn.connect("alice")
    client.carry()
    eventually(lambda: journal.read(source).get(ALICE, (0, 0))[1] > DOWN)
    client.carry(up=10, down=50_000)
    vpn.end_sessions("alice")
    up, down = journal.read(source)[ALICE]
    assert (up, down) == script_says(vpn)
    assert (up > UP, down > DOWN + 50_000) == (True, True)
    eventually(lambda: vpn.sessions() == 0)
    assert journal.read(source) == {ALICE: (up, down)}


def test_two_people_and_two_sessions_of_one_are_told_apart_and_summed(vpn: Vpn) -> None:
    journal = Journal()
    eventually(vpn.status.exists)
    source = opened("openvpn", status=str(vpn.status), disconnects=str(vpn.disconnects))
    journal.read(source)
    clients = [vpn.connect(name) for name in ("alice", "alice", "bob")]
    for client in clients:
        client.carry()
    eventually(lambda: len(journal.read(source)) == 2 and vpn.sessions() == 3)
    for client in clients:
        client.leave()
    eventually(lambda: vpn.told() == 3)
    sums = journal.read(source)
    assert sums == {
        ALICE: script_says(vpn, "alice"),
        ("bob", THIS_SERVER): script_says(vpn, "bob"),
    }
    assert sums[ALICE][1] > 2 * DOWN


def test_without_the_script_a_new_session_is_added_to_the_old_one(vpn: Vpn) -> None:
    journal = Journal()
    eventually(vpn.status.exists)
    source = opened("openvpn", status=str(vpn.status))
    journal.read(source)
    for _ in range(2):
        client = vpn.connect("alice")
        client.carry()
        eventually(partial(_is_newer, vpn.status, vpn.status.stat().st_mtime_ns))
        journal.read(source)
        client.process.kill()
        vpn.end_sessions("alice")
        eventually(lambda: vpn.sessions() == 0)
    assert 2 * DOWN < journal.read(source)[ALICE][1] <= script_says(vpn)[1]


def test_management_tells_the_same_and_is_left_for_others(vpn: Vpn) -> None:
    journal = Journal()
    source = opened("openvpn", management=str(vpn.management), disconnects=str(vpn.disconnects))
    journal.read(source)
    client = vpn.connect("alice")
    client.carry()
    client.process.kill()
    vpn.end_sessions("alice")
    assert journal.read(source)[ALICE] == script_says(vpn)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(vpn.management))
        other.settimeout(5)
        assert other.recv(100).startswith(b">INFO:")
        with pytest.raises(SourceError, match="another program may be connected"):
            source.read()
    journal.read(source)


def test_a_client_tells_its_tunnel_and_where_it_goes_over_reconnects(vpn: Vpn) -> None:
    journal = Journal()
    client = vpn.connect("alice")
    source = opened("openvpn", management=str(client.management))
    journal.read(source)
    at_first = client.counts()
    client.carry()
    reading = source.read()
    where = ("", "192.0.2.1:1194")
    up, down = journal.take(reading)[where]
    assert reading.endpoints == {"192.0.2.1:1194": Endpoint("192.0.2.1", 1194, "openvpn")}
    assert UP < up <= client.counts().up
    assert DOWN < down <= client.counts().down
    connected = client.process.output.count("Initialization Sequence Completed")
    run("kill", "-USR1", str(client.process.pid))
    eventually(lambda: client.process.output.count("Initialization Sequence Completed") > connected)
    client.carry()
    down = journal.read(source)[where][1]
    assert 2 * DOWN < down <= client.counts().down
    assert down >= client.counts().down - at_first.down - 1000, "keepalives and no more are missing"


def test_a_clients_status_file_is_enough(vpn: Vpn) -> None:
    client = vpn.connect("alice")
    eventually(client.status.exists)
    source = opened("openvpn", status=str(client.status), remote="vpn.example.com:1194")
    client.carry()
    where = ("", "vpn.example.com:1194")
    eventually(lambda: booked(source.read()).get(where, (0, 0))[1] > DOWN)


def test_a_server_that_ends_has_told_the_script_and_nothing_is_lost_or_doubled(
    vpn: Vpn, store: MemoryStore
) -> None:
    journal = Journal()
    options = {"management": str(vpn.management), "disconnects": str(vpn.disconnects)}
    journal.read(opened("openvpn", store, **options))
    client = vpn.connect("alice")
    client.carry()
    journal.read(opened("openvpn", store, **options))
    client.carry(up=10, down=60_000)
    vpn.server.stop()
    for _ in range(2):
        with pytest.raises(SourceError, match="cannot be reached"):
            opened("openvpn", store, **options).read()
    client.process.stop()
    vpn.management.unlink(missing_ok=True)
    vpn.start_server()
    assert journal.read(opened("openvpn", store, **options))[ALICE] == script_says(vpn)

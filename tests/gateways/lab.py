"""A gateway as it is run: panel, agent, sing-box before and behind it, all of them processes on loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.gateways.origin import Origin
from tests.ports import free_ports
from tests.subscriptions.formats.cores import SING_BOX
from tests.test_scripts import environment

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 180.0
PEOPLE = ("ann", "bob", "cat")
CORES = {"sing-box": SING_BOX, "xray": shutil.which("v2ray")}
SERVERS = ("shadowsocks", "trojan", "vless", "vmess", "hysteria2", "tuic")
_UDP = ("hysteria2", "tuic")
_UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"
_PASSWORD = "outer-secret"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> float:
    """The seconds that it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds
        time.sleep(0.1)
    return time.monotonic() - begun


class Process:
    """One program in a session of its own; its output goes to a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, **more: Any) -> None:
        self._command, self.log, self._more = command, log, more
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._more,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """It, and its children that stayed in its session's group."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        if not self.is_running():
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()


class Panel:
    """gunicorn on a database of its own. ``keys``: by the gateway's name."""

    def __init__(self, folder: Path, port: int, database: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.keys: dict[str, str] = {}
        self._environment = environment(
            **{"XPERT_RATE_REPORTS": "", "XPERT_ENV_FILE": os.devnull, **database},
            PORT=port,
            WEB_CONCURRENCY=2,
            SECRET_KEY="only-for-tests-" + "0123456789abcdef" * 4,
            XPERT_OPEN_ACCESS=False,
            XPERT_RATE_ADDRESS="",
            XPERT_MAX_GB_PER_HOUR=0,
            DJANGO_SETTINGS_MODULE="xpert_panel.settings",
        )
        self.manage("migrate", "-v0")
        self.manager = self.manage("create_api_key", "lab", "--scope", "manage").split()[-1]
        self.process = Process(
            [sys.executable, "-m", "gunicorn", "-c", "python:xpert_panel.server"],
            folder / "panel.log",
            cwd=REPOSITORY,
            env=self._environment,
        )
        self.wait()

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait(self) -> None:
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=PATIENCE).ok
        except requests.RequestException:
            return False

    def create_gateway(self, name: str, *arguments: str) -> str:
        """Its key."""
        told = self.manage("create_gateway", name, "--host", "127.0.0.1", *arguments)
        self.keys[name] = told.split()[-1]
        return self.keys[name]

    def ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.manager}"}
        answer = requests.request(
            method, f"{self.url}/api/xpert/{path}", headers=headers, timeout=PATIENCE, **more
        )
        assert answer.ok, answer.text
        return answer.json()

    def used(self, token: str) -> dict[str, tuple[int, int]]:
        """Bytes counted, by the server's protocol."""
        script = (
            "from traffic.models import Usage\n"
            f"for row in Usage.objects.filter(subscriber__token={token!r})"
            ".values_list('server__protocol', 'upload', 'download'): print('row', *row)"
        )
        found: dict[str, tuple[int, int]] = {}
        for line in self.manage("shell", "-v0", "-c", script).splitlines():
            _, protocol, up, down = line.split()
            before = found.get(protocol, (0, 0))
            found[protocol] = before[0] + int(up), before[1] + int(down)
        return found


class Lab:
    """``apps``: the SOCKS port of each person's app, by person and server."""

    def __init__(
        self,
        folder: Path,
        database: Mapping[str, str],
        *protocols: str,
        engine: str = "sing-box",
        servers: Sequence[str] = SERVERS,
        people: Sequence[str] = PEOPLE,
    ) -> None:
        """``protocols``: of the gateway, each at a port of its own. ``servers``: those that its engine reaches."""
        self.folder, self.engine, self._servers, self._people = folder, engine, servers, people
        self._ports = iter(free_ports(200))
        self.origin = Origin(self.port())
        self.apps: dict[tuple[str, str], int] = {}
        self._processes: list[Process] = []
        self._certificate = self._made_certificate()
        outer = {name: self.port() for name in SERVERS}
        self._run_sing_box("outer", self._outer(outer))
        self.panel = Panel(folder, self.port(), database)
        self.panel.ask("POST", "direct-configs", json={"configs": _links(outer, servers)})
        for person in people:
            self.panel.manage("create_subscriber", person, "--token", person)
        self._ways = len(protocols)
        ways = [f"{protocol}:{self._first_port()}" for protocol in protocols]
        self.panel.create_gateway("gw", "--engine", engine, "--protocol", *ways)

    def port(self) -> int:
        return next(self._ports)

    def _first_port(self) -> int:
        """With as many free ports behind it as there are servers."""
        while True:
            first = self.port()
            if not any(listens(first + more) for more in range(len(self._servers))):
                return first

    def close(self) -> None:
        for process in reversed(self._processes):
            process.stop()
        self.panel.process.stop()
        self.origin.close()

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start_agent(self, *arguments: str) -> Process:
        key = self.folder / "key"
        key.touch(mode=0o600)
        key.write_text(self.panel.keys["gw"])
        command = [sys.executable, "-m", "xpert_agent", "gateway", "--panel", self.panel.url]
        command += ["--key-file", str(key), f"--{self.engine}", str(CORES[self.engine])]
        command += ["--state", str(self.state), *arguments]
        agent = Process(command, self.folder / "agent.log", cwd=REPOSITORY / "agent")
        self._processes.append(agent)
        eventually((self.state / f"{self.engine}.pid").exists)
        return agent

    def start_apps(self, *tokens: str) -> None:
        """One core for the apps of everybody, or of those with new ``tokens``, as their lists say.

        A SOCKS port leads to each entry.
        """
        people = tokens or self._people
        # Lists pin what the gateway has made, as soon as it has told.
        eventually(lambda: len(self._entries(people[0])) == len(self._servers) * self._ways)
        inbounds, outbounds, rules = [], [], []
        for person in people:
            for entry in self._entries(person):
                name = f"{person}/{entry['tag']}"
                server = entry["tag"].partition(" ")[0]
                port = self.apps[person, entry["tag"]] = self.port()
                assert server in SERVERS, entry
                inbounds.append({"type": "socks", "tag": name, "listen": "127.0.0.1", "listen_port": port})  # fmt: skip
                outbounds.append({**entry, "tag": name})
                rules.append({"inbound": [name], "action": "route", "outbound": name})
        self._run_sing_box(
            f"apps-of-{people[0]}",
            {"inbounds": inbounds, "outbounds": outbounds, "route": {"rules": rules}},
        )

    def _entries(self, person: str) -> list[dict[str, Any]]:
        url = f"{self.panel.url}/api/xpert/sub"
        query = {"user_token": person, "format": "sing-box"}
        listed = requests.get(url, query, timeout=PATIENCE).json()
        return [one for one in listed["outbounds"] if "server_port" in one]

    def _run_sing_box(self, name: str, config: dict[str, Any]) -> None:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"log": {"level": "error"}, **config}))
        log = self.folder / f"{name}.log"
        core = Process([str(SING_BOX), "run", "-c", path], log)
        self._processes.append(core)
        ports = [one["listen_port"] for one in config["inbounds"] if one["type"] not in _UDP]
        eventually(lambda: not core.is_running() or all(map(listens, ports)))
        assert core.is_running(), log.read_text()

    def _made_certificate(self) -> tuple[str, str]:
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]  # fmt: skip
        command += ["-nodes", "-days", "30", "-subj", "/CN=vpn.example.com"]
        command += ["-addext", "subjectAltName=DNS:vpn.example.com"]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)  # fmt: skip
        return str(certificate), str(key)

    def _outer(self, ports: Mapping[str, int]) -> dict[str, Any]:
        certificate, key = self._certificate
        tls = {"enabled": True, "certificate_path": certificate, "key_path": key}
        password, uuid = {"password": _PASSWORD}, {"uuid": _UUID}
        details: dict[str, dict[str, Any]] = {
            "shadowsocks": {"method": "aes-128-gcm", **password},
            "trojan": {"users": [password], "tls": tls},
            "vless": {"users": [uuid], "tls": tls},
            "vmess": {"users": [uuid]},
            "hysteria2": {"users": [password], "tls": tls},
            "tuic": {"users": [uuid | password], "tls": tls | {"alpn": ["h3"]}},
        }
        bound = {"listen": "127.0.0.1"}
        inbounds = [
            {"type": name, "tag": name, "listen_port": ports[name], **bound, **details[name]}
            for name in SERVERS
        ]
        return {"inbounds": inbounds, "outbounds": [{"type": "direct"}]}


def _links(ports: Mapping[str, int], names: Sequence[str]) -> list[str]:
    def place(name: str) -> str:
        return f"127.0.0.1:{ports[name]}"

    vmess = {"v": "2", "ps": "vmess", "add": "127.0.0.1", "port": ports["vmess"], "id": _UUID, "aid": 0, "net": "tcp"}  # fmt: skip
    secret = b64encode(f"aes-128-gcm:{_PASSWORD}".encode()).decode()
    tls = "security=tls&sni=vpn.example.com&allowInsecure=1"
    found = {
        "shadowsocks": f"ss://{secret}@{place('shadowsocks')}#shadowsocks",
        "trojan": f"trojan://{_PASSWORD}@{place('trojan')}?{tls}#trojan",
        "vless": f"vless://{_UUID}@{place('vless')}?encryption=none&{tls}#vless",
        "vmess": f"vmess://{b64encode(json.dumps(vmess).encode()).decode()}",
        "hysteria2": f"hysteria2://{_PASSWORD}@{place('hysteria2')}?sni=vpn.example.com&insecure=1#hysteria2",
        "tuic": f"tuic://{_UUID}:{_PASSWORD}@{place('tuic')}?sni=vpn.example.com&alpn=h3&allow_insecure=1#tuic",
    }
    return [found[name] for name in names]

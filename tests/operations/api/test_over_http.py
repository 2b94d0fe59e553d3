"""Requests that need real HTTP: a real server process, and requests written byte by byte."""

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.ports import free_port
from tests.traffic.examples import wire

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 240  # seconds after which a server that hangs fails the test
MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])


class Panel:
    """The project under gunicorn, in open access on a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environment = kept | {
            "DJANGO_SETTINGS_MODULE": "xpert_panel.settings",
            "XPERT_ENV_FILE": os.devnull,
            "SECRET_KEY": "only-for-tests-" + "0123456789abcdef" * 4,
            "XPERT_TRAFFIC_DB_PATH": str(folder / "panel.db"),
            "XPERT_OPEN_ACCESS": "True",
            "XPERT_RATE_REPORTS": "",
            "XPERT_RATE_ADDRESS": "",
            "PORT": str(self.port),
        }
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v0"],
            cwd=REPOSITORY,
            env=environment,
            check=True,
            timeout=PATIENCE,
        )
        self.log = folder / "panel.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "python:xpert_panel.server"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                assert requests.get(f"{self.url}/healthz", timeout=PATIENCE).json() == {
                    "status": "ok"
                }
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        pytest.fail(f"no answer in {PATIENCE} seconds: {self.log.read_text()}")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def connections_of(self, token: str) -> int:
        servers = requests.get(
            f"{self.url}/api/xpert/traffic-stats/{token}", timeout=PATIENCE
        ).json()["servers"]
        return sum(server["connections"] for server in servers)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    panel = Panel(tmp_path_factory.mktemp("panel"))
    try:
        panel.wait()
        yield panel
    finally:
        panel.process.send_signal(signal.SIGTERM)
        panel.process.wait(PATIENCE)
    assert "Traceback" not in panel.log.read_text()


def answer(connection: socket.socket, method: str = "POST") -> Answer:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Answer(response.status, response.headers, response.read())


def head(line: str = "POST /api/xpert/traffic-webhook HTTP/1.1", **headers: str) -> bytes:
    """The head of one request. ``_`` in a header's name stands for ``-``."""
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return "\r\n".join(
        [line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    ).encode("latin-1")


def sent(panel: Panel, *parts: bytes, close: bool = False) -> Answer:
    with panel.connect() as connection:
        for part in parts:
            connection.sendall(part)
        if close:
            with suppress(OSError):  # the server may have responded and closed already
                connection.shutdown(socket.SHUT_WR)
        return answer(connection)


def report(token: str) -> bytes:
    return json.dumps(wire(user_token=token)).encode()


def post(panel: Panel, body: bytes, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(
        f"{panel.url}/api/xpert/traffic-webhook", body, headers=JSON | named, timeout=PATIENCE
    )


def test_the_client_of_the_guide(panel: Panel) -> None:
    response = requests.post(
        f"{panel.url}/api/xpert/traffic-webhook", json=wire(user_token="guide"), timeout=PATIENCE
    )
    assert response.json() == {"status": "success", "message": "Traffic recorded successfully"}
    found = requests.get(
        f"{panel.url}/api/xpert/traffic-stats/guide?days=30", timeout=PATIENCE
    ).json()
    assert (found["total_gb_used"], found["period_days"]) == (0.003, 30)
    assert (
        requests.get(f"{panel.url}/api/xpert/traffic-stats/global", timeout=PATIENCE).status_code
        == 200
    )


# --- lengths -----------------------------------------------------------------


def test_a_chunked_body_wants_a_length(panel: Panel) -> None:
    body = report("chunked")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    found = sent(panel, head(Transfer_Encoding="chunked"), chunks)
    assert (found.status, found.detail) == (411, "Send the body with a Content-Length.")
    assert panel.connections_of("chunked") == 0


@pytest.mark.parametrize("length", ["abc", "-1", "+5", "1.5", "0x10", "5, 6", "٥"])
def test_a_length_that_is_no_number_is_400(panel: Panel, length: str) -> None:
    line = head(Content_Length="@").replace(b"@", length.encode())
    assert sent(panel, line, b"{}").status == 400


def test_a_chunked_body_with_a_length_is_an_attempt_to_smuggle(panel: Panel) -> None:
    assert sent(
        panel, head(Transfer_Encoding="chunked", Content_Length="5"), b"0\r\n\r\n"
    ).status in {400, 411}


def test_two_lengths_are_400(panel: Panel) -> None:
    doubled = head(Content_Length="2").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n")
    assert sent(panel, doubled, b"{} ").status == 400


def test_a_body_that_ends_early_is_400_and_not_counted(panel: Panel) -> None:
    body = report("early")
    found = sent(panel, head(Content_Length=str(len(body) + 10)), body, close=True)
    assert (found.status, found.detail) == (400, "The body ended early.")
    assert panel.connections_of("early") == 0


def test_a_body_longer_than_it_says_is_cut(panel: Panel) -> None:
    body = report("cut")
    assert (
        sent(
            panel, head(Content_Length=str(len(body)), Connection="close"), body + b"garbage"
        ).status
        == 200
    )
    assert panel.connections_of("cut") == 1


def test_no_body_is_400(panel: Panel) -> None:
    assert sent(panel, head(Content_Length="0")).status == 400
    assert sent(panel, head()).status == 400


def test_a_client_that_waits_to_be_told_may_go_on(panel: Panel) -> None:
    body = report("continue")
    with panel.connect() as connection:
        connection.sendall(head(Content_Length=str(len(body)), Expect="100-continue"))
        told = http.client.HTTPResponse(connection)
        connection.sendall(body)
        told.begin()  # skips the 100
        assert told.status == 200


@pytest.mark.parametrize("size", [4 * MIB + 1, 12 * MIB])
def test_a_body_too_large_is_413_and_the_connection_lives_on(panel: Panel, size: int) -> None:
    assert post(panel, b" " * size).status_code == 413
    with panel.connect() as connection:
        connection.sendall(head(Content_Length=str(size)))
        connection.sendall(b" " * size)
        assert answer(connection).status == 413
        body = report("after")
        connection.sendall(head(Content_Length=str(len(body))) + body)
        assert answer(connection).status == 200


def test_a_form_too_large_is_answered_with_a_page(panel: Panel) -> None:
    cookies = {
        "csrftoken": "0123456789abcdef" * 2
    }  # as a browser sends it; without it the form is not checked
    answer = requests.post(
        f"{panel.url}/admin/login/", {"username": "x" * 12 * MIB}, cookies=cookies, timeout=PATIENCE
    )
    assert answer.status_code == 413
    assert "A form accepts at most 2.5 MB." in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"Content_Type": "text/plain"}, {"Authorization": "Bearer wrong"}, {"Content_Encoding": "br"}],
)
def test_the_body_of_a_refused_request_is_not_the_next_request(
    panel: Panel, headers: dict[str, str]
) -> None:
    hidden = head("POST /api/xpert/traffic-stats/cleanup?days=0 HTTP/1.1", Content_Length="0")
    with panel.connect() as connection:
        connection.sendall(head(**headers, Content_Length=str(len(hidden))) + hidden)
        assert answer(connection).status in {401, 415}
        connection.sendall(head("GET /healthz HTTP/1.1"))
        assert json.loads(answer(connection).body) == {"status": "ok"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"X-Api-Key": "wrong"}, 401),
        ({"Content-Encoding": "br"}, 415),
    ],
)
def test_a_client_refused_in_the_middle_of_a_large_body_gets_the_reason(
    panel: Panel, headers: dict[str, str], status: int
) -> None:
    for path in ("traffic-webhook", "traffic-stats/cleanup"):
        response = requests.post(
            f"{panel.url}/api/xpert/{path}",
            b" " * 3 * MIB,
            headers=JSON | headers,
            timeout=PATIENCE,
        )
        assert response.status_code in {status, 413}
    chunks = iter([b" " * MIB] * 3)
    assert (
        requests.post(
            f"{panel.url}/api/xpert/traffic-webhook", chunks, headers=JSON, timeout=PATIENCE
        ).status_code
        == 411
    )


def test_two_requests_sent_at_once_are_both_answered(panel: Panel) -> None:
    body = report("pipelined")
    one = head(Content_Length=str(len(body))) + body
    with panel.connect() as connection:
        connection.sendall(one + one)
        reader = connection.makefile("rb")
        answers = reader.read(1) + connection.recv(0)
        while answers.count(b"HTTP/1.1 200") < 2:
            answers += reader.read1(4096)
    assert panel.connections_of("pipelined") == 2


# --- gzip --------------------------------------------------------------------


def test_a_packed_body_is_unpacked(panel: Panel) -> None:
    assert post(panel, gzip.compress(report("packed")), Content_Encoding="gzip").status_code == 200
    two_members = gzip.compress(report("packed")[:9]) + gzip.compress(report("packed")[9:])
    assert post(panel, two_members, Content_Encoding="gzip").status_code == 200
    assert panel.connections_of("packed") == 2


def test_a_packed_body_may_hold_4_mib_and_not_more(panel: Panel) -> None:
    body = report("mib")
    assert (
        post(panel, gzip.compress(body.ljust(4 * MIB)), Content_Encoding="gzip").status_code == 200
    )
    assert (
        post(panel, gzip.compress(body.ljust(4 * MIB + 1)), Content_Encoding="gzip").status_code
        == 413
    )
    assert panel.connections_of("mib") == 1


def test_a_bomb_is_413(panel: Panel) -> None:
    assert (
        post(
            panel, gzip.compress(b"[" + b" " * (200 * MIB) + b"]", 1), Content_Encoding="gzip"
        ).status_code
        == 413
    )


def test_a_torn_or_false_packing_is_400(panel: Panel) -> None:
    for body in (gzip.compress(report("torn"))[:-4], report("torn"), b"\x1f\x8b" + b"x" * 50):
        assert post(panel, body, Content_Encoding="gzip").status_code == 400
    assert panel.connections_of("torn") == 0


# --- odd requests ------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/api/xpert/traffic-stats/%00", "/api/xpert/traffic-stats/%FF%FE", "/api/xpert/traffic-stats/a%2Fb",
        "/api/xpert/traffic-stats/%0d%0aX: 1", "/api/xpert/traffic-stats/" + "a" * 3000, "/api/xpert/traffic-stats/%C3%A9",
        "/api/xpert/traffic-stats/a?days=30&days=", "/api/xpert/traffic-stats/a?days=%00", "/api/xpert/traffic-stats/%",
        "/api/xpert/traffic-stats/a?%FF=%FF", "/api/xpert/traffic-stats/..%2f..%2fetc", "//api/xpert", "/%2e%2e/", "/?" + "a&" * 1000,
        "/api/xpert/traffic-stats/server/%00/443", "/api/xpert/traffic-stats/server/a.example/%FF", "/metrics?a=%00",
        "/api/xpert/traffic-stats/a/series?tz=%00", "/api/xpert/traffic-stats/a/series?tz=../../etc/passwd", "/admin/%FF",
    ],
)  # fmt: skip
def test_no_url_breaks_it(panel: Panel, target: str) -> None:
    found = sent(panel, head(f"GET {target.replace(' ', '%20')} HTTP/1.1"))
    assert found.status < 500
    assert b"Traceback" not in found.body


@pytest.mark.parametrize(
    "request_head",
    [
        head(Host="evil.example"),
        head(Host=""),
        head(Host="127.0.0.1:99999"),
        head("POST /api/xpert/traffic-webhook HTTP/9.9"),
        head("FOO /api/xpert/traffic-webhook HTTP/1.1"),
        head("GET nonsense HTTP/1.1"),
        head("GET /" + "a" * 9000 + " HTTP/1.1"),
        head(X_Long="a" * 70_000),
        head(X_Api_Key="k\xe9y"),
        head(Authorization="Bearer \xff\xfe"),
        head(Idempotency_Key="\xff", Content_Length="0"),
        head(Cookie="sessionid=\xff; csrftoken=\xff"),
        head(Accept="\xff", Content_Encoding="\xff", Content_Length="0"),
        head(Content_Type="\xff/\xff; charset=\xff", Content_Length="2") + b"{}",
        head(Content_Type="multipart/form-data", Content_Length="2") + b"{}",
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_no_head_breaks_it(panel: Panel, request_head: bytes) -> None:
    found = sent(panel, request_head, close=True)
    assert found.status < 500
    assert b"Traceback" not in found.body
    assert requests.get(f"{panel.url}/healthz", timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("GET /api/xpert/traffic-stats/a-secret-token\xff HTTP/1.1"), 400),
        (head("GET /api/xpert/sub?user_token=a-secret-token x HTTP/1.1"), 400),
        (head("GET / HTTP/a-secret-token"), 400),
        (head("a-secret-token / HTTP/1.1"), 400),
        (b"GET / HTTP/1.1\r\nX-Api-Key a-secret-token\r\n\r\n", 400),
        (head("GET /a-secret-token" + "a" * 9000 + " HTTP/1.1"), 414),
        (head(X_Api_Key="a-secret-token" * 700), 431),
        (head(Expect="a-secret-token"), 417),
        (head(Transfer_Encoding="a-secret-token"), 501),
    ],
)
def test_input_that_is_not_http_is_refused_in_json_and_not_quoted(
    panel: Panel, request_head: bytes, status: int
) -> None:
    found = sent(panel, request_head)
    assert found.status == status
    assert found.headers["Content-Type"] == "application/json"
    assert found.detail
    assert b"secret" not in found.body
    assert "secret" not in panel.log.read_text()


def test_a_wrong_host_is_refused_in_json(panel: Panel) -> None:
    found = sent(panel, head("GET /api/xpert/traffic-stats/a HTTP/1.1", Host="evil.example"))
    assert found.status == 400
    assert found.detail


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"X_Forwarded_For": "127.0.0.1"}, 401),
        ({"Forwarded": "for=127.0.0.1"}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Sec_Fetch_Site": "cross-site"}, 401),
    ],
)
def test_open_access_is_for_this_machine_alone(
    panel: Panel, headers: dict[str, str], status: int
) -> None:
    assert (
        sent(panel, head("GET /api/xpert/traffic-stats/global HTTP/1.1", **headers)).status
        == status
    )


def test_an_old_client_that_names_no_host_gets_no_open_access(panel: Panel) -> None:
    assert sent(panel, b"GET /api/xpert/traffic-stats/global HTTP/1.0\r\n\r\n").status == 401
    assert sent(panel, b"GET /api/xpert/traffic-stats/somebody HTTP/1.0\r\n\r\n").status == 200

"""``pull_usage`` under kill -9 at random moments of its work: in the end booked = told, to the byte."""

import json
import random
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.commands import Here
from tests.test_crash import PATIENCE, REPOSITORY, database  # noqa: F401  a fixture

pytestmark = pytest.mark.slow
KILLS = 8
PEOPLE = [f"person{number}" for number in range(40)]
SETUP = """
from integrations.pulls.models import Panel
from operations.sealing import seal
from traffic.models import Subscriber
Subscriber.objects.bulk_create(Subscriber(name=name) for name in {people})
Panel.objects.create(name="There", kind="marzban", access="login", url="{url}", username="admin",
                     sealed_secret=seal("s3cr3t"), allow_private=True)
"""
# What a killed process had claimed is otherwise free after ten minutes.
FREE = "from integrations.pulls.models import Panel; Panel.objects.update(claimed_until=None)"
BOOKED = """
import json
from traffic.models import Balance
rows = Balance.objects.exclude(life_download=0).values_list("subscriber__name", "life_download")
print(json.dumps(dict(rows)))
"""


class There(ThreadingHTTPServer):
    """A Marzban of which lifetime totals are all that matters. ``listed``: set whenever the list was asked for."""

    def __init__(self) -> None:
        self.totals = dict.fromkeys(PEOPLE, 10**12)
        self.listed = threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def users(self) -> dict[str, Any]:
        return {
            "users": [
                {"username": name, "lifetime_used_traffic": total}
                for name, total in self.totals.items()
            ]
        }


class _Answer(BaseHTTPRequestHandler):
    server: There

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"access_token": "t0k3n"})

    def do_GET(self) -> None:
        self._answer(self.server.users())
        self.server.listed.set()

    def _answer(self, found: dict[str, Any]) -> None:
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def there() -> Iterator[There]:
    found = There()
    yield found
    found.shutdown()
    found.server_close()


def test_nothing_is_lost_or_doubled_whenever_it_is_killed(
    database: dict[str, str],  # noqa: F811
    there: There,
) -> None:
    here, draw = Here(database), random.Random(7)
    here.run("migrate", "-v0")
    url = f"http://127.0.0.1:{there.server_port}"
    here.run("shell", "-v0", "-c", SETUP.format(people=PEOPLE, url=url))
    here.run("pull_usage")
    expected = dict.fromkeys(PEOPLE, 0)
    cut_off = 0
    for _ in range(KILLS):
        for name in draw.sample(PEOPLE, 25):
            grown = draw.randrange(1, 10**6)
            there.totals[name] += grown
            expected[name] += grown
        cut_off += _killed(here, there, draw)
        here.run("shell", "-v0", "-c", FREE)
    here.run("pull_usage")
    assert json.loads(here.run("shell", "-v0", "-c", BOOKED)) == expected
    assert "All sums agree" in here.run("check_traffic")
    assert cut_off >= KILLS // 4


def _killed(here: Here, there: There, draw: random.Random) -> bool:
    """Kill it some milliseconds after it got the list: before, while or after it books."""
    there.listed.clear()
    process = here.begin("pull_usage")
    try:
        assert there.listed.wait(PATIENCE)
        process.communicate(timeout=draw.uniform(0, 0.15))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=PATIENCE)
        return True
    return False

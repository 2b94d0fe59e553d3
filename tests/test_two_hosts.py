"""Two machines behind nginx, as docs/scaling.md says: they share everything, and are restarted in turn unnoticed."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import requests
from django.conf import settings

from tests.operations.notifications.loopback import loopback
from tests.ports import free_port
from tests.test_crash import PATIENCE, Panel, own_database
from tests.test_deploy import DEPLOY, Site, needs, nginx
from tests.test_scripts import REPOSITORY, environment, make_checkout

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        settings.DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql",
        reason="two machines share a PostgreSQL: set DATABASE_URL",
    ),
    needs("redis-server"),
    *nginx,
]

DOMAIN = "your-domain.com"
CLIENTS = 8
SOURCES = 6
LINK = "trojan://s3cr3t@{}.example.com:443?sni={}.example.com#{}"
SETUP = """
from django.contrib.auth.models import User
from operations.api.authentication import create_api_key
from traffic.models import Subscriber
User.objects.create_superuser("eva", password="right")
Subscriber.objects.bulk_create([Subscriber(token=name, name=name) for name in ("ann", "bob", "cat", "dan")])
print("key", create_api_key("operator", "manage")[1])
"""


class Host(Panel):
    """A panel in a folder of its own."""

    def __init__(self, folder: Path, database: dict[str, str], shared: dict[str, str]) -> None:
        self.checkout = folder
        super().__init__(database, folder / "server.log", **shared)


class Farm(NamedTuple):
    """``hosts``: two panels in folders of their own; ``site``: nginx in front of both."""

    hosts: list[Host]
    site: Site
    key: str

    def ask(self, host: int, method: str, path: str, **more: Any) -> requests.Response:
        """Ask one host as nginx would; ``address``: of the client."""
        headers = {
            "Host": DOMAIN,
            "X-Forwarded-For": more.pop("address", "198.51.100.7"),
            "X-Forwarded-Proto": "https",
        } | more.pop("headers", {})
        url = f"{self.hosts[host].root}{path}"
        with requests.Session() as session:
            return session.request(
                method, url, headers=headers, timeout=PATIENCE, allow_redirects=False, **more
            )

    def operate(self, host: int, method: str, path: str, **more: Any) -> requests.Response:
        more["headers"] = {"Authorization": f"Bearer {self.key}"}
        return self.ask(host, method, f"/api/xpert/{path}", **more)

    def sub(self, host: int, token: str) -> requests.Response:
        return self.ask(host, "GET", f"/api/xpert/sub?user_token={token}")

    def at_once(self, *command: str) -> list[str]:
        """Run a command on both at the same moment; return what each printed."""
        with ThreadPoolExecutor() as threads:
            return list(threads.map(lambda host: host.manage(*command), self.hosts))

    def figure(self, code: str) -> str:
        """What this code prints after the word "figure"."""
        said = self.hosts[0].manage("shell", "-v0", "-c", code)
        found = re.search(r"(?m)^figure (.*)$", said)
        assert found, said
        return found[1]


def documented_site(second: int) -> str:
    """deploy/nginx.conf with the two machines of docs/scaling.md."""
    page = (REPOSITORY / "docs/scaling.md").read_text()
    (upstream,) = re.findall(r"(?s)```nginx\n(upstream xpert_panel \{.*?\n\})\n```", page)
    site, count = re.subn(
        r"(?s)upstream xpert_panel \{.*?\n\}", upstream, (DEPLOY / "nginx.conf").read_text()
    )
    assert count == 1
    places = {"10.0.0.1:8000": "127.0.0.1:8000", "10.0.0.2:8000": f"127.0.0.1:{second}"}
    for documented, tried in places.items():
        assert site.count(documented) == 1
        site = site.replace(documented, tried)
    return site


@contextmanager
def own_redis(folder: Path) -> Iterator[str]:
    port = free_port()
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        end = time.monotonic() + PATIENCE
        while not _answers(client):
            assert time.monotonic() < end
            time.sleep(0.05)
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("farm")
    with ExitStack() as stack:
        shared = {
            "CACHE_URL": stack.enter_context(own_redis(folder)),
            "XPERT_TRUSTED_PROXIES": "1",
            "XPERT_HTTPS": "True",
            "XPERT_DOMAIN": DOMAIN,
            "XPERT_RATE_SUBSCRIPTIONS": "6/min",
            "XPERT_ALLOW_PRIVATE_SOURCES": "True",
            "XPERT_ALLOW_PRIVATE_RECEIVERS": "True",
            "XPERT_SOURCES_ALLOW": "http,ports,addresses",
        }
        database = stack.enter_context(own_database(folder))
        hosts = [_host(folder / name, database, shared, stack) for name in ("one", "two")]
        said = hosts[0].manage("shell", "-v0", "-c", SETUP)
        (key,) = re.findall(r"(?m)^key (.*)$", said)
        site = Site(folder, hosts[0], documented_site(hosts[1].port))
        stack.callback(site.stop)
        yield Farm(hosts, site, key)


def _static_files(folder: Path) -> None:
    """As script/server does before it starts; the second machine gets a copy, because collecting takes long."""
    if (first := folder.parent / "one/staticfiles").exists():
        shutil.copytree(first, folder / "staticfiles")
        return
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"],
        cwd=folder,
        env=environment(SECRET_KEY="x" * 50, XPERT_ENV_FILE=os.devnull),
        check=True,
        timeout=PATIENCE,
    )


def _host(folder: Path, database: dict[str, str], shared: dict[str, str], stack: ExitStack) -> Host:
    make_checkout(folder)
    _static_files(folder)
    host = Host(folder, database, shared)
    stack.callback(host.kill_everything)
    host.wait()
    return host


# --- what both share ---------------------------------------------------------


def test_a_rate_limit_counts_the_requests_of_both(farm: Farm) -> None:
    taken = [farm.sub(n % 2, "ann").status_code for n in range(6)]
    assert taken == [200] * 6
    refused = [farm.sub(host, "ann") for host in (0, 1)]
    assert [answer.status_code for answer in refused] == [429, 429]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert farm.sub(1, "bob").status_code == 200


def test_wrong_passwords_count_on_both(farm: Farm) -> None:
    address = "198.51.100.99"
    for n in range(5):
        sign_in(farm, n % 2, "wrong", address)
    for host in (0, 1):
        assert "sessionid" not in str(sign_in(farm, host, "right", address).headers)
    assert "sessionid" in str(sign_in(farm, 1, "right", "198.51.100.98").headers)


def test_a_change_over_one_is_served_by_the_other_at_once(farm: Farm) -> None:
    for host in (0, 1):
        assert "#Berlin" not in farm.sub(host, "bob").text  # both have it in their caches now
    added = farm.operate(
        0, "POST", "direct-configs", json={"raw": LINK.format("b", "b", "Berlin")}
    ).json()
    assert "#Berlin" in farm.sub(1, "bob").text
    path = f"direct-configs/{added['id']}"
    assert farm.operate(1, "DELETE", path).status_code == 204
    assert "#Berlin" not in farm.sub(0, "bob").text


def test_somebody_switched_off_over_one_is_refused_by_the_other(farm: Farm) -> None:
    assert farm.sub(1, "cat").status_code == 200
    assert farm.operate(0, "PATCH", "subscribers/3", json={"is_active": False}).ok
    answers = [farm.ask(host, "GET", "/api/xpert/sub?user_token=cat") for host in (0, 1)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].text == answers[1].text


def test_a_session_goes_on_over_the_other(farm: Farm) -> None:
    # As a dictionary, because they are only for https, which ends at nginx.
    cookies = sign_in(farm, 0, "right", "198.51.100.8").cookies.get_dict()
    page = "/admin/traffic/subscriber/"
    assert [farm.ask(host, "GET", page, cookies=cookies).status_code for host in (0, 1)] == [
        200
    ] * 2
    left = post_form(farm, 1, "/admin/logout/", cookies)
    assert left.status_code in {200, 302}
    assert [farm.ask(host, "GET", page, cookies=cookies).status_code for host in (0, 1)] == [
        302
    ] * 2


def sign_in(farm: Farm, host: int, password: str, address: str) -> requests.Response:
    form = farm.ask(host, "GET", "/admin/login/", address=address)
    fields = {"username": "eva", "password": password, "next": "/admin/"}
    return post_form(
        farm, host, "/admin/login/", form.cookies.get_dict(), address=address, **fields
    )


def post_form(
    farm: Farm,
    host: int,
    path: str,
    cookies: dict[str, str],
    address: str = "198.51.100.8",
    **fields: str,
) -> requests.Response:
    (token,) = [value for name, value in cookies.items() if name.endswith("csrftoken")]
    headers = {"Referer": f"https://{DOMAIN}{path}", "X-CSRFToken": token}
    return farm.ask(
        host, "POST", path, data=fields, cookies=cookies, headers=headers, address=address
    )


# --- commands ----------------------------------------------------------------


class Lists:
    """An HTTP server with a list of servers at each path. ``asked``: how often each was fetched."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.url = ""

    def body(self, path: str) -> bytes:
        with self.lock:
            self.asked[path] += 1
        time.sleep(0.5)  # long enough for both machines to meet
        name = path.strip("/")
        return LINK.format(name, name, name).encode()


@contextmanager
def served_lists() -> Iterator[Lists]:
    found = Lists()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = found.body(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_both_timers_at_once_send_each_notification_once(farm: Farm) -> None:
    with loopback() as receiver:
        farm.figure(
            "from django.utils import timezone; from datetime import timedelta\n"
            "from operations.models import Receiver\n"
            "from traffic.models import Subscriber\n"
            f"Receiver.objects.create(name='ops', kind='webhook', target='{receiver.url}/hook', secret='s',"
            " events=['expiring'])\n"
            "Subscriber.objects.bulk_create([Subscriber(token=f'e{n}', name=f'E{n}',"
            " expires_at=timezone.now() + timedelta(days=1)) for n in range(20)])\n"
            "print('figure 0')"
        )
        for _ in range(2):
            farm.at_once("send_notifications")
        told = Counter(re.findall(r"\bE\d+\b", " ".join(receiver.texts)))
    assert told == dict.fromkeys((f"E{n}" for n in range(20)), 1)


def test_both_timers_at_once_fetch_each_source_once(farm: Farm) -> None:
    with served_lists() as lists:
        farm.figure(
            "from subscriptions.models import Source\n"
            f"Source.objects.bulk_create([Source(name=f's{{n}}', url=f'{lists.url}/s{{n}}')"
            f" for n in range({SOURCES})])\n"
            "print('figure 0')"
        )
        farm.at_once("refresh_sources", "--due")
    assert lists.asked == dict.fromkeys((f"/s{n}" for n in range(SOURCES)), 1)


def test_both_timers_at_once_clean_up_and_back_up(farm: Farm) -> None:
    with requests.Session() as session:
        assert report(farm, session).status_code == 200
    farm.at_once("cleanup_traffic")
    assert all("Wrote " in said for said in farm.at_once("backup_traffic"))
    for host in farm.hosts:
        assert len(list((host.checkout / "data/backups").iterdir())) == 1
    farm.hosts[0].manage("check_traffic")


def report(farm: Farm, session: requests.Session) -> requests.Response:
    """Without an event id, so that one sent twice would be counted twice."""
    sent = {"user_token": "dan", "server": "de1.example.com", "port": 443, "protocol": "vless"}
    return session.post(
        f"{farm.site.url}/api/xpert/traffic-webhook",
        json=sent | {"bytes_uploaded": 1},
        headers={"Host": DOMAIN, "Authorization": f"Bearer {farm.key}"},
        verify=False,
        timeout=PATIENCE,
    )


# --- a rolling restart -------------------------------------------------------


class Load:
    """Clients that report and read until they are stopped. ``answers``: how often each status, or error."""

    def __init__(self, ask: Callable[[int, requests.Session], requests.Response]) -> None:
        self.answers: Counter[str] = Counter()
        self._ask = ask
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(client,), daemon=True)
            for client in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, client: int) -> None:
        with requests.Session() as session:
            while not self._stopping.is_set():
                try:
                    answer = self._ask(client, session)
                    found = f"{answer.request.method} {answer.status_code}"
                except requests.RequestException as error:
                    found = repr(error)
                with self._lock:
                    self.answers[found] += 1

    def wait_for_more(self, count: int) -> None:
        wanted = self.answers.total() + count
        end = time.monotonic() + PATIENCE
        while self.answers.total() < wanted:
            assert time.monotonic() < end, self.answers
            time.sleep(0.02)

    def stop(self) -> Counter[str]:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        return self.answers


def test_a_rolling_restart_loses_no_report_and_fails_no_request(farm: Farm) -> None:
    counted = "from traffic.models import Balance; print('figure', sum(Balance.objects.filter(subscriber__token='dan').values_list('life_reports', flat=True)))"
    before = int(farm.figure(counted))

    def ask(client: int, session: requests.Session) -> requests.Response:
        """Every fourth client reads."""
        if client % 4:
            return report(farm, session)
        url = f"{farm.site.url}/api/xpert/traffic-stats/dan"
        return session.get(url, headers={"Host": DOMAIN}, verify=False, timeout=PATIENCE)

    load = Load(ask)
    for host in farm.hosts:
        load.wait_for_more(200)
        host.master.terminate()
        assert host.master.wait(PATIENCE) == 0
        load.wait_for_more(100)
        host.start()
        host.wait()
    load.wait_for_more(200)
    answers = load.stop()
    assert set(answers) == {"POST 200", "GET 200"}, answers
    assert int(farm.figure(counted)) - before == answers["POST 200"]

"""No request writes a secret to the log, and every answer has the security headers."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from model_bakery import baker

from operations.api.authentication import create_api_key
from operations.logs.formatters import JSONFormatter, TextFormatter
from operations.logs.handler import BoundedHandler
from subscriptions.models import DirectConfig
from tests.routes import routes
from traffic.models import Server, Subscriber

pytestmark = pytest.mark.django_db
TOKEN = "s3cr3t-token-of-somebody"
GUESS = "s3cr3t-guess-at-a-token"
PASSWORD = "s3cr3t-password"
LINK_KEY = "2b7c1d1e-6f1c-4b43-9f0b-0d4c6a4f7a10"
JSON = "application/json"


@pytest.fixture
def made() -> dict[str, object]:
    subscriber = Subscriber.objects.create(token=TOKEN)
    baker.make(Server, host="vpn.example.com", port=443, protocol="vless")
    config = baker.make(DirectConfig, raw=f"vless://{LINK_KEY}@a.example:443", position=1)
    return {"object_id": subscriber.pk, "id": 1, "pk": config.pk, "user_token": TOKEN}


@pytest.fixture
def caller() -> tuple[Client, list[str]]:
    """A superuser who also sends a key of scope manage, and the secrets that must not appear."""
    root = User.objects.create_superuser("root", password=PASSWORD)
    _, key = create_api_key("all", "manage")
    client = Client(raise_request_exception=False)
    client.force_login(root)
    return client, [key, client.cookies["sessionid"].value, PASSWORD, TOKEN, GUESS, LINK_KEY]


@pytest.fixture(params=[TextFormatter, JSONFormatter])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = BoundedHandler(stream)
    handler.setFormatter(request.param())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("django.db.backends", "asyncio"):
        logging.getLogger(name).setLevel(logging.INFO)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def everything(made: dict[str, object]) -> list[str]:
    more = {
        "server": "vpn.example.com",
        "port": 443,
        "app_label": "traffic",
        "content_type_id": 1,
        "kind": "csv",
        "key": GUESS,
        "device": 1,
        "name": "x",
        "folder": "sub",
        "token": TOKEN,
        "rest": "",
    }
    urls = {route.url for values in (made, made | {"user_token": GUESS, "object_id": GUESS})
            for route in routes(values | more)}  # fmt: skip
    wrong = (f"/{GUESS}", f"/api/xpert/{GUESS}/", f"/admin/{GUESS}/", f"/static/{GUESS}")
    return [*sorted(urls - {"/admin/logout/"}), *wrong]


def test_no_endpoint_writes_a_secret_into_the_log(
    caller: tuple[Client, list[str]],
    made: dict[str, object],
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, secrets = caller
    report = {"user_token": TOKEN, "server": "a.example", "port": 443, "protocol": "vless"}
    body = report | {
        "raw": f"vless://{LINK_KEY}@b.example",
        "password": PASSWORD,
        "configs": [LINK_KEY],
    }
    urls = everything(made)
    for url in urls:
        for asked in (url, f"{url}?user_token={TOKEN}&api_key={secrets[0]}&{GUESS}={PASSWORD}"):
            client.get(asked, headers={"referer": f"http://x/{TOKEN}"})
            Client().post(
                asked, body, content_type=JSON, headers={"authorization": f"Bearer {secrets[0]}"}
            )
            Client().post(
                asked, {"username": "root", "password": PASSWORD}, headers={"x-api-key": GUESS}
            )
            Client(enforce_csrf_checks=True, cookies={"sessionid": secrets[1]}).put(
                asked, headers={"x-api-key": GUESS}
            )

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"no luck with {TOKEN} and {secrets[0]}")

    monkeypatch.setattr("traffic.figures.statistics.user", broken)
    answer = client.get(f"/api/xpert/traffic-stats/{TOKEN}", headers={"x-api-key": secrets[0]})
    assert answer.status_code == 500
    assert "no luck with s3cr" in log.getvalue()
    assert log.getvalue().count("xpert.request") > len(urls)
    assert [secret for secret in secrets if secret in log.getvalue()] == []


def test_every_answer_has_the_headers_that_keep_a_browser_in_bounds(
    made: dict[str, object],
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root"))
    for url in everything(made):
        for asker in (client, Client()):
            answer: Any = asker.get(url)
            policy = answer["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'"), url
            assert "frame-ancestors 'none'" in policy, url
            scripts = [
                directive for directive in policy.split("; ") if directive.startswith("script-src")
            ]
            assert not any("'unsafe-inline'" in directive for directive in scripts), url
            assert ("'unsafe-inline'" in policy) <= (
                url.startswith("/admin/") or url.endswith("/docs")
            ), url
            assert answer["X-Content-Type-Options"] == "nosniff", url
            assert answer["X-Frame-Options"] == "DENY", url
            assert answer["Referrer-Policy"] in {"same-origin", "no-referrer"}, url
            assert answer["X-Request-Id"], url
            assert {"no-store", "private", "public"} & set(answer["Cache-Control"].split(", ")), url

"""``GET /api/xpert/gateways/{name}/config``: for the gateway's own key, and for nobody else."""

from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.utils import timezone

from gateways import configuration, people
from gateways.creation import create
from gateways.models import Gateway
from tests.gateways.examples import BERLIN, BY, PARIS, plan
from tests.subscriptions.examples import direct, subscriber
from traffic.models import Subscriber

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

pytestmark = pytest.mark.django_db
URL = "/api/xpert/gateways/gw/config"


def key(name: str = "gw") -> str:
    return create(plan(name=name), BY)[1]


def get(secret: str = "", url: str = URL, **headers: str) -> "Response":
    sent = {"authorization": f"Bearer {secret}"} if secret else {}
    return Client().get(url, headers=sent | headers)


def test_its_own_key_opens_it() -> None:
    subscriber()
    direct(BERLIN)
    answer = get(key())
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["gateway"] == "gw"
    assert answer.json()["sing_box"]["inbounds"][0]["users"]


def test_a_trailing_slash_changes_nothing() -> None:
    assert get(key(), URL + "/").status_code == 200


def test_what_has_not_changed_is_not_sent_again() -> None:
    secret = key()
    tag = get(secret)["ETag"]
    again = get(secret, **{"if-none-match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)


def test_what_has_not_changed_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    subscriber()
    secret = key()
    direct(BERLIN)
    tag = get(secret)["ETag"]
    monkeypatch.delattr(configuration, "document")
    assert get(secret, **{"if-none-match": tag}).status_code == 304


def test_what_another_process_has_made_is_compared_by_its_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscriber()
    secret = key()
    direct(BERLIN)
    tag = get(secret)["ETag"]
    monkeypatch.setattr(configuration, "_made", {})
    assert get(secret, **{"if-none-match": tag}).status_code == 304


def test_a_change_is_sent_though_the_last_tag_is_known() -> None:
    ann, secret = subscriber(), key()
    direct(BERLIN)
    tag = get(secret)["ETag"]
    Subscriber.objects.filter(pk=ann.pk).update(is_active=False)
    assert get(secret, **{"if-none-match": tag}).status_code == 200


@pytest.mark.parametrize("change", ["a server", "a token", "little left"])
def test_every_kind_of_change_is_sent(change: str) -> None:
    ann, secret = subscriber(), key()
    direct(BERLIN)
    tag = get(secret)["ETag"]
    if change == "a server":
        direct(PARIS)
    elif change == "a token":
        Subscriber.objects.filter(pk=ann.pk).update(token="another-token")
    else:
        Subscriber.objects.filter(pk=ann.pk).update(data_limit=people.NEARLY_USED_UP - 1)
    assert get(secret, **{"if-none-match": tag}).status_code == 200


def test_a_key_tells_by_itself_which_gateway_it_is_of(manager: Client) -> None:
    url = "/api/xpert/gateways/-/config"
    key()
    assert get(key("second"), url).json()["gateway"] == "second"
    assert manager.get(url).status_code == 403


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_without_a_key_or_with_a_wrong_one_it_is_401(secret: str) -> None:
    key()
    answer = get(secret)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_key_for_everything_does_not_open_it(manager: Client) -> None:
    key()
    assert manager.get(URL).status_code == 403


def test_staff_do_not_see_it(admin_client: Client) -> None:
    key()
    assert admin_client.get(URL).status_code == 401


def test_another_gateways_key_does_not_open_it() -> None:
    key()
    assert get(key("second")).status_code == 403


def test_a_gateway_that_does_not_exist_is_404_for_a_gateway_and_hidden_from_others(
    manager: Client,
) -> None:
    url = "/api/xpert/gateways/nobody/config"
    assert get(key(), url).status_code == 404
    assert manager.get(url).status_code == 403


def test_a_revoked_key_opens_nothing() -> None:
    secret = key()
    found = Gateway.objects.get().key
    found.revoked_at = timezone.now()
    found.save()
    assert get(secret).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/api/xpert/traffic-stats/global",
        "/api/xpert/marzban-traffic-stats",
        "/api/xpert/traffic-stats/database/info",
        "/api/xpert/direct-configs",
        "/api/xpert/sources",
        "/metrics",
    ],
)
def test_a_gateways_key_opens_nothing_else(path: str) -> None:
    assert get(key(), path).status_code == 403


def test_a_gateways_key_reports_for_nobody() -> None:
    subscriber("token-of-ann")
    report = {"user_token": "token-of-ann", "server": "a.example", "port": 1, "protocol": "vless"}
    answer = Client(headers={"authorization": f"Bearer {key()}"}).post(
        "/api/xpert/traffic-webhook", report, "application/json"
    )
    assert answer.status_code == 403


def test_the_panel_knows_when_it_asked_last() -> None:
    get(key())
    seen = Gateway.objects.get().seen_at
    assert seen is not None
    assert abs((timezone.now() - seen).total_seconds()) < 60

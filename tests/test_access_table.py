"""Who may do what: every route × every role against one table. A route that is not in it fails."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from model_bakery import baker

from subscriptions import sources
from subscriptions.models import DirectConfig, Node, Source, SubscriptionHit
from subscriptions.models import Group as SubscriptionGroup
from traffic.authentication import create_api_key
from traffic.models import ApiKey, CommandRun, Delivery, Receiver, Server, Subscriber

from .routes import routes

pytestmark = pytest.mark.django_db
TOKEN = "token-of-somebody-123"
KEYS = ("report key", "read key", "manage key")
STAFF = ("viewer", "operator", "superuser")
# Somebody who knows a subscriber's token is "nobody" who asks with it.
ROLES = ("nobody", *KEYS, *STAFF)

EVERYBODY = set(ROLES)
READERS = {"read key", "manage key", *STAFF}
MANAGERS = {"manage key", "operator", "superuser"}
ANY_STAFF = set(STAFF)
OPERATORS = {"operator", "superuser"}
SUPERUSER = {"superuser"}
NONE: set[str] = set()

Rights = tuple[set[str], set[str]]

# Who is let in, to read (GET) and to write (POST). Not let in: 401, 403, 405, or sent to the login page. Let in is also
# who is then told that the address or the body is wrong.
TABLE: dict[str, Rights] = {
    # A token is all that a subscriber needs, and a reporter without a key.
    "traffic:webhook": (NONE, EVERYBODY - {"read key"}),
    "traffic:user": (EVERYBODY, NONE),
    "traffic:user-series": (EVERYBODY, NONE),
    "subscriptions:subscription": (EVERYBODY, NONE),
    "subscriptions:direct-subscription": (EVERYBODY, NONE),
    # Public by their nature.
    "healthz": (EVERYBODY, NONE),
    "readyz": (EVERYBODY, NONE),
    "schema": (EVERYBODY, NONE),
    "docs": (EVERYBODY, NONE),
    "set_language": (EVERYBODY, EVERYBODY),
    # For operators.
    "metrics": (READERS, NONE),
    "traffic:marzban": (READERS, NONE),
    "traffic:global": (READERS, NONE),
    "traffic:global-series": (READERS, NONE),
    "traffic:database-info": (READERS, NONE),
    "traffic:server": (READERS, NONE),
    "traffic:cleanup": (NONE, MANAGERS),
    "subscriptions:direct-configs": (READERS, MANAGERS),
    "subscriptions:direct-config": (READERS, NONE),
    "subscriptions:sources": (READERS, MANAGERS),
    "subscriptions:source": (READERS, NONE),
    # The admin.
    "admin:login": (EVERYBODY, EVERYBODY),
    "admin:logout": (EVERYBODY - ANY_STAFF, EVERYBODY),
    "admin:jsi18n": (ANY_STAFF, NONE),
    "admin:index": (ANY_STAFF, ANY_STAFF),
    "admin:search": (ANY_STAFF, ANY_STAFF),
    "admin:password_change": (ANY_STAFF, ANY_STAFF),
    "admin:password_change_done": (ANY_STAFF, NONE),
    "admin:app_list": (ANY_STAFF, ANY_STAFF),
    "admin:view_on_site": (ANY_STAFF, ANY_STAFF),
    "admin:autocomplete": (NONE, NONE),  # asked without a field, as here
    "admin:subscriptions_directconfig_up": (NONE, OPERATORS),
    "admin:subscriptions_directconfig_down": (NONE, OPERATORS),
    "admin:subscriptions_source_refresh": (NONE, OPERATORS),
    "admin:auth_user_password_change": (SUPERUSER, SUPERUSER),
}
# Pages of the models: to look, and to add, change and delete.
MODELS: dict[str, Rights] = {
    "traffic_subscriber": (ANY_STAFF, OPERATORS),
    "traffic_server": (ANY_STAFF, OPERATORS),
    "subscriptions_directconfig": (ANY_STAFF, OPERATORS),
    "subscriptions_subscriptionhit": (ANY_STAFF, NONE),
    "subscriptions_source": (ANY_STAFF, OPERATORS),
    "subscriptions_node": (ANY_STAFF, OPERATORS),
    "subscriptions_group": (ANY_STAFF, OPERATORS),
    "traffic_commandrun": (ANY_STAFF, NONE),
    "traffic_receiver": (ANY_STAFF, OPERATORS),
    "traffic_delivery": (ANY_STAFF, OPERATORS),
    "traffic_apikey": (SUPERUSER, SUPERUSER),
    "auth_user": (SUPERUSER, SUPERUSER),
    "auth_group": (SUPERUSER, SUPERUSER),
}
# Those whose history is the panel's own.
NOTED = {"traffic_subscriber", "traffic_server", "traffic_apikey"}
# What nobody may: servers are born in reports, keys are revoked so that one can see what was, and nodes come and go
# with their source.
NEVER = {
    "admin:traffic_server_add", "admin:traffic_apikey_delete", "admin:subscriptions_node_add",
    "admin:subscriptions_node_delete", "admin:traffic_delivery_add", "admin:traffic_delivery_delete",
}  # fmt: skip
# Of these the history is ours: what was noted of them.
NOTED = {"traffic_subscriber", "traffic_server", "traffic_apikey"}


def expected(name: str) -> Rights:
    if name in TABLE:
        return TABLE[name]
    model = next(model for model in MODELS if name.startswith(f"admin:{model}_"))
    look, write = MODELS[model]
    page = name.removeprefix(f"admin:{model}_")
    if name in NEVER:
        return NONE, NONE
    if page in {"usage", "export", "history", "changelist"}:
        # Of Django's own pages of history a POST is one more way to look.
        is_djangos = page == "changelist" or (page == "history" and model not in NOTED)
        return look, (look if is_djangos else NONE)
    return (look if page == "change" else write), write


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "refresh_soon", lambda pks: None)


@pytest.fixture
def clients() -> dict[str, Client]:
    found = {"nobody": Client()}
    for key in KEYS:
        scope = key.removesuffix(" key")
        found[key] = Client(headers={"authorization": f"Bearer {create_api_key(scope, scope)[1]}"})
    for role in STAFF:
        user = User.objects.create_user(role, is_staff=True, is_superuser=role == "superuser")
        if role != "superuser":
            user.groups.add(Group.objects.get(name=role))
        found[role] = Client()
        found[role].force_login(user)
    return found


def values_for(name: str) -> dict[str, object]:
    """An object of each model; the address of a page names the one of its own."""
    made: dict[str, Any] = {
        "traffic_subscriber": Subscriber.objects.create(token=TOKEN, name="Ann"),
        "traffic_server": baker.make(Server, host="vpn.example.com", port=443, protocol="vless"),
        "traffic_commandrun": baker.make(CommandRun, command="cleanup_traffic"),
        "traffic_apikey": create_api_key("key", "read")[0],
        "traffic_receiver": (receiver := baker.make(Receiver, kind="webhook", target="http://127.0.0.1:1/")),
        "traffic_delivery": baker.make(Delivery, receiver=receiver),
        "subscriptions_directconfig": baker.make(DirectConfig, raw="vless://x@a.example:443", position=1),
        "subscriptions_source": (source := baker.make(Source, url="https://a.example/")),
        "subscriptions_node": baker.make(Node, source=source),
        "subscriptions_group": baker.make(SubscriptionGroup),
        "auth_user": baker.make(User),
        "auth_group": Group.objects.create(name="some"),
    }
    made["subscriptions_subscriptionhit"] = baker.make(
        SubscriptionHit, subscriber=made["traffic_subscriber"], client="app", status=200, milliseconds=1
    )
    of_page = (model for model in made if name.startswith((f"admin:{model}_", f"{model.replace('_', ':')}")))
    model = next(of_page, "subscriptions_directconfig")
    return {
        "object_id": made[model].pk,
        "id": made[model].pk,
        "pk": made["subscriptions_directconfig"].pk,
        "user_token": TOKEN,
        "server": "vpn.example.com",
        "port": 443,
        "app_label": "traffic",
        "content_type_id": ContentType.objects.get_for_model(ApiKey).pk,
        "kind": "csv",
        "name": "x",
    }


def is_let_in(response: Any) -> bool:
    if response.status_code in {401, 403, 405}:
        return False
    return not (response.status_code == 302 and "/admin/login/" in response["Location"])


_ALL = sorted({route.name for route in routes(dict.fromkeys(
    ("object_id", "id", "pk", "user_token", "server", "port", "app_label", "content_type_id", "kind", "name"), 1
) | {"app_label": "traffic"})})  # fmt: skip


def test_every_route_is_in_the_table() -> None:
    known = re.compile("|".join(f"admin:{model}_\\w+" for model in MODELS))
    assert [name for name in _ALL if name not in TABLE and not known.fullmatch(name)] == []
    assert set(TABLE) <= set(_ALL)


@pytest.mark.parametrize("name", _ALL)
def test_a_role_gets_what_the_table_says_and_nothing_else(name: str, clients: dict[str, Client]) -> None:
    (url,) = {route.url for route in routes(values_for(name)) if route.name == name}
    for method, allowed in zip(("get", "post"), expected(name), strict=True):
        let_in = {
            role
            for role, client in clients.items()
            if is_let_in(
                getattr(client, method)(url, **({"content_type": "application/json"} if "/api/" in url else {}))
            )
        }
        assert let_in == allowed, f"{method} {url}"

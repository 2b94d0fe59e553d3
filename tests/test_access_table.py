"""Access control: every route and every role against one table. A route that is not in the table fails."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from gateways.models import Gateway
from integrations.marzban import admin_tokens, own_users
from integrations.marzban.admin_tokens import Admin
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from integrations.moving.models import OldPanel
from integrations.pulls import pulling
from integrations.pulls.models import Panel
from integrations.telegram.models import Link
from operations.api.authentication import create_api_key
from operations.models import ApiKey, AuditEntry, CommandRun, Delivery, Receiver
from subscriptions.models import Brand, DirectConfig, Node, Source, SubscriptionHit, Template
from subscriptions.models import Group as SubscriptionGroup
from subscriptions.sources import refreshing
from tests.integrations.marzban.panel import admin_token
from tests.routes import routes
from traffic.models import Plan, Reporter, Reseller, Server, ServerLimit, Subscriber

pytestmark = pytest.mark.django_db
TOKEN = "token-of-somebody-123"
KEYS = ("report key", "read key", "manage key")
# Manage keys: limited to a group, limited to a server, expired, revoked.
LIMITED_KEYS = ("group key", "server key")
ENDED_KEYS = ("expired key", "revoked key")
# Of a linked Marzban, by their bearer tokens.
ADMINS = ("sudo admin", "other admin")
STAFF = ("viewer", "operator", "superuser")
# Staff of their own subscribers; also in the group of operators, which must not help.
RESELLER = "reseller"
# A panel's own subscription address, of which no link exists here.
PANEL_PATH = {"folder": "sub", "token": TOKEN, "rest": ""}
# A subscriber is "nobody" with a token in the request.
ROLES = ("nobody", *KEYS, *LIMITED_KEYS, *ENDED_KEYS, *ADMINS, *STAFF, RESELLER)

EVERYBODY = set(ROLES)
REPORTERS = EVERYBODY - {"read key", "other admin", *ENDED_KEYS}
READERS = {"read key", "manage key", "sudo admin", *STAFF}
MANAGERS = {"manage key", "sudo admin", "operator", "superuser"}
ANY_STAFF = set(STAFF)
OPERATORS = {"operator", "superuser"}
SUPERUSER = {"superuser"}
NONE: set[str] = set()
SIGNED_IN = {*STAFF, RESELLER}

Rights = tuple[set[str], set[str]]

# The roles with access for GET and for POST. No access means 401, 403, 405 or a redirect to the login page. An error
# about the address or the body counts as access.
TABLE: dict[str, Rights] = {
    # Subscribers, and reporters without a key, only need a token.
    "traffic:webhook": (NONE, REPORTERS),
    "traffic:meter-readings": (NONE, REPORTERS),
    "traffic:user": (EVERYBODY, NONE),
    "traffic:user-series": (EVERYBODY, NONE),
    "subscriptions:subscription": (EVERYBODY, NONE),
    "subscriptions:direct-subscription": (EVERYBODY, NONE),
    "subscriptions:servers": (EVERYBODY, NONE),
    "marzban-panel:subscription": (EVERYBODY, NONE),
    "subscriptions:tell-me": (NONE, EVERYBODY),
    "telegram:link": (NONE, EVERYBODY),
    # Public.
    "healthz": (EVERYBODY, NONE),
    "readyz": (EVERYBODY, NONE),
    "schema": (EVERYBODY, NONE),
    "docs": (EVERYBODY, NONE),
    "marzban:widget-script": (EVERYBODY, NONE),
    "set_language": (EVERYBODY, EVERYBODY),
    # A key in the address alone, which here is wrong.
    "three_x_ui:inform": (NONE, NONE),
    # Its own key alone.
    "gateways:config": (NONE, NONE),
    "gateways:state": (NONE, NONE),
    # Marzban by the secret of its link; 404 while no link has one.
    "marzban:events": (NONE, EVERYBODY),
    # For operators.
    "metrics": (READERS, NONE),
    "traffic:marzban": (READERS, NONE),
    "marzban:widget": (READERS | {"other admin"}, NONE),
    "traffic:global": (READERS, NONE),
    "traffic:global-series": (READERS, NONE),
    "traffic:database-info": (READERS, NONE),
    "traffic:server": (READERS | {"server key"}, NONE),
    "traffic:cleanup": (NONE, MANAGERS),
    "subscriptions:direct-configs": (READERS, MANAGERS),
    "subscriptions:direct-config": (READERS, NONE),
    "subscriptions:sources": (READERS, MANAGERS),
    "subscriptions:source": (READERS, NONE),
    "subscriptions:templates": (READERS, MANAGERS),
    "subscriptions:template": (READERS, NONE),
    "subscriptions:server-limits": (READERS, MANAGERS),
    "subscriptions:server-limit": (READERS, NONE),
    "subscriptions:server-limit-restart": (NONE, MANAGERS),
    "subscriptions:subscribers": (READERS | {"group key"}, MANAGERS | {"group key"}),
    "subscriptions:subscriber": (READERS | {"group key"}, NONE),
    "subscriptions:subscribers-bulk": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-extend": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-restart-period": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-new-token": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-apply-plan": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-next-plan": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-renew": (NONE, MANAGERS | {"group key"}),
    "subscriptions:subscriber-correct": (NONE, MANAGERS | {"group key"}),
    "subscriptions:devices": (READERS | {"group key"}, NONE),
    "subscriptions:device": (READERS | {"group key"}, NONE),
    # The admin.
    "admin:login": (EVERYBODY, EVERYBODY),
    "admin:logout": (EVERYBODY - SIGNED_IN, EVERYBODY),
    "admin:login_code": (NONE, NONE),  # before a password it leads to the login
    "admin:second_factor": (SIGNED_IN, SIGNED_IN),
    "admin:second_factor_codes": (SIGNED_IN, SIGNED_IN),
    "admin:second_factor_off": (SIGNED_IN, SIGNED_IN),
    "admin:jsi18n": (SIGNED_IN, NONE),
    "admin:index": (SIGNED_IN, SIGNED_IN),
    "admin:search": (SIGNED_IN, SIGNED_IN),
    "admin:password_change": (SIGNED_IN, SIGNED_IN),
    "admin:password_change_done": (SIGNED_IN, NONE),
    "admin:app_list": (SIGNED_IN, SIGNED_IN),
    "admin:view_on_site": (SIGNED_IN, SIGNED_IN),
    "admin:autocomplete": (NONE, NONE),  # asked without a field, as here
    "admin:traffic_subscriber_link": (NONE, OPERATORS | {RESELLER}),
    "admin:subscriptions_directconfig_up": (NONE, OPERATORS),
    "admin:subscriptions_directconfig_down": (NONE, OPERATORS),
    "admin:subscriptions_source_refresh": (NONE, OPERATORS),
    "admin:pulls_panel_read": (NONE, OPERATORS),
    "admin:pulls_panel_try": (OPERATORS, OPERATORS),
    "admin:telegram_link_own": (ANY_STAFF, ANY_STAFF),
    "admin:telegram_link_change": (ANY_STAFF, NONE),
    "admin:auth_user_password_change": (SUPERUSER, SUPERUSER),
    "admin:marzban_panellink_difference": (ANY_STAFF, NONE),
}
# Pages of the models: view, and add, change and delete.
MODELS: dict[str, Rights] = {
    "traffic_subscriber": (SIGNED_IN, OPERATORS | {RESELLER}),
    "traffic_reseller": (ANY_STAFF, OPERATORS),
    "traffic_server": (ANY_STAFF, OPERATORS),
    "traffic_plan": (ANY_STAFF, OPERATORS),
    "traffic_serverlimit": (ANY_STAFF, OPERATORS),
    "traffic_reporter": (ANY_STAFF, OPERATORS),
    "subscriptions_directconfig": (ANY_STAFF, OPERATORS),
    "subscriptions_subscriptionhit": (ANY_STAFF, NONE),
    "subscriptions_brand": (ANY_STAFF, OPERATORS),
    "subscriptions_source": (ANY_STAFF, OPERATORS),
    "subscriptions_template": (ANY_STAFF, OPERATORS),
    "subscriptions_node": (ANY_STAFF, OPERATORS),
    "subscriptions_group": (ANY_STAFF, OPERATORS),
    "gateways_gateway": (ANY_STAFF, OPERATORS),
    "pulls_panel": (ANY_STAFF, OPERATORS),
    "moving_oldpanel": (ANY_STAFF, OPERATORS),
    "telegram_link": (ANY_STAFF, OPERATORS),
    "operations_commandrun": (ANY_STAFF, NONE),
    "operations_receiver": (ANY_STAFF, OPERATORS),
    "operations_delivery": (ANY_STAFF, OPERATORS),
    "operations_apikey": (SUPERUSER, SUPERUSER),
    "operations_auditentry": (SUPERUSER, NONE),
    "auth_user": (SUPERUSER, SUPERUSER),
    "auth_group": (SUPERUSER, SUPERUSER),
    "marzban_panellink": (ANY_STAFF, OPERATORS),
    "marzban_panelidentity": (ANY_STAFF, NONE),
    "marzban_handover": (ANY_STAFF, NONE),
}
# Forbidden for everybody: servers are created by reports, keys are revoked so that they stay visible, nodes follow
# their source, a panel is linked by a form of its own, people who move in bring their panel, and there is one brand.
NEVER = {
    "admin:marzban_panellink_add", "admin:telegram_link_add", "admin:moving_oldpanel_add", "admin:moving_oldpanel_delete",
    "admin:traffic_server_add", "admin:traffic_reporter_add", "admin:traffic_reporter_delete", "admin:operations_apikey_delete", "admin:subscriptions_node_add",
    "admin:subscriptions_node_delete", "admin:subscriptions_brand_add", "admin:subscriptions_brand_delete", "admin:operations_delivery_add", "admin:operations_delivery_delete",
}  # fmt: skip
# Pages of subscribers that are no business of resellers: they name reporters, or change what a quota counts.
NOT_FOR_RESELLERS = {
    f"admin:traffic_subscriber_{page}"
    for page in (
        "correct",
        "undo",
        "name",
        "forget_name",
        "history",
        "move_in",
        "set_reseller",
    )
}


def expected(name: str) -> Rights:
    look, write = of_everybody(name)
    return (look - {RESELLER}, write - {RESELLER}) if name in NOT_FOR_RESELLERS else (look, write)


def of_everybody(name: str) -> Rights:
    if name in TABLE:
        return TABLE[name]
    model = next(model for model in MODELS if name.startswith(f"admin:{model}_"))
    look, write = MODELS[model]
    page = name.removeprefix(f"admin:{model}_")
    if name in NEVER:
        return NONE, NONE
    if page in {"bill", "statement"}:
        return look, NONE
    if page == "columns":
        return NONE, look
    if page in {"usage", "overview", "export", "history", "changelist", "reported"}:
        # Of Django's own list a POST is one more way to look.
        return look, (look if page == "changelist" else NONE)
    return (look if page == "change" else write), write


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "refresh_soon", lambda pks: None)
    monkeypatch.setattr(pulling, "pull_soon", lambda pks: None)


def with_key(secret: str) -> Client:
    return Client(headers={"authorization": f"Bearer {secret}"})


def limited_and_ended() -> Iterator[tuple[str, str]]:
    group = SubscriptionGroup.objects.create(name="Berlin")
    limits = {"groups": str(group.pk)}, {"servers": "vpn.example.com"}
    for role, options in zip(LIMITED_KEYS, limits, strict=True):
        yield role, create_api_key(role, "manage", None, options)[1]
    now = timezone.now()
    yield "expired key", create_api_key("expired", "manage", now)[1]
    revoked, secret = create_api_key("revoked", "manage")
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=now)
    yield "revoked key", secret


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, Client]:
    found = {"nobody": Client()}
    settings.XPERT_MARZBAN_URL = "http://marzban.example.com"
    admins = {admin_token(role): Admin(role, is_sudo=role == "sudo admin") for role in ADMINS}
    monkeypatch.setattr(admin_tokens, "find", admins.get)
    monkeypatch.setattr(own_users, "names", lambda token: frozenset())
    for token, admin in admins.items():
        found[admin.username] = Client(headers={"authorization": f"Bearer {token}"})
    for key in KEYS:
        scope = key.removesuffix(" key")
        found[key] = with_key(create_api_key(scope, scope)[1])
    for key, secret in limited_and_ended():
        found[key] = with_key(secret)
    for role in STAFF:
        user = User.objects.create_user(role, is_staff=True, is_superuser=role == "superuser")
        if role != "superuser":
            user.groups.add(Group.objects.get(name=role))
        found[role] = Client()
        found[role].force_login(user)
    found[RESELLER] = Client()
    found[RESELLER].force_login(a_reseller())
    return found


def a_reseller() -> User:
    user = User.objects.create_user(RESELLER, is_staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    Reseller.objects.create(name=RESELLER, account=user)
    return user


def values_for(name: str) -> dict[str, object]:
    """One object of each model; the address of a page names the object of its model."""
    made: dict[str, Any] = {
        "traffic_subscriber": Subscriber.objects.create(
            token=TOKEN, name="Ann", reseller=Reseller.objects.filter(name=RESELLER).first()
        ),
        "traffic_reseller": Reseller.objects.create(name="another"),
        "traffic_plan": Plan.objects.create(name="Month"),
        "traffic_serverlimit": ServerLimit.objects.create(name="Berlin", data_limit=1),
        "traffic_server": baker.make(Server, host="vpn.example.com", port=443, protocol="vless"),
        "traffic_reporter": baker.make(
            Reporter, origin="pull:1", meter="m", grade="provider", api_key=None, subscriber=None
        ),
        "operations_commandrun": baker.make(CommandRun, command="cleanup_traffic"),
        "operations_apikey": create_api_key("key", "read")[0],
        "operations_auditentry": baker.make(AuditEntry, target_kind="auth.user", target_id=1),
        "operations_receiver": (
            receiver := baker.make(Receiver, kind="webhook", target="http://127.0.0.1:1/")
        ),
        "operations_delivery": baker.make(Delivery, receiver=receiver),
        "subscriptions_directconfig": baker.make(
            DirectConfig, raw="vless://x@a.example:443", position=1
        ),
        "subscriptions_source": (source := baker.make(Source, url="https://a.example/")),
        "subscriptions_node": baker.make(Node, source=source),
        "gateways_gateway": baker.make(Gateway, name="gw", key=create_api_key("gw", "bound")[0]),
        "subscriptions_template": baker.make(Template, format="mihomo", text="a: b"),
        "subscriptions_brand": Brand.objects.create(pk=1),
        "pulls_panel": baker.make(Panel, kind="3x-ui", access="key", url="https://10.0.0.5"),
        "moving_oldpanel": baker.make(OldPanel, kind="marzban", added_at=timezone.now()),
        "telegram_link": baker.make(
            Link, chat=7, subscriber=None, user=baker.make(User), linked_at=timezone.now()
        ),
        "subscriptions_group": baker.make(SubscriptionGroup),
        "auth_user": baker.make(User),
        "auth_group": Group.objects.create(name="some"),
        "marzban_panellink": (link := baker.make(PanelLink, url="http://127.0.0.1:1")),
        "marzban_panelidentity": baker.make(PanelIdentity, link=link),
        "marzban_handover": baker.make(HandOver, link=link, made_at=timezone.now()),
    }
    made["subscriptions_subscriptionhit"] = baker.make(
        SubscriptionHit,
        subscriber=made["traffic_subscriber"],
        client="app",
        status=200,
        milliseconds=1,
    )
    of_page = (
        model
        for model in made
        if name.startswith((f"admin:{model}_", f"{model.replace('_', ':')}"))
    )
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
        "key": "wrong",
        "name": "x",
        "device": 1,
        **PANEL_PATH,
    }


def is_let_in(response: Any) -> bool:
    if response.status_code in {401, 403, 405}:
        return False
    return not (response.status_code == 302 and "/admin/login/" in response["Location"])


_ALL = sorted({route.name for route in routes(dict.fromkeys(
    ("object_id", "id", "pk", "user_token", "server", "port", "app_label", "content_type_id", "kind", "key", "name", "device",
    *PANEL_PATH), 1
) | {"app_label": "traffic", **PANEL_PATH})})  # fmt: skip


def test_every_route_is_in_the_table() -> None:
    known = re.compile("|".join(f"admin:{model}_\\w+" for model in MODELS))
    assert [name for name in _ALL if name not in TABLE and not known.fullmatch(name)] == []
    assert set(TABLE) <= set(_ALL)


@pytest.mark.parametrize("name", _ALL)
def test_a_role_has_exactly_the_access_in_the_table(name: str, clients: dict[str, Client]) -> None:
    (url,) = {route.url for route in routes(values_for(name)) if route.name == name}
    for method, allowed in zip(("get", "post"), expected(name), strict=True):
        let_in = {
            role
            for role, client in clients.items()
            if is_let_in(
                getattr(client, method)(
                    url, **({"content_type": "application/json"} if "/api/" in url else {})
                )
            )
        }
        assert let_in == allowed, f"{method} {url}"

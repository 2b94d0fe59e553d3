"""One object of each model of the admin, and the addresses of all its pages, for tests that look at every page."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from model_bakery import baker

from gateways.models import Gateway
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from integrations.moving.models import OldPanel
from integrations.pulls.models import Panel
from integrations.telegram.models import Link
from operations import audit
from operations.api.authentication import create_api_key
from operations.audit import Action, By
from operations.models import ApiKey, AuditEntry, CommandRun, Delivery, Receiver
from subscriptions import direct_configs
from subscriptions.models import (
    Brand,
    Device,
    DirectConfig,
    Endpoint,
    EndpointCheck,
    Node,
    Source,
    SubscriptionHit,
    Template,
)
from subscriptions.models import Group as SubscriptionGroup
from subscriptions.skeletons import ready
from tests.routes import Route, routes
from tests.traffic.admin_pages import a_subscriber
from tests.traffic.examples import DAY, GB, a_report, stored
from traffic.intake import acceptance
from traffic.ledger.owners import Sending
from traffic.models import KnownAs, Plan, Reporter, Reseller, Server, ServerLimit, Subscriber
from traffic.people import changes
from traffic.readings import Message, Row, checked_rows
from traffic.readings import Source as Read


def one_of_each(operator: User) -> dict[str, Any]:
    """By app and model, with Russian names, so that any English text is the page's own."""
    now = timezone.now()
    anna = a_subscriber(
        "Анна", token="long-token-of-anna", data_limit=40 * GB, expires_at=now + 3 * DAY
    )
    for days in (0, 1, 9):
        report = a_report(
            now - days * DAY, user_token=anna.token, server=f"vpn{days}.example.com", upload=GB
        )
        stored(report, now=now)
    by = By("ева", now)
    changes.extend([anna.pk], 10, by)
    changes.switch([anna.pk], on=False, by=by)
    group = baker.make(SubscriptionGroup, name="Друзья")
    group.subscribers.add(anna)
    source: Source = baker.make(
        Source, name="Берлин", url="https://a.example/", failures=2, last_error="timeout", last_success=now,
        skipped={"bad_port": 2, "pseudo": 1, "duplicate": 3}, provider_expire=int(now.timestamp()) + 400_000,
    )  # fmt: skip
    Source.objects.filter(pk=source.pk).update(
        provider_upload=GB, provider_download=GB, provider_total=9 * GB, milliseconds=90, size=900
    )
    baker.make(Source, name="Вена", url="https://b.example/", enabled=False)
    answering = baker.make(
        Endpoint, server="n1.example.com", port=443, state="up", latency=40, checked_at=now
    )
    for slot, latency in enumerate((40, None)):
        EndpointCheck.objects.create(
            endpoint=answering, slot=slot, at=now, latency=latency, loss=33
        )
    baker.make(
        Endpoint, server="n2.example.com", port=443, state="down", down_since=now, checked_at=now
    )
    nodes = [
        baker.make(
            Node,
            source=source,
            server=f"n{number}.example.com",
            port=443,
            remarks="Узел",
            position=number,
        )
        for number in range(3)
    ]
    direct_configs.add_many(
        ["trojan://secret@fast.example.com:443?security=tls#Вена"], By("ada", timezone.now())
    )
    receiver = baker.make(Receiver, name="Дежурный", kind="webhook", target="http://127.0.0.1:1/")
    for name in ("browser", "other", "other-vpn-app"):
        baker.make(
            SubscriptionHit,
            subscriber=anna,
            client=name,
            format="plain",
            status=200,
            milliseconds=1,
            address="",
        )
    Subscriber.objects.filter(pk=anna.pk).update(device_limit=2)
    baker.make(Device, subscriber=anna, model="Пиксель", app="other", first_seen=now, last_seen=now)
    audit.note(Action.CHANGED, source, By("ева", now), {"priority": (100, 3)})
    reporter = _a_reporter(anna, now)
    return {
        "traffic_subscriber": anna,
        "traffic_reporter": reporter,
        "traffic_server": Server.objects.get(host="vpn0.example.com"),
        "operations_commandrun": baker.make(CommandRun, command="cleanup_traffic", error=""),
        "operations_apikey": create_api_key("ключ", "read")[0],
        "operations_auditentry": AuditEntry.objects.latest("id"),
        "operations_receiver": receiver,
        "operations_delivery": baker.make(Delivery, receiver=receiver),
        "subscriptions_directconfig": DirectConfig.objects.get(),
        "subscriptions_source": source,
        "subscriptions_node": nodes[1],
        "subscriptions_template": baker.make(
            Template,
            name="Свой",
            format="mihomo",
            text=ready.BY_KEY["mihomo-local"].text,
            in_use=True,
            failed_at=now,
            failure="unknown_source",
        ),
        "subscriptions_group": group,
        "subscriptions_subscriptionhit": SubscriptionHit.objects.first(),
        "traffic_plan": baker.make(Plan, name="Месяц", data_limit=GB, days=30),
        "traffic_reseller": Reseller.objects.create(
            name="Иван",
            people_limit=10,
            data_limit=9 * GB,
            account=User.objects.create_user("иван"),
        ),
        "traffic_serverlimit": baker.make(ServerLimit, name="Лимит", data_limit=GB),
        "gateways_gateway": baker.make(Gateway, name="ворота", host="gw.example.com"),
        "pulls_panel": baker.make(
            Panel, name="Панель", kind="3x-ui", access="key", url="https://10.0.0.5"
        ),
        "moving_oldpanel": baker.make(OldPanel, name="Дача", kind="marzban", added_at=now),
        "telegram_link": baker.make(
            Link, chat=7, subscriber=anna, user=None, language="ru", linked_at=now
        ),
        "marzban_panellink": (
            link := baker.make(
                PanelLink, name="Связь", url="http://127.0.0.1:1", account_name="ева"
            )
        ),
        "marzban_panelidentity": baker.make(PanelIdentity, link=link, username="анна"),
        "marzban_handover": baker.make(HandOver, link=link, made_at=now),
        "subscriptions_brand": Brand.objects.create(pk=1, title="Быстрый"),
        "auth_user": operator,
        "auth_group": Group.objects.create(name="дежурные"),
    }


def _a_reporter(anna: Subscriber, now: datetime) -> Reporter:
    """With a problem, an unknown person, an amount that waits, and a control; and names of Anna's."""
    run, moment = int(now.timestamp()) - 3600, now.timestamp()
    server: dict[str, Any] = {"server": "vpn0.example.com", "port": 443, "protocol": "vless"}
    known: dict[str, Any] = {"user_token": anna.token}
    messages: list[tuple[Sending, list[Row]]] = [
        (Sending(origin="link:1", grade=Reporter.Grade.MEASURED), [Row(**server, **known, upload=9)]),
        (Sending(origin="pull:5", kind=Reporter.Kind.PULL),
         [Row(**server, **known, upload=9), Row(**server, person="Ева", upload=9),
          Row(**server | {"server": "vpn7.example.com"}, **known, upload=2**50)]),
        (Sending(), [Row(**server, **known, upload=9)]),
    ]  # fmt: skip
    problem = (Read("провод", "wireguard", ok=False, error="нет доступа"), Read("ядро"))
    for sending, rows in messages:
        read = checked_rows([msgspec.structs.replace(row, timestamp=moment) for row in rows], now)
        acceptance.book(Message("meter-1", run, False, *read, sources=problem), sending, now)
    KnownAs.objects.create(name="Анечка", folded="анечка", subscriber=anna)
    return Reporter.objects.get(origin="pull:5")


def pages(objects: dict[str, Any]) -> Iterator[Route]:
    """All addresses of the admin."""
    common = dict.fromkeys(
        ("user_token", "server", "port", "content_type_id", "kind", "key", "name", "device"), 1
    )
    for model, found in {"": objects["operations_apikey"], **objects}.items():
        values = {**common, "app_label": "traffic", "object_id": found.pk, "id": found.pk}
        values["pk"] = objects["subscriptions_directconfig"].pk
        values |= {"folder": "sub", "token": "x" * 20, "rest": ""}
        values["content_type_id"] = ContentType.objects.get_for_model(ApiKey).pk
        for route in routes(values):
            owner = next((name for name in objects if route.name.startswith(f"admin:{name}_")), "")
            is_page = route.name.startswith("admin:") and not route.name.endswith(
                ("_export", ":logout", ":view_on_site")
            )
            if is_page and owner == model:
                yield route

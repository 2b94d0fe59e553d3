"""What the tests of the admin share: who is signed in, what a page says, and what it asks of the database."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from model_bakery import baker

from operations.formatting import day_before
from operations.units import exact_size
from traffic.models import Subscriber

_TAG = re.compile(r"<[^>]+>")
# Tags within a word or a figure.
_INNER_TAG = re.compile(r"<wbr>|</?bdi[^>]*>")


def operator() -> Client:
    """May do everything."""
    return _signed_in(baker.make(User, username="root", is_staff=True, is_superuser=True))


def staff(*permissions: str) -> Client:
    """May do what is named: ``view_subscriber``, ``change_server``."""
    user = baker.make(User, username="staff", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label__in=("traffic", "operations"), codename__in=permissions
        ),
    )
    return _signed_in(user)


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


_OPERATIONS = ("apikey", "commandrun", "receiver", "delivery", "notification")


def url(name: str, *args: Any) -> str:
    app = "operations" if name.startswith(_OPERATIONS) else "traffic"
    return reverse(f"admin:{app}_{name}", args=args)


def a_subscriber(name: str = "Ann", **fields: Any) -> Subscriber:
    token = fields.pop("token", f"{name.replace(' ', '-')}-token-1234")
    return Subscriber.objects.create(name=name, token=token, **fields)


def form_of(subscriber: Subscriber, **changes: Any) -> dict[str, Any]:
    """What a browser sends for a subscriber's page when nothing but ``changes`` was edited."""
    expires = subscriber.expires_at
    return {
        "name": subscriber.name,
        "token": subscriber.token,
        "note": subscriber.note,
        "is_active": "on" if subscriber.is_active else "",
        "data_limit": "" if subscriber.data_limit is None else exact_size(subscriber.data_limit),
        "limit_reset": subscriber.limit_reset,
        "reset_day": subscriber.reset_day,
        "expires_at": day_before(expires).isoformat() if expires else "",
    } | changes


def act(client: Client, model: str, action: str, *objs: Any, query: str = "", **more: Any) -> Any:
    """Choose ``objs`` in a list and an action for them."""
    chosen = {"action": action, "_selected_action": [str(obj.pk) for obj in objs]} | more
    return client.post(url(f"{model}_changelist") + query, chosen, follow=True)


def text_of(response: Any) -> str:
    """The words of a page, without its tags."""
    return " ".join(_TAG.sub(" ", _INNER_TAG.sub("", response.content.decode())).split())


def listed(response: Any) -> list[str]:
    """The objects of a list, in the order shown."""
    return [str(obj) for obj in response.context["cl"].result_list]


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@contextmanager
def queries() -> Iterator[list[str]]:
    """Every statement sent within the block."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [query["sql"] for query in captured.captured_queries]

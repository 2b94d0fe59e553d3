"""Whom a subscription token of Marzban or PasarGuard names. A new one is made on every answer, and all stay valid.

The name in a token is only believed when ``GET {panel}/{path}/{token}/info`` accepts the token. Its answer holds
credentials, of which nothing but the name is read.
"""

import binascii
import os
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from django.db import IntegrityError
from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Lower
from django.utils import timezone

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from operations.outbound.errors import OutboundError
from traffic.models import Subscriber

from . import admin_tokens, handover, panel_client
from .conf import conf
from .models import PanelIdentity, PanelLink
from .token_checks import TokenChecks

# In base64url, followed by ten characters of signature, or in PasarGuard by a dot and an HMAC-SHA256.
_SIGNED = re.compile(r"([\w-]{10,190})[\w-]{10}|([\w-]{10,190})\.[\w-]{43}", re.ASCII)
# ``name,seconds``, or in PasarGuard ``v3,id,seconds``.
_PAYLOAD = re.compile(rb"(?:(?P<name>[A-Za-z0-9_.@-]{1,128})|v[23],\d{1,18}),\d{9,12}")
# The answer lists a person's links, one per inbound and host.
_LIMITS = msgspec.structs.replace(panel_client.LIMITS, body=2**20)


# Seconds: whoever is limited or switched off must not get servers for longer.
_FRESH = 5.0


class Person(msgspec.Struct, frozen=True):
    """Whom a panel knows by a token. ``status``: in Marzban's words; empty if the panel does not say.

    ``id``: as PasarGuard gives it, whose nodes know nothing else of a user.
    """

    username: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    status: str = ""
    id: int | None = None

    @property
    def may_connect(self) -> bool:
        return self.status in {"active", "on_hold"}


def is_subscription_token(token: str) -> bool:
    """Whether a token has a form that Marzban or PasarGuard makes. A user name alone has not."""
    if admin_tokens.is_jwt(token):
        return admin_tokens.claims(token).get("access") == "subscription"
    return bool(_payload(token))


def claimed_name(token: str) -> str:
    """The name in a subscription token, which nobody has confirmed; empty if it holds none."""
    if admin_tokens.is_jwt(token):
        name = admin_tokens.claims(token).get("sub")
        return name if isinstance(name, str) else ""
    found = _payload(token)
    return found["name"].decode() if found and found["name"] else ""


def _payload(token: str) -> re.Match[bytes] | None:
    signed = _SIGNED.fullmatch(token)
    if not signed:
        return None
    encoded = signed[1] or signed[2]
    try:
        decoded = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        return None
    return _PAYLOAD.fullmatch(decoded)


def known(link: PanelLink, name: str) -> Subscriber | None:
    """The subscriber of a user of the panel, if they have one, with the balance."""
    found = _by_name(link, name, "subscriber__balance") if link.pk else None
    return found.subscriber if found else None


def own_token(token: str) -> str | None:
    """The panel's own token of the person whom a Marzban subscription token names; None when it names nobody.

    A person whom the panel does not know yet becomes a subscriber. Raises OutboundError when no Marzban says yes, and
    one does not say.
    """
    if not is_subscription_token(token):
        return None
    links = _links()
    if not links or Subscriber.objects.filter(token=token).exists():
        return None
    failure: OutboundError | None = None
    for link in links:
        try:
            person = _checks.verdict(_address(link), token)
        except OutboundError as error:
            failure = error
            continue
        if person:
            return token_of(saved(link), person)
    if failure:
        raise failure
    return None


def question(link: PanelLink, token: str) -> Callable[[], Person | None]:
    """Ask this one panel whom a token names and whether they may connect; the result waits for its answer.

    Both raise OutboundError.
    """
    return _checks.question(_address(link), token, newer_than=_FRESH)


def of_setting() -> PanelLink | None:
    """The panel of XPERT_MARZBAN_URL, while no link has its address. ``saved`` makes the link."""
    url = conf.marzban_url
    if not url or PanelLink.objects.filter(url=url).exists():
        return None
    return PanelLink(name=url[:100], url=url)


def saved(link: PanelLink) -> PanelLink:
    """The link in the database: the one of XPERT_MARZBAN_URL is made with its first person."""
    if link.pk is not None:
        return link
    try:
        return _made(link.url)
    except IntegrityError:  # another writer was faster
        return PanelLink.objects.get(url=link.url)


@write_transaction
def _made(url: str) -> PanelLink:
    known = PanelLink.objects.filter(url=url).first()
    if known:
        return known
    last = PanelLink.objects.aggregate(last=Max("number"))["last"]
    made = PanelLink.objects.create(name=url[:100], url=url, number=0 if last is None else last + 1)
    audit.note(Action.ADDED, made, By("XPERT_MARZBAN_URL", timezone.now()))
    return made


def token_of(link: PanelLink, person: Person) -> str:
    """The panel's own token of a person whom the linked panel has named. New people become subscribers."""
    known = _identity(link, person)
    if known and known.subscriber:
        return known.subscriber.token
    try:
        return _joined(link, person)
    except IntegrityError:  # another writer was faster
        return _joined(link, person)


def forget_all() -> None:
    _checks.begin_afresh()


def _links() -> Sequence[PanelLink]:
    """The panel whose admins sign in here, then those whose tokens are accepted besides."""
    is_chosen = Q(url=conf.marzban_url) if conf.marzban_url else Q(signs_in=True)
    wanted = PanelLink.objects.filter(is_chosen | Q(verifies_tokens=True))
    found = list(wanted.order_by("-signs_in", "number"))
    unlinked = of_setting()
    return [unlinked, *found] if unlinked else found


def _address(link: PanelLink) -> str:
    return f"{link.url}/{link.subscription_path}"


def _ask(url: str, token: str) -> Person | None:
    answer = panel_client.get(f"{url}/{token}/info", {}, _LIMITS)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise OutboundError(f"http_{answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=Person)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OutboundError("bad_response") from None


@write_transaction
def _joined(link: PanelLink, person: Person) -> str:
    known = _identity(link, person)
    if known and known.subscriber:
        return known.subscriber.token
    subscriber = Subscriber.objects.create(name=person.username)
    if known:
        PanelIdentity.objects.filter(pk=known.pk).update(subscriber=subscriber)
    else:
        PanelIdentity.objects.create(
            link=link, username=person.username, user_id=person.id, subscriber=subscriber
        )
    handover.set_up(link)
    return subscriber.token


def _identity(link: PanelLink, person: Person) -> PanelIdentity | None:
    by_id = None
    if person.id is not None:
        by_id = _current(link).select_related("subscriber").filter(user_id=person.id).first()
    return by_id or _by_name(link, person.username, "subscriber")


def _by_name(link: PanelLink, name: str, related: str) -> PanelIdentity | None:
    named = _current(link).alias(key=Lower("username")).filter(key=name.lower())
    return named.select_related(related).first()


def _current(link: PanelLink) -> QuerySet[PanelIdentity]:
    return PanelIdentity.objects.filter(link=link, closed_at=None)


_checks: TokenChecks[Person | None] = TokenChecks(_ask)
os.register_at_fork(after_in_child=forget_all)

"""What is stored. Thin: fields, order, names.

Direct configurations are born in ``direct_configs``, nodes in ``sources``, endpoints in
``reachability``, hits in ``hits``.
"""

import secrets
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Max
from django.db.models.signals import m2m_changed
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from traffic.models import Subscriber

from .guard import MAX_URL
from .links import MAX_LENGTH
from .links.common import MAX_REMARK

MAX_POSITION = 1_000_000


# Minutes. A provider's list hardly changes within five; a week is as good as never.
MIN_INTERVAL, MAX_INTERVAL = 5, 10_080

_M = TypeVar("_M", bound=models.Model)


def new_revision() -> int:
    return secrets.randbits(62)


class Edition(models.Model):
    """One row, one random number: which edition of the lists is the current one.

    Whatever changes what subscribers get draws it anew in the same transaction, so a reader
    that finds the number it knows has the list as it is, in every process. It is drawn
    *before* the change: all writers then queue for this row first, and no two of them
    deadlock over the rest.
    """

    revision = models.BigIntegerField(default=new_revision)

    def __str__(self) -> str:
        return str(self.revision)

    @staticmethod
    def current() -> int:
        """0 before the first change ever."""
        return Edition.objects.filter(pk=1).values_list("revision", flat=True).first() or 0

    @staticmethod
    def renew() -> None:
        Edition.objects.bulk_create(
            [Edition(pk=1, revision=new_revision())],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["revision"],
        )

    @staticmethod
    def lock() -> None:
        """For a transaction that will perhaps renew it, before it locks anything else."""
        Edition.objects.select_for_update().filter(pk=1).first()


class ListedQuerySet(models.QuerySet[_M]):
    """Rows of which the lists are made: what changes them renews the edition."""

    def update(self, **values: Any) -> int:
        with transaction.atomic(savepoint=False):
            Edition.renew()
            return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(savepoint=False):
            Edition.renew()
            return super().delete()

    def bulk_create(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> list[_M]:
        with transaction.atomic(savepoint=False):
            Edition.renew()
            return super().bulk_create(objs, *args, **kwargs)

    def update_quietly(self, **values: Any) -> int:
        """Of fields that are in no list."""
        return super().update(**values)


class Listed(models.Model):
    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(savepoint=False):
            Edition.renew()
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic(savepoint=False):
            Edition.renew()
            return super().delete(*args, **kwargs)


class Group(Listed):
    """Subscribers who get what others don't: a source, a node or a direct configuration may be limited to groups."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    subscribers = models.ManyToManyField(
        Subscriber,
        verbose_name=_("subscribers"),
        related_name="subscription_groups",
        blank=True,
        db_constraint=False,
    )

    objects: ClassVar[ListedQuerySet["Group"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("group of subscribers")
        verbose_name_plural = _("groups of subscribers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


def _groups() -> Any:
    return models.ManyToManyField(
        Group, verbose_name=_("groups"), blank=True, help_text=_("Only subscribers of these groups get it; none = all.")
    )


class DirectConfigQuerySet(ListedQuerySet["DirectConfig"]):
    def active(self) -> "DirectConfigQuerySet":
        return self.filter(is_active=True)

    def update(self, **values: Any) -> int:
        """As ever, but with the time of the change, like a save."""
        return super().update(**{"changed_at": timezone.now()} | values)


class DirectConfig(Listed):
    """A share link that the operator hands to every subscriber, or to some."""

    raw = models.CharField(_("link"), max_length=MAX_LENGTH)
    # Of ``raw``, which is too long to be unique by itself in PostgreSQL.
    raw_hash = models.CharField(max_length=64, unique=True, editable=False)
    protocol = models.CharField(_("protocol"), max_length=32, editable=False)
    server = models.CharField(_("server"), max_length=253, editable=False)
    port = models.PositiveIntegerField(_("port"), editable=False)
    remarks = models.CharField(
        _("name"), max_length=MAX_REMARK, blank=True, help_text=_("Empty = the link's own name.")
    )
    is_active = models.BooleanField(pgettext_lazy("configuration", "active"), default=True)
    position = models.PositiveIntegerField(
        _("position"), blank=True, validators=[MaxValueValidator(MAX_POSITION)], help_text=_("Empty = at the end.")
    )
    groups = _groups()
    added_at = models.DateTimeField(_("added"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    objects: ClassVar[DirectConfigQuerySet] = DirectConfigQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("direct configuration")
        verbose_name_plural = _("direct configurations")
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.remarks or f"{self.protocol} {self.server}:{self.port}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Also puts a configuration without a position at the end."""
        if self.position is None:
            self.position = next_position()
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "changed_at"}
        super().save(*args, **kwargs)


def next_position() -> int:
    """Behind all others: of equal positions the younger row comes last."""
    return min((DirectConfig.objects.aggregate(last=Max("position"))["last"] or 0) + 1, MAX_POSITION)


def _figure() -> Any:
    """What a provider said of himself: bytes or Unix seconds; None = nothing."""
    return models.BigIntegerField(null=True, editable=False)


class Source(Listed):
    """A subscription of another provider, whose servers go into ours. Its URL is a secret: who has it has the servers."""

    name = models.CharField(_("name"), max_length=100)
    url = models.CharField(_("URL"), max_length=MAX_URL, unique=True)
    enabled = models.BooleanField(_("enabled"), default=True, help_text=_("Off: not fetched, and its servers go."))
    priority = models.PositiveIntegerField(
        _("priority"),
        default=100,
        validators=[MaxValueValidator(MAX_POSITION)],
        help_text=_("The smallest comes first; of two equal servers the first is kept."),
    )
    interval = models.PositiveIntegerField(
        _("interval"),
        default=60,
        validators=[MinValueValidator(MIN_INTERVAL), MaxValueValidator(MAX_INTERVAL)],
        help_text=_("Minutes between two fetches."),
    )
    allow_private = models.BooleanField(
        _("inside your own network"),
        default=False,
        help_text=_("Lets this source, and servers it names, be at private addresses, and its URL be http."),
    )
    groups = _groups()
    added_at = models.DateTimeField(_("added"), auto_now_add=True)

    etag = models.CharField(max_length=255, blank=True, editable=False)
    last_modified = models.CharField(max_length=64, blank=True, editable=False)
    last_fetched = models.DateTimeField(_("last fetched"), null=True, editable=False)
    last_success = models.DateTimeField(_("last success"), null=True, editable=False)
    # A code, never a text from outside; empty = the last fetch went well.
    last_error = models.CharField(_("last error"), max_length=32, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    next_fetch = models.DateTimeField(_("next fetch"), null=True, editable=False)
    # Somebody is fetching it; a claim that was never given back ends by itself.
    claimed_until = models.DateTimeField(null=True, editable=False)
    milliseconds = models.PositiveIntegerField(_("milliseconds"), null=True, editable=False)
    size = models.PositiveIntegerField(_("bytes"), null=True, editable=False)
    parsed = models.PositiveIntegerField(_("servers"), null=True, editable=False)
    skipped = models.JSONField(_("lines left out"), default=dict, editable=False)
    # The provider's own Subscription-Userinfo: never shown to subscribers.
    provider_upload = _figure()
    provider_download = _figure()
    provider_total = _figure()
    provider_expire = _figure()

    objects: ClassVar[ListedQuerySet["Source"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("source")
        verbose_name_plural = _("sources")
        ordering = ["priority", "id"]

    def __str__(self) -> str:
        return self.name


class Node(Listed):
    """A server as a source names it. ``fingerprint``: of all that matters for a connection, so not of its name."""

    source = models.ForeignKey(Source, models.CASCADE, related_name="nodes", verbose_name=_("source"))
    fingerprint = models.CharField(max_length=64, editable=False)
    raw = models.CharField(_("link"), max_length=MAX_LENGTH, editable=False)
    protocol = models.CharField(_("protocol"), max_length=32, editable=False)
    server = models.CharField(_("server"), max_length=253, editable=False)
    port = models.PositiveIntegerField(_("port"), editable=False)
    # Nobody answers a TCP connection there, and that means nothing.
    is_udp = models.BooleanField(default=False, editable=False)
    remarks = models.CharField(_("name"), max_length=MAX_REMARK, blank=True, editable=False)
    position = models.PositiveIntegerField(_("position"), editable=False)
    first_seen = models.DateTimeField(_("first seen"), editable=False)
    last_seen = models.DateTimeField(_("last seen"), editable=False)
    is_present = models.BooleanField(_("in the source"), default=True, editable=False)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    groups = _groups()

    objects: ClassVar[ListedQuerySet["Node"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("server of a source")
        verbose_name_plural = _("servers of sources")
        ordering = ["source__priority", "source_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["source", "fingerprint"], name="subscriptions_node_once_a_source")
        ]
        indexes = [models.Index(fields=["server", "port"], name="subscriptions_node_endpoint")]

    def __str__(self) -> str:
        return self.remarks or f"{self.protocol} {self.server}:{self.port}"


class Endpoint(models.Model):
    """Where servers of lists listen, and whether a TCP connection to it was answered. ``latency``: milliseconds."""

    class State(models.TextChoices):
        UP = "up", _("up")
        DOWN = "down", _("down")

    server = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    state = models.CharField(max_length=4, choices=State)
    down_since = models.DateTimeField(null=True)
    latency = models.PositiveIntegerField(null=True)
    # Percent of the tries of the last check that failed.
    loss = models.PositiveSmallIntegerField(default=0)
    checked_at = models.DateTimeField()
    # How often it was checked; says which slot of the history comes next.
    checks = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        constraints = [models.UniqueConstraint(fields=["server", "port"], name="subscriptions_endpoint_once")]

    def __str__(self) -> str:
        return f"{self.server}:{self.port}"


class EndpointCheck(models.Model):
    """One check in the history of an endpoint: a ring, the oldest slot is written over."""

    pk = models.CompositePrimaryKey("endpoint_id", "slot")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="history", db_index=False)
    slot = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    latency = models.PositiveIntegerField(null=True)
    loss = models.PositiveSmallIntegerField()

    class Meta:
        verbose_name = _("check of an endpoint")
        verbose_name_plural = _("checks of endpoints")

    def __str__(self) -> str:
        return f"{self.endpoint_id} at {self.at:%Y-%m-%d %H:%M:%S}"


_LIMITED = (Source.groups.through, Node.groups.through, DirectConfig.groups.through)


def _renew_edition(sender: Any, action: str, **_: Any) -> None:
    """Django writes these rows itself, past our query sets."""
    if sender in _LIMITED and action.startswith("pre_"):
        Edition.renew()


m2m_changed.connect(_renew_edition, dispatch_uid="subscriptions.edition")


class SubscriptionHit(models.Model):
    """One subscription request of a known subscriber.

    It has an id of its own although it grows with subscribers (docs: scaling, rule 1): it is
    a log that retention keeps short, no sum is made from it, and the admin can't show a
    model with a composite key. On Citus it stays a local table of the coordinator.
    """

    at = models.DateTimeField(_("time"))
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        related_name="hits",
        verbose_name=_("subscriber"),
        db_constraint=False,
        db_index=False,
    )
    format = models.CharField(_("format"), max_length=16, blank=True)
    client = models.CharField(_("app"), max_length=32)
    status = models.PositiveSmallIntegerField(_("status"))
    milliseconds = models.PositiveIntegerField(_("milliseconds"))
    address = models.CharField(_("network"), max_length=39, blank=True)

    class Meta:
        verbose_name = _("subscription request")
        verbose_name_plural = _("subscription requests")
        ordering = ["-id"]
        # The newest of one subscriber. Retention needs no index: ids rise with time.
        indexes = [models.Index(fields=["subscriber", "-id"], name="subscriptions_hit_newest")]

    def __str__(self) -> str:
        return f"{self.client} at {self.at:%Y-%m-%d %H:%M:%S}"

"""Tables of ``subscriptions``: fields, ordering, names.

Direct configurations are written by ``direct_configs``, nodes by ``refreshing``, endpoints by
``reachability``, hits by ``hits``.
"""

import secrets
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Max
from django.db.models.signals import m2m_changed
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from operations.databases.transactions import write_transaction
from operations.hosts import join_host_port
from operations.outbound.url_policy import MAX_URL
from subscriptions.links.common import MAX_REMARK
from traffic.models import Plan, Subscriber

from .links import MAX_LENGTH

MAX_POSITION = 1_000_000


# Minutes. A provider's list hardly ever changes within five.
MIN_INTERVAL, MAX_INTERVAL = 5, 10_080

_M = TypeVar("_M", bound=models.Model)


def new_revision() -> int:
    return secrets.randbits(62)


class Edition(models.Model):
    """One row with one random number, which identifies the current edition of the lists and the brand.

    Every change of what subscribers get draws a new number in the same transaction. A process that
    finds the number it knows therefore has the current list. The number is drawn *before* the
    change, so that all writers queue for this row first and do not deadlock over other rows.
    """

    revision = models.BigIntegerField(default=new_revision)

    def __str__(self) -> str:
        return str(self.revision)

    @staticmethod
    def current() -> int:
        """The current number; 0 before the first change."""
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
        """Lock the row at the start of a transaction that may renew it later."""
        Edition.objects.select_for_update().filter(pk=1).first()


class ListedQuerySet(models.QuerySet[_M]):
    """Rows that appear in lists, and the brand; every change renews the edition."""

    def update(self, **values: Any) -> int:
        with write_transaction(savepoint=False):
            Edition.renew()
            return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        with write_transaction(savepoint=False):
            Edition.renew()
            return super().delete()

    def bulk_create(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> list[_M]:
        with write_transaction(savepoint=False):
            Edition.renew()
            return super().bulk_create(objs, *args, **kwargs)

    def update_quietly(self, **values: Any) -> int:
        """Update fields that no list shows, without a new edition."""
        return super().update(**values)


class Listed(models.Model):
    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        with write_transaction(savepoint=False):
            Edition.renew()
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with write_transaction(savepoint=False):
            Edition.renew()
            return super().delete(*args, **kwargs)


class Group(Listed):
    """Subscribers who get servers that others do not: sources, nodes and direct configurations may be limited to groups."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    subscribers = models.ManyToManyField(
        Subscriber,
        verbose_name=_("subscribers"),
        related_name="subscription_groups",
        blank=True,
        db_constraint=False,
    )
    plans = models.ManyToManyField(
        Plan,
        verbose_name=_("plans"),
        related_name="subscription_groups",
        blank=True,
        db_constraint=False,
        help_text=_(
            "When one of these plans is applied to subscribers, they join this group and leave those that the plan "
            "does not have. A plan in no group leaves them where they are."
        ),
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
        Group,
        verbose_name=_("groups"),
        blank=True,
        help_text=_("Only subscribers in these groups get it; empty = everyone."),
    )


class DirectConfigQuerySet(ListedQuerySet["DirectConfig"]):
    def active(self) -> "DirectConfigQuerySet":
        return self.filter(is_active=True)

    def update(self, **values: Any) -> int:
        """Like Django's update, but also sets the time of the change, as ``save`` does."""
        return super().update(**{"changed_at": timezone.now()} | values)


class DirectConfig(Listed):
    """A share link that all subscribers get, or those of some groups."""

    raw = models.CharField(_("link"), max_length=MAX_LENGTH)
    # A hash of ``raw``, which is too long for a unique index in PostgreSQL.
    raw_hash = models.CharField(max_length=64, unique=True, editable=False)
    protocol = models.CharField(_("protocol"), max_length=32, editable=False)
    server = models.CharField(_("server"), max_length=253, editable=False)
    port = models.PositiveIntegerField(_("port"), editable=False)
    remarks = models.CharField(
        _("name"), max_length=MAX_REMARK, blank=True, help_text=_("Empty = the name in the link.")
    )
    is_active = models.BooleanField(pgettext_lazy("configuration", "active"), default=True)
    position = models.PositiveIntegerField(
        _("position"),
        blank=True,
        validators=[MaxValueValidator(MAX_POSITION)],
        help_text=_("Empty = at the end."),
    )
    groups = _groups()
    added_at = models.DateTimeField(_("added"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    secret_fields = frozenset({"raw"})

    objects: ClassVar[DirectConfigQuerySet] = DirectConfigQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("direct configuration")
        verbose_name_plural = _("direct configurations")
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.remarks or f"{self.protocol} {join_host_port(self.server, self.port)}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Put a configuration without a position at the end, then save."""
        if self.position is None:
            self.position = next_position()
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "changed_at"}
        super().save(*args, **kwargs)


def next_position() -> int:
    """The position after all others; of equal positions the newer row comes last."""
    return min(
        (DirectConfig.objects.aggregate(last=Max("position"))["last"] or 0) + 1, MAX_POSITION
    )


def _figure() -> Any:
    """A figure that the provider reports: bytes or Unix seconds; None = unknown."""
    return models.BigIntegerField(null=True, editable=False)


class Source(Listed):
    """Another provider's subscription, whose servers are added to ours. Its URL is a secret, because it opens the servers."""

    name = models.CharField(_("name"), max_length=100)
    url = models.CharField(_("URL"), max_length=MAX_URL, unique=True)
    enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_("Off: it is not fetched, and subscribers do not get its servers."),
    )
    priority = models.PositiveIntegerField(
        _("priority"),
        default=100,
        validators=[MaxValueValidator(MAX_POSITION)],
        help_text=_(
            "The lowest number comes first; a server in several sources is taken from the first."
        ),
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
        help_text=_("Allows private addresses for this source and its servers, and an http URL."),
    )
    keep = models.CharField(
        _("take only"),
        max_length=200,
        blank=True,
        help_text=_(
            "A regular expression for names, without regard to case, like <code>DE|Germany</code>. Empty = all."
        ),
    )
    drop = models.CharField(
        _("leave out"),
        max_length=200,
        blank=True,
        help_text=_("The same for names of servers that nobody gets. It wins over “take only”."),
    )
    rename = models.TextField(
        _("rename"),
        max_length=4000,
        blank=True,
        help_text=_(
            "One rule per line: <code>pattern =&gt; replacement</code>, where <code>\\1</code> is the first group. At most 20."
        ),
    )
    prefix = models.CharField(
        _("prefix"), max_length=40, blank=True, help_text=_("In front of each name.")
    )
    flags = models.BooleanField(
        _("flags"),
        default=False,
        help_text=_("The flag of the country that a name tells, unless the name has one."),
    )
    groups = _groups()
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="sources",
        verbose_name=_("account of"),
        db_constraint=False,
        help_text=_(
            "Only this subscriber gets its servers, and what the provider says was used counts as their usage. "
            "Empty = a shared account."
        ),
    )
    added_at = models.DateTimeField(_("added"), auto_now_add=True)

    etag = models.CharField(max_length=255, blank=True, editable=False)
    last_modified = models.CharField(max_length=64, blank=True, editable=False)
    last_fetched = models.DateTimeField(_("last fetched"), null=True, editable=False)
    last_success = models.DateTimeField(_("last success"), null=True, editable=False)
    # A code, never text from the source; empty = the last fetch succeeded.
    last_error = models.CharField(_("last error"), max_length=32, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    next_fetch = models.DateTimeField(_("next fetch"), null=True, editable=False)
    # While it is being fetched; a claim that was never given back expires.
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

    secret_fields = frozenset({"url"})

    objects: ClassVar[ListedQuerySet["Source"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("source")
        verbose_name_plural = _("sources")
        ordering = ["priority", "id"]

    def __str__(self) -> str:
        return self.name


class Template(Listed):
    """An operator's own skeleton of the lists of one format, in place of the built-in one.

    ``failed_at`` and ``failure``: since when, and why, people get the built-in list instead; empty after each change.
    """

    class Format(models.TextChoices):
        MIHOMO = "mihomo", "mihomo"
        SING_BOX = "sing-box", "sing-box"
        XRAY = "xray", "Xray"

    name = models.CharField(_("name"), max_length=100, unique=True)
    format = models.CharField(_("format"), max_length=16, choices=Format)
    text = models.TextField(_("text"))
    in_use = models.BooleanField(
        _("in use"),
        default=False,
        help_text=_("Off: lists of this format are made as if the template did not exist."),
    )
    groups = _groups()
    changed_at = models.DateTimeField(_("changed"), auto_now=True)
    failed_at = models.DateTimeField(_("failing since"), null=True, editable=False)
    failure = models.CharField(max_length=32, blank=True, editable=False)

    # It may hold servers of the operator's own.
    secret_fields = frozenset({"text"})

    objects: ClassVar[ListedQuerySet["Template"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("template of lists")
        verbose_name_plural = _("templates of lists")
        ordering = ["format", "name"]

    def __str__(self) -> str:
        return self.name


class ProviderUsage(models.Model):
    """By how much the used traffic grew on a UTC day, in bytes, according to a source's provider."""

    source = models.ForeignKey(Source, models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    upload = models.BigIntegerField(default=0)
    download = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("usage according to a provider")
        verbose_name_plural = _("usage according to providers")
        # It is shown on the page of its source.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["source", "day"], name="subscriptions_providerusage_once_a_day"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source_id} on {self.day}"


class Node(Listed):
    """A server as its source lists it. ``fingerprint``: a hash of everything that matters for a connection, without the name."""

    source = models.ForeignKey(
        Source, models.CASCADE, related_name="nodes", verbose_name=_("source")
    )
    fingerprint = models.CharField(max_length=64, editable=False)
    raw = models.CharField(_("link"), max_length=MAX_LENGTH, editable=False)
    protocol = models.CharField(_("protocol"), max_length=32, editable=False)
    server = models.CharField(_("server"), max_length=253, editable=False)
    port = models.PositiveIntegerField(_("port"), editable=False)
    # A UDP server does not answer TCP, so a failed TCP check means nothing.
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
            models.UniqueConstraint(
                fields=["source", "fingerprint"], name="subscriptions_node_once_a_source"
            )
        ]
        indexes = [models.Index(fields=["server", "port"], name="subscriptions_node_endpoint")]

    def __str__(self) -> str:
        return self.remarks or f"{self.protocol} {join_host_port(self.server, self.port)}"


class Endpoint(models.Model):
    """Host and port of listed servers, and whether they answer a TCP connection. ``latency``: milliseconds."""

    class State(models.TextChoices):
        UP = "up", _("up")
        DOWN = "down", _("down")

    server = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    state = models.CharField(max_length=4, choices=State)
    down_since = models.DateTimeField(null=True)
    latency = models.PositiveIntegerField(null=True)
    # Percent of failed tries in the last check.
    loss = models.PositiveSmallIntegerField(default=0)
    checked_at = models.DateTimeField()
    # Number of checks; it selects the next slot of the history.
    checks = models.PositiveIntegerField(default=0)
    # Checks in a row with this state, and the state that has held for XPERT_SERVER_CHECKS of them. ``settled_at``
    # is empty while a new server has only been up.
    streak = models.PositiveIntegerField(default=0, db_default=0)
    settled = models.CharField(max_length=4, choices=State, default="", db_default="")
    settled_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        constraints = [
            models.UniqueConstraint(fields=["server", "port"], name="subscriptions_endpoint_once")
        ]

    def __str__(self) -> str:
        return join_host_port(self.server, self.port)


class EndpointCheck(models.Model):
    """One check in the history of an endpoint, a ring in which the oldest slot is overwritten."""

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


_LIMITED = (
    Source.groups.through,
    Node.groups.through,
    DirectConfig.groups.through,
    Template.groups.through,
)


def _renew_edition(sender: Any, action: str, **_: Any) -> None:
    """Renew the edition for many-to-many rows, which Django writes without our query sets."""
    if sender in _LIMITED and action.startswith("pre_"):
        Edition.renew()


m2m_changed.connect(_renew_edition, dispatch_uid="subscriptions.edition")


class SubscriptionHit(models.Model):
    """One subscription request of a known subscriber.

    It has its own id although it grows with subscribers, because retention keeps it short, no sums
    are made from it, and the admin cannot show a model with a composite key. On Citus it stays a
    local table of the coordinator.
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
        # For the newest hits of one subscriber. Retention needs no index, because ids rise with time.
        indexes = [models.Index(fields=["subscriber", "-id"], name="subscriptions_hit_newest")]

    def __str__(self) -> str:
        return f"{self.client} at {self.at:%Y-%m-%d %H:%M:%S}"


class ToldPerson(models.Model):
    """A subscriber who wants to be notified when the subscription runs out, in their own language."""

    subscriber = models.OneToOneField(
        Subscriber, models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )
    language = models.CharField(_("language"), max_length=2)

    class Meta:
        verbose_name = _("subscriber who is notified")
        verbose_name_plural = _("subscribers who are notified")
        # People choose this themselves.
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.subscriber_id} in {self.language}"


class Device(models.Model):
    """A device whose app has fetched a list while the subscriber's devices are limited.

    ``fingerprint``: a keyed hash of what the app sends as its id, which is not stored. ``app``: a name of ``clients``.
    It has its own id, because the admin and REST name a device by it.
    """

    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        related_name="devices",
        verbose_name=_("subscriber"),
        db_constraint=False,
        db_index=False,
    )
    fingerprint = models.CharField(max_length=64, editable=False)
    system = models.CharField(_("system"), max_length=64, blank=True)
    system_version = models.CharField(_("version"), max_length=64, blank=True)
    model = models.CharField(_("model"), max_length=64, blank=True)
    app = models.CharField(_("app"), max_length=32, blank=True)
    first_seen = models.DateTimeField(_("first seen"))
    last_seen = models.DateTimeField(_("last seen"))

    secret_fields = frozenset({"fingerprint"})

    class Meta:
        verbose_name = _("device")
        verbose_name_plural = _("devices")
        # It is shown on the page of its subscriber.
        default_permissions = ()
        ordering = ["first_seen", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "fingerprint"], name="subscriptions_device_once"
            )
        ]

    def __str__(self) -> str:
        parts = (self.model, self.system, self.system_version)
        return " ".join(filter(None, parts)) or self.app or f"#{self.pk}"


class Brand(Listed):
    """One row: how the panel presents itself to subscribers. An empty field keeps the default of the panel.

    ``logo``: the bytes of a picture of type ``logo_type``. ``apps``: the names of those that the page offers.
    ``line_formats``: formats whose lists end with a line that tells what is left; ``line_…``: its text by language.
    ``happ_routing``: a link of Happ with its routing rules, which only Happ gets.
    """

    title = models.CharField(_("title"), max_length=60, blank=True)
    logo = models.BinaryField(default=bytes)
    logo_type = models.CharField(max_length=20, blank=True, editable=False)
    colour = models.CharField(
        _("colour"), max_length=7, blank=True, validators=[RegexValidator(r"\A#[0-9a-fA-F]{6}\Z")]
    )
    announcement = models.CharField(_("announcement"), max_length=200, blank=True)
    support_url = models.CharField(_("support"), max_length=500, blank=True)
    renewal_url = models.CharField(_("renewal"), max_length=500, blank=True)
    apps = models.JSONField(_("apps"), default=list, blank=True)
    line_formats = models.JSONField(_("remainder in lists"), default=list, blank=True)
    line_en = models.CharField(_("line in English"), max_length=200, blank=True)
    line_ru = models.CharField(_("line in Russian"), max_length=200, blank=True)
    line_fa = models.CharField(_("line in Persian"), max_length=200, blank=True)
    happ_routing = models.CharField(_("routing of Happ"), max_length=3000, blank=True)

    objects: ClassVar[ListedQuerySet["Brand"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("branding")
        verbose_name_plural = _("branding")

    def __str__(self) -> str:
        return self.title or str(self._meta.verbose_name)

    @classmethod
    def current(cls) -> "Brand":
        """Without a row: all fields empty. Without the logo, which only pages need."""
        return cls.objects.filter(pk=1).defer("logo").first() or cls(pk=1)

    def stored_logo(self) -> bytes:
        """Read on each call, so that a brand that is kept in memory does not hold a picture."""
        if not self.logo_type:
            return b""
        return bytes(Brand.objects.filter(pk=self.pk).values_list("logo", flat=True).first() or b"")

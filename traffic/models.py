"""Tables of ``traffic``: fields, constraints, names. ``recording`` writes the rows, ``statistics`` reads them."""

import secrets
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from operations.conf import MAX_DAYS
from operations.hosts import join_host_port
from operations.models import ApiKey

from .fields import DayField, HourField, SecondField
from .periods import EPOCH
from .querysets import BalanceQuerySet, ServerQuerySet, SubscriberQuerySet, SumsQuerySet
from .reports import is_token

# The maximum of every stored counter: sums of eight counters still fit 64 bits.
MAX_COUNTER = 2**60
# Each fetch of a list reads that many rows at most.
MAX_DEVICES = 100
# In place of a subscriber's id: rows of nobody, or of all subscribers together. Real ids begin at 1.
NOBODY = 0


def new_token() -> str:
    return secrets.token_urlsafe(32)


def validate_token(value: str) -> None:
    if not is_token(value):
        raise ValidationError(
            _("1 to 255 characters of A-Z a-z 0-9 . _ ~ @ : = + -, and none of the reserved words.")
        )


def _counter() -> "models.BigIntegerField[int, int]":
    """A counter with a database default, because upserts name only the columns that they add to."""
    return models.BigIntegerField(default=0, db_default=0, editable=False)


def _bounded(name: str, *fields: str) -> models.CheckConstraint:
    inside = models.Q(**{f"{field}__range": (0, MAX_COUNTER) for field in fields})
    return models.CheckConstraint(condition=inside, name=name)


def _device_limit() -> Any:
    return models.PositiveSmallIntegerField(
        _("devices"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DEVICES)],
        help_text=_("How many devices get the list; empty = any number."),
    )


class Reset(models.TextChoices):
    """How often the usage that counts towards a data limit starts again from zero."""

    NEVER = "never", _("never")
    DAILY = "daily", _("every day")
    WEEKLY = "weekly", _("every Monday")
    MONTHLY = "monthly", _("every month")
    YEARLY = "yearly", _("every 1 January")
    INTERVAL = "interval", _("every N days")


class Allowance(models.Model):
    """A data limit, and how often the usage that counts towards it starts again from zero.

    The database knows the defaults too: programs that write rows without Django need not know the columns.
    """

    data_limit = models.BigIntegerField(
        _("data limit"), null=True, blank=True, help_text=_("Bytes; empty = unlimited.")
    )
    limit_reset = models.CharField(
        _("limit reset"), max_length=10, choices=Reset, default=Reset.NEVER
    )
    reset_day = models.PositiveSmallIntegerField(
        _("day of the month"),
        default=1,
        db_default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
        help_text=_("1 to 31, for “every month”; a shorter month takes its last day."),
    )
    reset_days = models.PositiveSmallIntegerField(
        _("days of a period"),
        default=30,
        db_default=30,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)],
        help_text=_("N of “every N days”, counted from the start."),
    )

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=models.Q(data_limit=None) | models.Q(data_limit__range=(1, MAX_COUNTER)),
                name="%(app_label)s_%(class)s_data_limit_is_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(reset_day__range=(1, 31)),
                name="%(app_label)s_%(class)s_reset_day_is_in_a_month",
            ),
            models.CheckConstraint(
                condition=models.Q(reset_days__range=(1, MAX_DAYS)),
                name="%(app_label)s_%(class)s_reset_days_are_positive",
            ),
        ]

    def reset_text(self) -> str:
        """The reset in words, with its number of days."""
        if self.limit_reset != Reset.INTERVAL:
            return str(Reset(self.limit_reset).label)
        return ngettext("every %d day", "every %d days", self.reset_days) % self.reset_days


def now_in_seconds() -> datetime:
    return timezone.now().replace(microsecond=0)


class Metered(Allowance):
    """An allowance whose usage is counted.

    ``started_at``: the start from which “every N days” counts. ``reset_at``: when an operator restarted the period;
    earlier reports do not count in it.
    """

    started_at = SecondField(default=now_in_seconds, db_default=0, editable=False)
    reset_at = SecondField(_("period restarted"), null=True, blank=True, editable=False)

    class Meta(Allowance.Meta):
        abstract = True


class Plan(Allowance):
    """A product: applied to a subscriber it sets limit and term, and *renew* extends by its days."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    days = models.PositiveIntegerField(
        _("days"),
        null=True,
        blank=True,
        help_text=_("How long it lasts; empty = for ever."),
    )
    from_first_use = models.BooleanField(
        _("from first use"),
        default=False,
        db_default=False,
        help_text=_("The days begin with the first report or the first fetch of the list."),
    )
    device_limit = _device_limit()

    class Meta(Allowance.Meta):
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Reseller(models.Model):
    """A member of the staff who sees and manages only the subscribers of their own, with a quota. Rarely written.

    ``carried``: bytes that subscribers used here before they left, less those that subscribers had used before they
    came. Usage = life of the present subscribers + carried. ``counted_from``: the usage at the last restart; only what
    is above it counts towards the quota.
    """

    name = models.CharField(_("name"), max_length=100, unique=True)
    account = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("account"),
        null=True,
        blank=True,
        related_name="+",
        db_constraint=False,
        help_text=_("Who signs in; without an account nobody does, and the subscribers stay."),
    )
    people_limit = models.PositiveIntegerField(
        _("subscribers at most"),
        null=True,
        blank=True,
        help_text=_("Deleted ones do not count; empty = any number."),
    )
    data_limit = models.BigIntegerField(
        _("traffic quota"), null=True, blank=True, help_text=_("Bytes; empty = unlimited.")
    )
    note = models.TextField(_("note"), blank=True)
    carried = models.BigIntegerField(default=0, db_default=0, editable=False)
    counted_from = models.BigIntegerField(default=0, db_default=0, editable=False)
    restarted_at = models.DateTimeField(_("count restarted"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("reseller")
        verbose_name_plural = _("resellers")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(data_limit=None) | models.Q(data_limit__range=(1, MAX_COUNTER)),
                name="traffic_reseller_data_limit_is_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Subscriber(Metered):
    """The person behind a ``user_token``. Rarely written, because the counters are in ``Balance``."""

    Reset = Reset
    # Fields whose moment is shown to people as the last day before it.
    LAST_DAYS = frozenset({"expires_at"})

    class Suspension(models.TextChoices):
        DISABLED = "disabled", _("switched off")
        EXPIRED = "expired", _("expired")
        LIMITED = "limited", _("over the limit")

    token = models.CharField(
        _("token"), max_length=255, unique=True, default=new_token, validators=[validate_token]
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    note = models.TextField(_("note"), blank=True)
    # The database knows the default too: whatever writes rows without Django need not know the column.
    external_id = models.CharField(
        _("external ID"),
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text=_("What a shop or a bot calls this subscriber; no two have the same."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    # On hold as long as it is set. An expiry beside it is the last moment at which the term can begin.
    hold_days = models.PositiveIntegerField(
        _("days from first use"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)],
        help_text=_(
            "The term begins with the first report or the first fetch of the list; until then the subscriber is on hold."
        ),
    )
    device_limit = _device_limit()
    # Whether there is a row of ``NextPlan``.
    has_next = models.BooleanField(default=False, db_default=False, editable=False)
    # Since when every cleanup has found the data limit used up.
    used_up_since = SecondField(null=True, editable=False)
    plan = models.ForeignKey(
        Plan,
        models.SET_NULL,
        verbose_name=_("plan"),
        null=True,
        blank=True,
        related_name="subscribers",
        db_constraint=False,
        help_text=_("Sets limit and term when it is applied."),
    )
    reseller = models.ForeignKey(
        Reseller,
        models.SET_NULL,
        verbose_name=_("reseller"),
        null=True,
        blank=True,
        related_name="subscribers",
        db_constraint=False,
        help_text=_("Who sells to this subscriber; empty = the panel itself."),
    )
    # What a linked panel says of the person, beside the fields above: the stricter applies. Empty = active there.
    suspension = models.CharField(
        _("suspended by a linked panel"),
        max_length=10,
        choices=Suspension,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    # Deleting only hides the row, so that past sums do not change.
    hidden_at = models.DateTimeField(_("hidden"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects: ClassVar[SubscriberQuerySet] = SubscriberQuerySet.as_manager()  # type: ignore[assignment]

    class Meta(Metered.Meta):
        verbose_name = _("subscriber")
        verbose_name_plural = _("subscribers")
        ordering = ["-id"]
        permissions = [("hand_out_link", _("Can take subscription links from lists and downloads"))]
        constraints = [
            *Metered.Meta.constraints,
            models.UniqueConstraint(
                fields=["external_id"],
                condition=~models.Q(external_id=""),
                name="traffic_subscriber_external_id_is_unique",
                violation_error_message=_("Another subscriber has this external ID."),
            ),
        ]
        # Meters name people by either, letter case apart.
        indexes = [
            models.Index(Lower("token"), name="traffic_subscriber_by_token"),
            models.Index(Lower("name"), name="traffic_subscriber_by_name"),
            models.Index(
                fields=["id"],
                condition=models.Q(has_next=True),
                name="traffic_subscriber_with_next",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"


class NextPlan(models.Model):
    """A plan that was bought ahead: it begins by itself when the term or the data limit ends. The oldest is the next.

    ``renews``: it stays, and begins again and again.
    """

    class Begins(models.TextChoices):
        EITHER = "either", _("at the end of the term or of the data limit")
        TERM = "term", _("at the end of the term")
        QUOTA = "quota", _("at the end of the data limit")

    subscriber = models.ForeignKey(
        Subscriber, models.CASCADE, related_name="next_plans", db_constraint=False
    )
    plan = models.ForeignKey(
        Plan, models.PROTECT, verbose_name=_("plan"), related_name="+", db_constraint=False
    )
    begins = models.CharField(_("begins"), max_length=10, choices=Begins, default=Begins.EITHER)
    renews = models.BooleanField(
        _("renews by itself"),
        default=False,
        help_text=_("It begins again each time, until it is cancelled."),
    )
    added_at = models.DateTimeField(_("bought"))

    class Meta:
        verbose_name = _("next plan")
        verbose_name_plural = _("next plans")
        ordering = ["id"]

    def __str__(self) -> str:
        return str(self.plan)


class Balance(models.Model):
    """Counters of a subscriber, to which every report adds. They survive the cleanup of records.

    ``cleaned_*``: sums of the records that cleanup deleted; ``corrected_*``: sums of the corrections that were not
    undone. life = usage + cleaned + corrected.
    """

    subscriber = models.OneToOneField(
        Subscriber, models.PROTECT, primary_key=True, db_constraint=False
    )
    period_start = SecondField(default=EPOCH, db_default=0)
    period_upload = _counter()
    period_download = _counter()
    life_upload = _counter()
    life_download = _counter()
    life_reports = _counter()
    cleaned_upload = _counter()
    cleaned_download = _counter()
    cleaned_reports = _counter()
    # These two may be negative.
    corrected_upload = models.BigIntegerField(default=0, db_default=0, editable=False)
    corrected_download = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Bytes of the life that were booked as growth of totals: the sum of ``Meter.counted_*``.
    metered_upload = _counter()
    metered_download = _counter()
    # Latest use in the existing records; empty once cleanup has deleted the last of them.
    last_used_at = SecondField(null=True, db_index=True)

    objects: ClassVar[BalanceQuerySet] = BalanceQuerySet.as_manager()  # type: ignore[assignment]

    summed = (
        "period_upload", "period_download", "life_upload", "life_download", "life_reports",
        "cleaned_upload", "cleaned_download", "cleaned_reports", "corrected_upload", "corrected_download",
        "metered_upload", "metered_download",
    )  # fmt: skip

    class Meta:
        verbose_name = _("balance")
        verbose_name_plural = _("balances")
        constraints = [
            _bounded(
                "traffic_balance_counters",
                "period_upload",
                "period_download",
                "life_upload",
                "life_download",
            ),
        ]

    def __str__(self) -> str:
        return f"Balance of {self.subscriber_id}"


class Server(models.Model):
    """An external VPN server, by the name that reports use."""

    host = models.CharField(_("host"), max_length=253)
    port = models.PositiveIntegerField(_("port"))
    protocol = models.CharField(_("protocol"), max_length=32)
    name = models.CharField(_("name"), max_length=200, blank=True)
    hidden_at = models.DateTimeField(_("hidden"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("first seen"), auto_now_add=True)

    objects: ClassVar[ServerQuerySet] = ServerQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("server")
        verbose_name_plural = _("servers")
        ordering = ["host", "port", "protocol"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "port", "protocol"], name="traffic_server_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{join_host_port(self.host, self.port)} {self.protocol}"


class ServerLimit(Metered):
    """A data limit on some servers, of all subscribers together or of each. At the limit only these servers leave the lists.

    ``subscriber``, ``plan``: the limit is of that subscriber, or of each with that plan. ``origin``: what the servers
    belong to, if they are not one server: ``source:5``. The app that knows it keeps ``LimitedServer`` up to date.
    Usage of the hours from ``counted_from`` on is counted.
    """

    class Scope(models.TextChoices):
        EACH = "each", _("each subscriber by themselves")
        TOGETHER = "together", _("all subscribers together")

    name = models.CharField(
        _("name"),
        max_length=200,
        blank=True,
        help_text=_("Subscribers see it when the limit is used up; empty = that of the server."),
    )
    scope = models.CharField(_("counts"), max_length=10, choices=Scope, default=Scope.EACH)
    data_limit = models.BigIntegerField(_("data limit"))
    subscriber = models.ForeignKey(
        Subscriber,
        models.CASCADE,
        verbose_name=_("subscriber"),
        null=True,
        blank=True,
        related_name="server_limits",
        db_constraint=False,
        help_text=_("Only this subscriber; empty = all."),
    )
    plan = models.ForeignKey(
        Plan,
        models.CASCADE,
        verbose_name=_("plan"),
        null=True,
        blank=True,
        related_name="server_limits",
        db_constraint=False,
        help_text=_("Only subscribers with this plan; empty = all."),
    )
    origin = models.CharField(max_length=64, default="", blank=True, editable=False)
    counted_from = HourField(default=EPOCH, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta(Metered.Meta):
        verbose_name = _("limit on servers")
        verbose_name_plural = _("limits on servers")
        ordering = ["name", "id"]
        constraints = [
            *Metered.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(subscriber=None, plan=None)
                | models.Q(scope="each", subscriber=None)
                | models.Q(scope="each", plan=None),
                name="traffic_serverlimit_is_of_one_kind",
                violation_error_message=_(
                    "Choose a subscriber or a plan, not both; a limit of all together has neither."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"

    @property
    def is_together(self) -> bool:
        return self.scope == self.Scope.TOGETHER

    def is_for(self, subscriber: Subscriber) -> bool:
        """Whether it limits this subscriber, alone or with others."""
        if self.subscriber_id is not None:
            return self.subscriber_id == subscriber.pk
        return self.plan_id is None or self.plan_id == subscriber.plan_id


class LimitedServer(models.Model):
    """A server of a limit, by the name that reports use. It need not have been reported yet."""

    limit = models.ForeignKey(
        ServerLimit, models.CASCADE, related_name="servers", db_constraint=False
    )
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    protocol = models.CharField(max_length=32)

    class Meta:
        verbose_name = _("limited server")
        verbose_name_plural = _("limited servers")
        constraints = [
            models.UniqueConstraint(
                fields=["host", "port", "protocol", "limit"], name="traffic_limitedserver_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{join_host_port(self.host, self.port)} {self.protocol}"


class LimitBalance(models.Model):
    """What counts towards a limit on servers: of one subscriber, or of all together (``NOBODY``).

    life = usage since ``counted_from`` = records + cleaned. Sums over many people stop at MAX_COUNTER.
    """

    pk = models.CompositePrimaryKey("subscriber_id", "limit_id")
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    limit = models.ForeignKey(
        ServerLimit, models.CASCADE, related_name="balances", db_constraint=False
    )
    period_start = SecondField(default=EPOCH, db_default=0)
    period_upload = _counter()
    period_download = _counter()
    life_upload = _counter()
    life_download = _counter()
    cleaned_upload = _counter()
    cleaned_download = _counter()
    last_used_at = SecondField(null=True)

    summed = (
        "period_upload", "period_download", "life_upload", "life_download", "cleaned_upload", "cleaned_download",
    )  # fmt: skip

    class Meta:
        verbose_name = _("balance of a limit on servers")
        verbose_name_plural = _("balances of limits on servers")
        constraints = [
            _bounded(
                "traffic_limitbalance_counters",
                "period_upload",
                "period_download",
                "life_upload",
                "life_download",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscriber_id} at limit {self.limit_id}"


class Usage(models.Model):
    """A record: the usage of one subscriber on one server in one hour, or in one UTC day after folding."""

    pk = models.CompositePrimaryKey("subscriber_id", "hour", "server_id")
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="usage", db_constraint=False, db_index=False
    )
    hour = HourField()
    server = models.ForeignKey(
        Server, models.PROTECT, related_name="usage", db_constraint=False, db_index=False
    )
    upload = _counter()
    download = _counter()
    reports = models.IntegerField(default=0, editable=False)
    last_used_at = SecondField()

    objects: ClassVar[SumsQuerySet] = SumsQuerySet.as_manager()  # type: ignore[assignment]

    summed = ("upload", "download", "reports")

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        constraints = [_bounded("traffic_usage_counters", "upload", "download")]
        # For the subscribers of a server, and for cleanup, which goes through one server and hour at a time.
        indexes = [
            models.Index(fields=["server", "hour", "subscriber"], name="traffic_usage_by_server")
        ]

    def __str__(self) -> str:
        return f"{self.subscriber_id} on {self.server_id} at {self.hour:%Y-%m-%d %H:00}"


class ServerUsage(models.Model):
    """The same sums over all subscribers, so that global figures never scan ``Usage``."""

    pk = models.CompositePrimaryKey("server_id", "hour", "slot")
    server = models.ForeignKey(
        Server, models.PROTECT, related_name="sums", db_constraint=False, db_index=False
    )
    hour = HourField()
    # The sum is that of all slots. Slots beyond the first exist only where a counter would exceed its limit; those below
    # it are the parts of writers that work in parallel, until cleanup gathers them.
    slot = models.SmallIntegerField(default=0, db_default=0, editable=False)
    upload = _counter()
    download = _counter()
    reports = _counter()
    # Number of rows of ``Usage`` in this sum, so that database info need not count them.
    records = models.IntegerField(default=0, editable=False)

    objects: ClassVar[SumsQuerySet] = SumsQuerySet.as_manager()  # type: ignore[assignment]

    summed = ("upload", "download", "reports", "records")

    class Meta:
        verbose_name = _("usage of a server")
        verbose_name_plural = _("usage of servers")
        # A slot may fall below zero: what stood in one may be taken from another.
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    upload__range=(-MAX_COUNTER, MAX_COUNTER),
                    download__range=(-MAX_COUNTER, MAX_COUNTER),
                ),
                name="traffic_serverusage_counters",
            )
        ]

    def __str__(self) -> str:
        return f"{self.server_id} at {self.hour:%Y-%m-%d %H:00}"


class RetiredToken(models.Model):
    """A token that a subscriber had before it was changed: with open access it must not make a new subscriber.

    ``digest``: its SHA-256, because an old token may still be in a person's hands.
    """

    digest = models.CharField(max_length=64, primary_key=True)

    class Meta:
        verbose_name = _("retired token")
        verbose_name_plural = _("retired tokens")
        # Nobody looks at them.
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest[:4]


class ReceivedEvent(models.Model):
    """The id of a counted report, kept for 31 days, so that a resent report is not counted again."""

    pk = models.CompositePrimaryKey("subscriber_id", "event_id")
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    event_id = models.CharField(max_length=64)
    received = HourField(db_index=True)

    class Meta:
        verbose_name = _("received event")
        verbose_name_plural = _("received events")

    def __str__(self) -> str:
        return f"{self.event_id} of {self.subscriber_id}"


class Reporter(models.Model):
    """Who tells of usage: a meter of an API key, of one person who reports without a key, or of a part of this panel.

    ``origin`` names that part: ``pull:5``, ``link:2``, ``account:7``. A key that is replaced keeps its meters.
    Without ``ended_at`` the panel expects to hear more. Written rarely: its bytes are in ``Meter``.
    """

    class Kind(models.TextChoices):
        READINGS = "readings", _("meter readings")
        WEBHOOK = "webhook", _("webhook")
        INFORM = "inform", _("3x-ui inform")
        PULL = "pull", _("pull")
        GATEWAY = "gateway", _("gateway")
        LINK = "link", _("linked panel")
        ACCOUNT = "account", _("own account")

    class Grade(models.TextChoices):
        MEASURED = "measured", _("measured: an own gateway or node")
        PROVIDER = "provider", _("provider: a panel's or a provider's figure")
        REPORTED = "reported", _("reported: a person's own device")

    api_key = models.ForeignKey(
        ApiKey,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("API key"),
        db_constraint=False,
    )
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        null=True,
        related_name="reporters",
        verbose_name=_("subscriber"),
        db_constraint=False,
        db_index=False,
    )
    origin = models.CharField(max_length=64, default="", blank=True, editable=False)
    meter = models.CharField(_("meter"), max_length=64)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.READINGS)
    grade = models.CharField(_("grade"), max_length=10, choices=Grade)
    first_seen_at = models.DateTimeField(_("first seen"))
    # To within five minutes: a message must not cost a write.
    last_seen_at = models.DateTimeField(_("last seen"))
    # Seconds between two sightings, smoothed; empty until there were two.
    interval = models.PositiveIntegerField(_("expected interval"), null=True, editable=False)
    # What the program said last of what it reads: name, kind, ok, error.
    sources = models.JSONField(_("sources"), default=list, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, editable=False)

    class Meta:
        verbose_name = _("reporter")
        verbose_name_plural = _("reporters")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["api_key", "meter"],
                condition=models.Q(subscriber=None),
                name="traffic_reporter_of_a_key",
            ),
            models.UniqueConstraint(
                fields=["subscriber", "meter"],
                condition=models.Q(api_key=None),
                name="traffic_reporter_of_a_person",
            ),
            models.UniqueConstraint(
                fields=["origin", "meter"],
                condition=~models.Q(origin=""),
                name="traffic_reporter_of_an_origin",
            ),
            models.CheckConstraint(
                condition=models.Q(api_key=None, subscriber=None) & ~models.Q(origin="")
                | models.Q(api_key=None, origin="") & ~models.Q(subscriber=None)
                | models.Q(subscriber=None, origin="") & ~models.Q(api_key=None),
                name="traffic_reporter_has_one_sender",
            ),
        ]
        # Whether anybody tells better than somebody else is asked with every message.
        indexes = [models.Index(fields=["grade"], name="traffic_reporter_by_grade")]

    def __str__(self) -> str:
        return self.meter or str(self.api_key)


class MeteredPerson(models.Model):
    """A name by which a reporter knows somebody, and whom it was last taken for.

    Without a subscriber the person is unknown: their totals are kept for whoever adopts them.
    """

    reporter = models.ForeignKey(
        Reporter,
        models.CASCADE,
        related_name="people",
        verbose_name=_("reporter"),
        db_constraint=False,
    )
    name = models.CharField(_("name"), max_length=255)
    folded = models.CharField(max_length=765, editable=False)
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("subscriber"),
        db_constraint=False,
    )
    first_seen_at = models.DateTimeField(_("first seen"))

    class Meta:
        verbose_name = _("person of a reporter")
        verbose_name_plural = _("people of reporters")
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["reporter", "folded"], name="traffic_meteredperson_unique"
            )
        ]

    def __str__(self) -> str:
        return self.name


class KnownAs(models.Model):
    """Also known as: a name that means this subscriber, for one reporter or for all. Letter case is apart."""

    reporter = models.ForeignKey(
        Reporter,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="names",
        verbose_name=_("reporter"),
        db_constraint=False,
        help_text=_("Empty = for all."),
    )
    name = models.CharField(_("name"), max_length=255)
    folded = models.CharField(max_length=765, editable=False)
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        related_name="names",
        verbose_name=_("subscriber"),
        db_constraint=False,
    )

    class Meta:
        verbose_name = _("also known as")
        verbose_name_plural = _("also known as")
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["folded", "reporter"], name="traffic_knownas_unique"),
            models.UniqueConstraint(
                fields=["folded"],
                condition=models.Q(reporter=None),
                name="traffic_knownas_unique_for_all",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Meter(models.Model):
    """The last totals of one row of a reporter (of an import), from which the next one's growth is counted.

    ``key``: a hash of the sender, the meter, the person as the meter names them and the server; of an import, of what
    the other panel knew the row by. ``run``: Unix seconds when the totals began at 0. ``counted_*``: bytes that were
    booked of it, of which ``Balance.metered_*`` is the sum. Rows of unknown people belong to subscriber 0, and have
    ``counted_*`` for what would have been booked. Without ``read_at`` a row was only locked, before its first reading.
    Kept for good: the same totals may come again at any time.
    """

    pk = models.CompositePrimaryKey("subscriber_id", "key")
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    key = models.CharField(max_length=32)
    run = models.BigIntegerField(default=0, db_default=0, editable=False)
    upload = _counter()
    download = _counter()
    counted_upload = _counter()
    counted_download = _counter()
    read_at = SecondField(null=True)
    # Rows go before those that they name: nobody need look for them, which nothing would find by key.
    reporter = models.ForeignKey(
        Reporter,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    person = models.ForeignKey(
        MeteredPerson,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    server = models.ForeignKey(
        Server, models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )

    summed = ("counted_upload", "counted_download")

    class Meta:
        verbose_name = _("meter")
        verbose_name_plural = _("meters")

    def __str__(self) -> str:
        return f"{self.key} of {self.subscriber_id}"


class Told(models.Model):
    """What one reporter has told of one subscriber on one server in one UTC day.

    ``upload`` and ``download`` were counted, and are part of the records; ``control_*`` were not, because somebody of a
    better grade tells of the same traffic.
    """

    pk = models.CompositePrimaryKey("subscriber_id", "server_id", "reporter_id", "day")
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    server = models.ForeignKey(
        Server, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    reporter = models.ForeignKey(
        Reporter, models.PROTECT, related_name="told", db_constraint=False, db_index=False
    )
    day = DayField()
    upload = _counter()
    download = _counter()
    control_upload = _counter()
    control_download = _counter()

    summed = ("upload", "download", "control_upload", "control_download")

    class Meta:
        verbose_name = _("what a reporter has told")
        verbose_name_plural = _("what reporters have told")
        # For a reporter's figures and for cleanup, which goes by days; and for a server's.
        indexes = [
            models.Index(fields=["day", "reporter"], name="traffic_told_by_day"),
            models.Index(fields=["server", "day"], name="traffic_told_by_server"),
        ]

    def __str__(self) -> str:
        return (
            f"{self.reporter_id} of {self.subscriber_id} on {self.server_id} on {self.day:%Y-%m-%d}"
        )


class SetAside(models.Model):
    """Traffic that was not counted because it is not plausible, or had no room: the operator decides.

    ``REFUSED``: a report carried it and its sender got an error, so there is nothing to decide.
    """

    class Decision(models.TextChoices):
        OPEN = "", _("to be decided")
        COUNTED = "counted", _("counted")
        DROPPED = "dropped", _("dropped")
        REFUSED = "refused", _("refused")

    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        related_name="set_aside",
        verbose_name=_("subscriber"),
        db_constraint=False,
    )
    server = models.ForeignKey(
        Server, models.PROTECT, related_name="+", verbose_name=_("server"), db_constraint=False
    )
    reporter = models.ForeignKey(
        Reporter,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("reporter"),
        db_constraint=False,
    )
    upload = models.BigIntegerField(_("upload"))
    download = models.BigIntegerField(_("download"))
    # When it flowed, as far as that is known.
    moment = SecondField(_("time"))
    noticed_at = models.DateTimeField(_("noticed"))
    decision = models.CharField(
        _("decision"), max_length=10, choices=Decision, default=Decision.OPEN, blank=True
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    decided_by = models.CharField(_("decided by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("traffic set aside")
        verbose_name_plural = _("traffic set aside")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.upload:+} {self.download:+} of {self.subscriber_id}"


class Correction(models.Model):
    """An operator's correction of a subscriber's usage. It is stored beside the records and never changes them.

    ``upload`` and ``download``: bytes added to the counters; negative values are subtracted. It has its own id,
    because there are few rows, all written by people.
    """

    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        related_name="corrections",
        verbose_name=_("subscriber"),
        db_constraint=False,
    )
    upload = models.BigIntegerField(_("upload"))
    download = models.BigIntegerField(_("download"))
    in_period = models.BooleanField(_("in the current period"), default=True)
    reason = models.CharField(_("reason"), max_length=300)
    author = models.CharField(_("author"), max_length=150)
    made_at = models.DateTimeField(_("time"))
    undone_at = models.DateTimeField(_("undone"), null=True, blank=True)
    undone_by = models.CharField(_("undone by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("correction")
        verbose_name_plural = _("corrections")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    upload__range=(-MAX_COUNTER, MAX_COUNTER),
                    download__range=(-MAX_COUNTER, MAX_COUNTER),
                ),
                name="traffic_correction_is_bounded",
            )
        ]

    def __str__(self) -> str:
        return f"{self.upload:+} {self.download:+}: {self.reason}"

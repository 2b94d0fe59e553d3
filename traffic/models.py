"""What is stored. Thin: fields, constraints, names. Rows are born in ``recording``, numbers come from ``statistics``."""

import secrets
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import HourField, SecondField
from .querysets import ServerQuerySet, SubscriberQuerySet, SumsQuerySet
from .reports import is_token

# No stored counter passes this: sums of eight still fit 64 bits, and every reader stays exact.
MAX_COUNTER = 2**60


def new_token() -> str:
    return secrets.token_urlsafe(32)


def validate_token(value: str) -> None:
    if not is_token(value):
        raise ValidationError(_("1 to 255 characters of A-Z a-z 0-9 . _ ~ @ : = + -, and none of the reserved words."))


def _counter() -> "models.BigIntegerField[int, int]":
    return models.BigIntegerField(default=0, editable=False)


def _bounded(name: str, *fields: str) -> models.CheckConstraint:
    inside = models.Q(**{f"{field}__range": (0, MAX_COUNTER) for field in fields})
    return models.CheckConstraint(condition=inside, name=name)


class Subscriber(models.Model):
    """The person behind a ``user_token``. Rarely written: its counters stand in ``Balance`` (docs: scaling)."""

    class Reset(models.TextChoices):
        NEVER = "never", _("never")
        DAILY = "daily", _("every day")
        WEEKLY = "weekly", _("every Monday")
        MONTHLY = "monthly", _("every month")

    token = models.CharField(_("token"), max_length=255, unique=True, default=new_token, validators=[validate_token])
    name = models.CharField(_("name"), max_length=200, blank=True)
    note = models.TextField(_("note"), blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    data_limit = models.BigIntegerField(
        _("data limit"), null=True, blank=True, help_text=_("Bytes; empty = unlimited.")
    )
    limit_reset = models.CharField(_("limit reset"), max_length=10, choices=Reset, default=Reset.NEVER)
    # The database knows the default too: whatever writes rows without Django need not know the column.
    reset_day = models.PositiveSmallIntegerField(
        _("day of the month"),
        default=1,
        db_default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
        help_text=_("1 to 31, for “every month”; a shorter month takes its last day."),
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    # When an operator set the period back by hand; reports from before count for the life only.
    reset_at = SecondField(_("period restarted"), null=True, blank=True, editable=False)
    # Deleting hides: the sums of the past stay true.
    hidden_at = models.DateTimeField(_("hidden"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects: ClassVar[SubscriberQuerySet] = SubscriberQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("subscriber")
        verbose_name_plural = _("subscribers")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(data_limit=None) | models.Q(data_limit__range=(1, MAX_COUNTER)),
                name="traffic_subscriber_data_limit_is_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(reset_day__range=(1, 31)), name="traffic_subscriber_reset_day_is_in_a_month"
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"


class Balance(models.Model):
    """Counters of a subscriber: what every report adds to. They survive the cleanup of records.

    ``cleaned_*`` are the sums that cleanup has deleted, ``corrected_*`` those of all corrections that stand:
    life = usage + cleaned + corrected.
    """

    subscriber = models.OneToOneField(Subscriber, models.PROTECT, primary_key=True, db_constraint=False)
    period_start = SecondField()
    period_upload = _counter()
    period_download = _counter()
    life_upload = _counter()
    life_download = _counter()
    life_connections = _counter()
    cleaned_upload = _counter()
    cleaned_download = _counter()
    cleaned_connections = _counter()
    # These two may be negative.
    corrected_upload = models.BigIntegerField(default=0, db_default=0, editable=False)
    corrected_download = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Of the records that exist; empty when cleanup has deleted the last of them.
    last_used_at = SecondField(null=True, db_index=True)

    class Meta:
        verbose_name = _("balance")
        verbose_name_plural = _("balances")
        constraints = [
            _bounded("traffic_balance_counters", "period_upload", "period_download", "life_upload", "life_download"),
        ]

    def __str__(self) -> str:
        return f"Balance of {self.subscriber_id}"


class Server(models.Model):
    """An external VPN server, as reports name it: not ours."""

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
        constraints = [models.UniqueConstraint(fields=["host", "port", "protocol"], name="traffic_server_unique")]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} {self.protocol}"


class Usage(models.Model):
    """A record: what one subscriber used on one server in one hour (in one UTC day, once folded)."""

    pk = models.CompositePrimaryKey("subscriber_id", "hour", "server_id")
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="usage", db_constraint=False, db_index=False
    )
    hour = HourField()
    server = models.ForeignKey(Server, models.PROTECT, related_name="usage", db_constraint=False, db_index=False)
    upload = _counter()
    download = _counter()
    connections = models.IntegerField(default=0, editable=False)
    last_used_at = SecondField()

    objects: ClassVar[SumsQuerySet] = SumsQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        constraints = [_bounded("traffic_usage_counters", "upload", "download")]
        # Who used a server, and what cleanup takes next: one server and hour at a time.
        indexes = [models.Index(fields=["server", "hour", "subscriber"], name="traffic_usage_by_server")]

    def __str__(self) -> str:
        return f"{self.subscriber_id} on {self.server_id} at {self.hour:%Y-%m-%d %H:00}"


class ServerUsage(models.Model):
    """The same sums over all subscribers, so that no global figure scans ``Usage``."""

    pk = models.CompositePrimaryKey("server_id", "hour")
    server = models.ForeignKey(Server, models.PROTECT, related_name="sums", db_constraint=False, db_index=False)
    hour = HourField()
    upload = _counter()
    download = _counter()
    connections = _counter()
    # How many rows of ``Usage`` stand behind this one: database info counts without counting.
    records = models.IntegerField(default=0, editable=False)

    objects: ClassVar[SumsQuerySet] = SumsQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("usage of a server")
        verbose_name_plural = _("usage of servers")
        constraints = [_bounded("traffic_serverusage_counters", "upload", "download")]

    def __str__(self) -> str:
        return f"{self.server_id} at {self.hour:%Y-%m-%d %H:00}"


class ReceivedEvent(models.Model):
    """An event id that was counted; remembered for 31 days, so that a resent report is not counted again."""

    pk = models.CompositePrimaryKey("subscriber_id", "event_id")
    subscriber = models.ForeignKey(Subscriber, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    event_id = models.CharField(max_length=64)
    received = HourField(db_index=True)

    class Meta:
        verbose_name = _("received event")
        verbose_name_plural = _("received events")

    def __str__(self) -> str:
        return f"{self.event_id} of {self.subscriber_id}"


class ImportedUsage(models.Model):
    """What an import from another panel has counted of one of its rows, so that a second import adds what is new.

    ``key``: a hash of what that panel knew the row by. Kept for good: the other panel's file may come again at any time.
    """

    pk = models.CompositePrimaryKey("subscriber_id", "key")
    subscriber = models.ForeignKey(Subscriber, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    key = models.CharField(max_length=32)
    upload = _counter()
    download = _counter()

    class Meta:
        verbose_name = _("imported usage")
        verbose_name_plural = _("imported usage")

    def __str__(self) -> str:
        return f"{self.key} of {self.subscriber_id}"


class ApiKey(models.Model):
    """A key for programs. Only its SHA-256 is kept: it is random, so nothing slower is needed."""

    class Scope(models.TextChoices):
        REPORT = "report", _("report: post reports")
        READ = "read", _("read: statistics")
        MANAGE = "manage", _("manage: everything")

    name = models.CharField(_("name"), max_length=100)
    scope = models.CharField(_("scope"), max_length=10, choices=Scope)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(_("begins with"), max_length=4, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class Correction(models.Model):
    """An operator's change of what a subscriber has used: an entry beside the records, never instead of them.

    ``upload`` and ``download``: bytes added to the counters, or taken away when negative. It has an id of its own,
    as ``SubscriptionHit`` has: few rows, written by people.
    """

    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="corrections", verbose_name=_("subscriber"), db_constraint=False
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
                    upload__range=(-MAX_COUNTER, MAX_COUNTER), download__range=(-MAX_COUNTER, MAX_COUNTER)
                ),
                name="traffic_correction_is_bounded",
            )
        ]

    def __str__(self) -> str:
        return f"{self.upload:+} {self.download:+}: {self.reason}"


class AuditEntry(models.Model):
    """Who did what, when and to whom. Written by ``audit`` alone, changed by nobody.

    ``changes``: ``{field: [old, new]}``; of secrets only what the log may show. ``author`` is a name, so that an entry
    outlives the account.
    """

    at = models.DateTimeField(_("time"))
    author = models.CharField(_("author"), max_length=150)
    action = models.CharField(_("action"), max_length=32)
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, null=True, related_name="+", verbose_name=_("subscriber"), db_constraint=False,
        db_index=False,
    )  # fmt: skip
    server = models.ForeignKey(
        Server, models.PROTECT, null=True, related_name="+", verbose_name=_("server"), db_constraint=False,
        db_index=False,
    )  # fmt: skip
    api_key = models.ForeignKey(
        ApiKey, models.PROTECT, null=True, related_name="+", verbose_name=_("API key"), db_constraint=False,
        db_index=False,
    )  # fmt: skip
    changes = models.JSONField(_("changes"), default=dict)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["subscriber", "-id"], name="traffic_audit_of_subscriber"),
            models.Index(fields=["server", "-id"], name="traffic_audit_of_server"),
            models.Index(fields=["api_key", "-id"], name="traffic_audit_of_key"),
        ]

    def __str__(self) -> str:
        return f"{self.author} at {self.at:%Y-%m-%d %H:%M:%S}: {self.action}"


class CommandRun(models.Model):
    """The last run of a command that cron starts; ``error`` is empty when it ended well."""

    command = models.CharField(_("command"), max_length=64, primary_key=True)
    began_at = models.DateTimeField(_("began"))
    ended_at = models.DateTimeField(_("ended"))
    succeeded_at = models.DateTimeField(_("last success"), null=True)
    error = models.CharField(_("error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("run of a command")
        # Of its page, which shows what doctor found.
        verbose_name_plural = _("state of the panel")

    def __str__(self) -> str:
        return self.command


class Receiver(models.Model):
    """Who is told of events, and of which. ``target``: a URL, the id of a chat or an address, by ``kind``.

    ``secret`` signs webhooks, or is the token of a bot; it has to be known as it is, so it cannot be hashed.
    """

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", _("webhook")
        TELEGRAM = "telegram", _("Telegram")
        EMAIL = "email", _("e-mail")

    name = models.CharField(_("name"), max_length=100)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    target = models.CharField(_("address"), max_length=500)
    secret = models.CharField(_("secret"), max_length=200, blank=True)
    # Names of ``notifications.events``.
    events = models.JSONField(_("events"), default=list)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("receiver")
        verbose_name_plural = _("receivers")
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """An event that was noticed: once for each ``key``. ``text`` is for people, ``data`` for programs."""

    key = models.CharField(max_length=200, unique=True)
    event = models.CharField(_("event"), max_length=32)
    text = models.CharField(_("text"), max_length=500)
    data = models.JSONField(default=dict)
    subscriber = models.ForeignKey(Subscriber, models.PROTECT, null=True, related_name="+", db_constraint=False)
    at = models.DateTimeField(_("time"))
    # To the day: while it lasts, it is kept, or it would be told again.
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")

    def __str__(self) -> str:
        return self.text


class Delivery(models.Model):
    """A notification on its way to one receiver, who has it when it was confirmed."""

    class State(models.TextChoices):
        PENDING = "pending", _("on its way")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("given up")

    notification = models.ForeignKey(
        Notification, models.CASCADE, related_name="deliveries", verbose_name=_("notification"), db_index=False
    )
    receiver = models.ForeignKey(
        Receiver, models.CASCADE, related_name="deliveries", verbose_name=_("receiver"), db_index=False
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    # A code; empty when nothing has gone wrong yet.
    last_error = models.CharField(_("last error"), max_length=32, blank=True)
    # When it was first due; three days later it is given up.
    since = models.DateTimeField(_("since"))
    # Of one that is being sent: when somebody else may take it over.
    next_try = models.DateTimeField(_("next attempt"))
    delivered_at = models.DateTimeField(_("delivered"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["notification", "receiver"], name="traffic_delivery_once")]
        indexes = [models.Index(fields=["receiver", "state", "next_try"], name="traffic_delivery_due")]

    def __str__(self) -> str:
        return f"{self.notification} → {self.receiver}"

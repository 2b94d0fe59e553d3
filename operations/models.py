"""Tables of ``operations``: API keys, second factors, audit trail, repeated requests, command runs, notifications and receivers."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from django_otp.models import Device, ThrottlingMixin, TimestampMixin


class ApiKey(models.Model):
    """A key for programs. Only its SHA-256 is stored; a slow hash is not needed, because keys are random."""

    class Scope(models.TextChoices):
        REPORT = "report", _("report: post reports")
        READ = "read", _("read: statistics")
        MANAGE = "manage", _("manage: everything")
        # Made together with what it opens, and opens nothing else.
        BOUND = "bound", _("bound: one purpose alone")

    # Those that people choose from.
    GENERAL_SCOPES = (Scope.REPORT, Scope.READ, Scope.MANAGE)

    name = models.CharField(_("name"), max_length=100)
    scope = models.CharField(_("scope"), max_length=10, choices=Scope)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(_("begins with"), max_length=4, editable=False)
    # Chosen when the key was made, by the name of an option that an app offers.
    options = models.JSONField(_("options"), default=dict, editable=False)
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


class SecondFactor(TimestampMixin, ThrottlingMixin, Device):  # type: ignore[misc]  # django-otp has no types
    """The authenticator app of one member of the staff (TOTP, RFC 6238), and the delays after wrong codes.

    django-otp's own device keeps the secret in the clear, and a backup would reveal it; here it is sealed. ``last_step``:
    the period of 30 seconds whose code was used last, so that no code is used twice.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="second_factor",
        verbose_name=_("staff user"),
    )
    # One app per person, stored only when a code has confirmed it.
    name = None
    confirmed = None
    sealed_secret = models.CharField(max_length=200, editable=False)
    last_step = models.BigIntegerField(default=-1, editable=False)

    class Meta:
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")
        # People set up their own, and superusers take it away with the account.
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.user)

    def get_throttle_factor(self) -> int:
        """Seconds to wait after the first wrong code; each further one doubles them."""
        return 1


class RecoveryCode(models.Model):
    """A code that works once in place of the app. Only its keyed hash is stored; a used code is deleted."""

    factor = models.ForeignKey(
        SecondFactor,
        models.CASCADE,
        related_name="recovery_codes",
        verbose_name=_("second factor"),
        db_index=False,
    )
    hash = models.CharField(max_length=64, editable=False)

    class Meta:
        verbose_name = _("recovery code")
        verbose_name_plural = _("recovery codes")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["factor", "hash"], name="operations_recoverycode_once")
        ]

    def __str__(self) -> str:
        return f"{self.factor_id}…"


class AuditEntry(models.Model):
    """One change by an operator: author, time, action and target. Written only by ``audit``, never changed.

    The target is a row of any app: its kind (``app.model``), its id, and its name at that time, so that the
    entry outlives the row. ``changes``: ``{field: [old, new]}``, with secrets masked. ``author`` is a name, so
    that the entry outlives the account.
    """

    at = models.DateTimeField(_("time"))
    author = models.CharField(_("author"), max_length=150)
    action = models.CharField(_("action"), max_length=32)
    target_kind = models.CharField(_("kind"), max_length=100)
    target_id = models.BigIntegerField()
    target_name = models.CharField(_("name"), max_length=200, blank=True)
    changes = models.JSONField(_("changes"), default=dict)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["target_kind", "target_id", "-id"], name="operations_audit_of_target"
            )
        ]

    def __str__(self) -> str:
        return f"{self.author} at {self.at:%Y-%m-%d %H:%M:%S}: {self.action}"


class IdempotentRequest(models.Model):
    """A request that was carried out under an ``Idempotency-Key``, so that its repeat changes nothing.

    ``digest``: of what was asked. ``outcome`` holds ids and codes, nothing about a person; it is null only inside the
    transaction that carries the request out.
    """

    caller = models.CharField(max_length=32)
    key = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    outcome = models.JSONField(null=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("idempotent request")
        verbose_name_plural = _("idempotent requests")
        # Nobody looks at them.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "key"], name="operations_idempotentrequest_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.caller}"


class CommandRun(models.Model):
    """The last run of a command that cron starts; ``error`` is empty if it succeeded."""

    command = models.CharField(_("command"), max_length=64, primary_key=True)
    began_at = models.DateTimeField(_("began"))
    ended_at = models.DateTimeField(_("ended"))
    succeeded_at = models.DateTimeField(_("last success"), null=True)
    error = models.CharField(_("error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("run of a command")
        # The title of its page, which shows the findings of doctor.
        verbose_name_plural = _("state of the panel")

    def __str__(self) -> str:
        return self.command


class Receiver(models.Model):
    """A receiver of notifications. ``target``: a URL, a chat id or an address, depending on ``kind``.

    ``secret`` signs webhooks, or is a bot's token; it cannot be hashed, because it is needed in the clear.
    """

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", _("webhook")
        TELEGRAM = "telegram", _("Telegram")
        EMAIL = "email", _("e-mail")
        # Made by an app, whose channel leads each notification to the person whom it is about.
        PEOPLE = "people", _("subscribers themselves")

    # Those that people choose from.
    GENERAL_KINDS = (Kind.WEBHOOK, Kind.TELEGRAM, Kind.EMAIL)

    name = models.CharField(_("name"), max_length=100)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    target = models.CharField(_("address"), max_length=500)
    secret = models.CharField(_("secret"), max_length=200, blank=True)
    # Names of kinds of events.
    events = models.JSONField(_("events"), default=list)
    is_active = models.BooleanField(_("active"), default=True)

    # Only the host, because the rest of a URL is often a password.
    secret_fields = frozenset({"secret", "target"})

    class Meta:
        verbose_name = _("receiver")
        verbose_name_plural = _("receivers")
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """A detected event, once per ``key``. ``text`` is for people, ``data`` for programs."""

    key = models.CharField(max_length=200, unique=True)
    event = models.CharField(_("event"), max_length=32)
    text = models.CharField(_("text"), max_length=500)
    data = models.JSONField(default=dict)
    # The row that the event is about, if it is one row; erasing that row deletes the notification.
    target_kind = models.CharField(max_length=100, blank=True)
    target_id = models.BigIntegerField(null=True)
    at = models.DateTimeField(_("time"))
    # Updated once a day while the condition lasts, so that cleanup keeps it and it is not reported twice.
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        indexes = [
            models.Index(fields=["target_kind", "target_id"], name="operations_notified_of_target")
        ]

    def __str__(self) -> str:
        return self.text


class Delivery(models.Model):
    """A notification for one receiver; it is delivered once the receiver has confirmed it."""

    class State(models.TextChoices):
        PENDING = "pending", _("on its way")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("given up")

    notification = models.ForeignKey(
        Notification,
        models.CASCADE,
        related_name="deliveries",
        verbose_name=_("notification"),
        db_index=False,
    )
    receiver = models.ForeignKey(
        Receiver,
        models.CASCADE,
        related_name="deliveries",
        verbose_name=_("receiver"),
        db_index=False,
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    # An error code; empty if nothing has failed yet.
    last_error = models.CharField(_("last error"), max_length=32, blank=True)
    # When it was first due; after three days it is given up.
    since = models.DateTimeField(_("since"))
    # While it is being sent: when another process may take it over.
    next_try = models.DateTimeField(_("next attempt"))
    delivered_at = models.DateTimeField(_("delivered"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["notification", "receiver"], name="operations_delivery_once"
            )
        ]
        indexes = [
            models.Index(fields=["receiver", "state", "next_try"], name="operations_delivery_due")
        ]

    def __str__(self) -> str:
        return f"{self.notification} → {self.receiver}"

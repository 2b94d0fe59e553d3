"""Tables of other panels: the panel, the last reading of each account, and our own totals."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from operations import sealing
from operations.outbound.url_policy import MAX_URL
from traffic.models import Subscriber

from .adapters import ADAPTERS
from .adapters.asking import Way

# Minutes between two readings.
MIN_INTERVAL, MAX_INTERVAL = 5, 24 * 60


class Panel(models.Model):
    """Another panel whose usage is read.

    ``url``: its address, or one person's subscription URL; both may hold secrets. ``sealed_*``: encrypted by
    ``operations.sealing``.
    """

    class Kind(models.TextChoices):
        THREE_X_UI = "3x-ui", "3x-ui"
        MARZBAN = "marzban", "Marzban"
        PASARGUARD = "pasarguard", "PasarGuard"
        MARZNESHIN = "marzneshin", "Marzneshin"
        REMNAWAVE = "remnawave", "Remnawave"
        HIDDIFY = "hiddify", "Hiddify"

    class Access(models.TextChoices):
        KEY = Way.KEY.value, _("an API key or token")
        LOGIN = Way.LOGIN.value, _("user name and password")
        LINK = Way.LINK.value, _("one person's subscription link")

    name = models.CharField(_("name"), max_length=100)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    access = models.CharField(_("access"), max_length=10, choices=Access)
    url = models.CharField(_("address"), max_length=MAX_URL)
    username = models.CharField(_("user name"), max_length=150, blank=True)
    sealed_secret = models.TextField(_("key or password"), blank=True, editable=False)
    sealed_headers = models.TextField(_("extra headers"), blank=True, editable=False)
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="pulled_panels",
        verbose_name=_("subscriber"),
        db_constraint=False,
        help_text=_("Whose subscription link it is; for this way of access alone."),
    )
    server = models.CharField(
        _("server"),
        max_length=253,
        blank=True,
        help_text=_("The host under which the traffic is shown; empty = the host of the address."),
    )
    port = models.PositiveIntegerField(
        _("port"),
        default=443,
        validators=[MinValueValidator(1), MaxValueValidator(65_535)],
        help_text=_("Of that server, where the panel does not tell it."),
    )
    interval = models.PositiveIntegerField(
        _("interval"),
        default=15,
        validators=[MinValueValidator(MIN_INTERVAL), MaxValueValidator(MAX_INTERVAL)],
        help_text=_("Minutes between two readings."),
    )
    enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_("Off: the panel is not read, and its silence is not reported."),
    )
    allow_private = models.BooleanField(
        _("inside your own network"),
        default=False,
        help_text=_("Allows a private address, and an http URL."),
    )
    added_at = models.DateTimeField(_("added"), auto_now_add=True)
    # When our totals began at 0: again whenever another panel, or for another person, is read.
    began_at = models.DateTimeField(default=timezone.now, editable=False)

    last_read = models.DateTimeField(_("last reading"), null=True, editable=False)
    last_success = models.DateTimeField(_("last success"), null=True, editable=False)
    # A code, never text from the panel; empty = the last reading succeeded.
    last_error = models.CharField(_("last error"), max_length=32, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    next_read = models.DateTimeField(_("next reading"), null=True, editable=False)
    # While it is being read; a claim that was never given back expires.
    claimed_until = models.DateTimeField(null=True, editable=False)
    milliseconds = models.PositiveIntegerField(_("milliseconds"), null=True, editable=False)
    people = models.PositiveIntegerField(_("people"), default=0, editable=False)
    unreadable = models.PositiveIntegerField(_("unreadable people"), default=0, editable=False)
    # The number of readings, and of the last one that the ledger has.
    readings = models.BigIntegerField(default=0, editable=False)
    booked = models.BigIntegerField(default=0, editable=False)

    # ``secret`` and ``headers`` are fields of the form.
    secret_fields = frozenset({"url", "secret", "headers", "sealed_secret", "sealed_headers"})

    class Meta:
        verbose_name = _("other panel")
        verbose_name_plural = _("other panels")
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        """The panel's ``Reporter.origin``."""
        return f"pull:{self.pk}"

    @property
    def meter(self) -> str:
        """The panel's ``Reporter.meter``. It must never change, because a new meter counts its totals from 0."""
        return f"pull-{self.pk}"

    @property
    def base(self) -> str:
        """The address to which the paths of requests are relative."""
        return ADAPTERS[self.kind].base_of(self.url)

    @property
    def has_secrets(self) -> bool:
        """Whether a key, password or extra headers are stored."""
        return bool(self.sealed_secret or self.sealed_headers)

    @property
    def lacks_secret(self) -> bool:
        """Whether the key or password that it is read with was removed."""
        return self.access != Way.LINK and not self.sealed_secret

    @property
    def secret(self) -> str:
        """Raises sealing.CannotOpenError."""
        return sealing.unseal(self.sealed_secret)

    @property
    def headers(self) -> dict[str, str]:
        """Raises sealing.CannotOpenError."""
        lines = sealing.unseal(self.sealed_headers).splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name.strip(): value.strip() for name, _, value in pairs if value}


class Reading(models.Model):
    """The last totals of an account, from which the growth of the next reading is counted.

    ``key``: the panel's id of the account; ``folded``: the person's name without letter case. ``born``: Unix seconds
    when the account was created, 0 if unknown.
    """

    panel = models.ForeignKey(Panel, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    folded = models.CharField(max_length=765)
    upload = models.BigIntegerField()
    download = models.BigIntegerField()
    born = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("last reading of an account")
        verbose_name_plural = _("last readings of accounts")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["panel", "key"], name="pulls_reading_unique")
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.panel_id}"


class Total(models.Model):
    """The sum of all growth of one person on one server. It never falls, so the ledger takes it as a meter reading.

    ``reading``: the number of the panel's last reading that changed it.
    """

    panel = models.ForeignKey(Panel, models.CASCADE, related_name="+", db_index=False)
    folded = models.CharField(max_length=765)
    server = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    protocol = models.CharField(max_length=32)
    name = models.CharField(max_length=255)
    upload = models.BigIntegerField(default=0)
    download = models.BigIntegerField(default=0)
    reading = models.BigIntegerField()

    class Meta:
        verbose_name = _("total of a person")
        verbose_name_plural = _("totals of people")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["panel", "folded", "server", "port", "protocol"], name="pulls_total_unique"
            )
        ]
        indexes = [models.Index(fields=["panel", "reading"], name="pulls_total_by_reading")]

    def __str__(self) -> str:
        return f"{self.name} of {self.panel_id}"

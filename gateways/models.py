"""Tables of ``gateways``: fields, order, names. Gateways are created in ``creation``."""

import secrets
from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.signals import m2m_changed
from django.utils.translation import gettext_lazy as _

from operations.hosts import join_host_port
from operations.models import ApiKey
from subscriptions.models import Edition, Listed, ListedQuerySet, Source
from traffic.fields import HourField

MAX_PATH = 1024
# Also the name of its meter.
validate_name = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", _("1 to 64 characters of A-Z a-z 0-9 . _ -")
)


def new_secret() -> str:
    return secrets.token_urlsafe(32)


class Gateway(Listed):
    """A machine of the operator's own through which people reach external servers.

    ``secret``: everybody's credentials are derived from it, so it has to be known as it is and cannot be hashed.
    ``key``: its agent's; it opens this gateway's configuration alone. ``certificate`` and ``private_key`` are paths
    on the gateway's machine.
    """

    class Engine(models.TextChoices):
        SING_BOX = "sing-box", "sing-box"
        XRAY = "xray", "Xray"

    name = models.CharField(_("name"), max_length=64, unique=True, validators=[validate_name])
    host = models.CharField(_("public host"), max_length=253)
    engine = models.CharField(
        _("engine"),
        max_length=16,
        choices=Engine,
        default=Engine.SING_BOX,
        help_text=_(
            "sing-box speaks every protocol at one port each. Xray lets people in and out without ending the connections"
            " of others; it has Shadowsocks, Trojan and VLESS, and each server takes a port."
        ),
    )
    beside = models.BooleanField(
        _("beside the direct links"),
        default=False,
        help_text=_("Off: instead of them, and the credentials of external servers reach nobody."),
    )
    direct = models.BooleanField(_("all direct configurations"), default=True)
    all_sources = models.BooleanField(_("all sources"), default=True)
    sources = models.ManyToManyField(Source, verbose_name=_("sources"), blank=True)
    certificate = models.CharField(
        _("certificate"),
        max_length=MAX_PATH,
        blank=True,
        help_text=_("A path on the gateway. Without one it makes its own, which the lists pin."),
    )
    private_key = models.CharField(_("private key"), max_length=MAX_PATH, blank=True)
    reality_server_name = models.CharField(
        _("REALITY server name"),
        max_length=253,
        blank=True,
        help_text=_("VLESS then looks like this site. It must speak TLS 1.3."),
    )
    secret = models.CharField(max_length=64, default=new_secret, editable=False)
    key = models.OneToOneField(
        ApiKey,
        models.PROTECT,
        verbose_name=_("API key"),
        related_name="gateway",
        editable=False,
        db_constraint=False,
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    seen_at = models.DateTimeField(_("last seen"), null=True, editable=False)
    # What its agent tells of it.
    agent_version = models.CharField(max_length=64, blank=True, editable=False)
    core_version = models.CharField(max_length=64, blank=True, editable=False)
    core_tags = models.JSONField(default=list, editable=False)
    complaint = models.CharField(max_length=500, blank=True, editable=False)
    left_out = models.JSONField(default=dict, editable=False)
    reloads = models.PositiveIntegerField(_("reloads"), default=0, editable=False)
    deaths = models.PositiveIntegerField(default=0, editable=False)
    # The last totals of its core, and the bytes of which it is not known who used them.
    carried = models.JSONField(default=dict, editable=False)
    unexplained = models.BigIntegerField(default=0, editable=False)
    online = models.PositiveIntegerField(_("people online"), null=True, editable=False)
    certificate_ends_at = models.DateTimeField(null=True, editable=False)
    # Those are in the lists.
    certificate_pin = models.CharField(max_length=64, blank=True, editable=False)
    public_key_pin = models.CharField(max_length=64, blank=True, editable=False)
    reality_public_key = models.CharField(max_length=64, blank=True, editable=False)

    secret_fields = frozenset({"secret"})

    objects: ClassVar[ListedQuerySet["Gateway"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def certificate_files(self) -> tuple[str, str]:
        """The certificate and its key; paths without a folder are files that its agent makes."""
        return self.certificate or "certificate.pem", self.private_key or "private-key.pem"


class Inbound(Listed):
    """One way to reach a gateway."""

    class Protocol(models.TextChoices):
        SHADOWSOCKS = "shadowsocks", "Shadowsocks 2022"
        TROJAN = "trojan", "Trojan"
        VLESS = "vless", "VLESS"
        HYSTERIA2 = "hysteria2", "Hysteria2"
        TUIC = "tuic", "TUIC"

    gateway = models.ForeignKey(
        Gateway, models.CASCADE, related_name="inbounds", verbose_name=_("gateway")
    )
    protocol = models.CharField(_("protocol"), max_length=32, choices=Protocol)
    port = models.PositiveIntegerField(
        _("port"), validators=[MinValueValidator(1), MaxValueValidator(65_535)]
    )

    objects: ClassVar[ListedQuerySet["Inbound"]] = ListedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("way in")
        verbose_name_plural = _("ways in")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["gateway", "protocol"], name="gateways_inbound_protocol_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.protocol} {self.port}"


class GatewayServer(models.Model):
    """A server that this gateway's configuration has named, kept for readings that come after it has left the lists.

    ``slot``: its place among the ports of a gateway of Xray, see ``slots``.
    """

    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="servers")
    tag = models.CharField(max_length=32)
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    protocol = models.CharField(max_length=32)
    slot = models.PositiveIntegerField(null=True)

    class Meta:
        verbose_name = _("server of a gateway")
        verbose_name_plural = _("servers of gateways")
        constraints = [
            models.UniqueConstraint(fields=["gateway", "tag"], name="gateways_server_tag_once"),
            models.UniqueConstraint(fields=["gateway", "slot"], name="gateways_server_slot_once"),
        ]

    def __str__(self) -> str:
        return f"{join_host_port(self.host, self.port)} {self.protocol}"


class GatewayHour(models.Model):
    """What a gateway's core has carried in one UTC hour, as it says itself. ``reports``: how often it was heard of."""

    pk = models.CompositePrimaryKey("gateway_id", "hour")
    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="hours", db_index=False)
    hour = HourField()
    upload = models.BigIntegerField(default=0)
    download = models.BigIntegerField(default=0)
    reports = models.IntegerField(default=0)

    class Meta:
        verbose_name = _("hour of a gateway")
        verbose_name_plural = _("hours of gateways")

    def __str__(self) -> str:
        return f"{self.gateway_id} at {self.hour:%Y-%m-%d %H:00}"


def _renew_edition(sender: Any, action: str, **_: Any) -> None:
    """Django writes these rows itself, past our query sets."""
    if sender is Gateway.sources.through and action.startswith("pre_"):
        Edition.renew()


m2m_changed.connect(_renew_edition, dispatch_uid="gateways.edition")

"""Tables of a linked panel: the link, its people, and what was handed over to it."""

import uuid

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from traffic.fields import HourField, SecondField
from traffic.models import Server, Subscriber

_ORIGIN = r"^https?://[^\s/?#@]+(/[^\s?#]*[^\s?#/])?$"
_PATH = r"^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$"


class PanelLink(models.Model):
    """A panel whose people are ours too, and to which the external traffic is handed over."""

    class Kind(models.TextChoices):
        MARZBAN = "marzban", _("Marzban")
        PASARGUARD = "pasarguard", _("PasarGuard")

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        # After a restore: what was handed over since the backup is unknown to this database.
        PAUSED = "paused", _("paused")

    class NodeError(models.TextChoices):
        PORT = (
            "port",
            _(
                "A port of the node is taken by another program, or the address is not of this machine."
            ),
        )
        CERTIFICATE = "certificate", _("There is no usable certificate for the node.")

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind, default=Kind.MARZBAN)
    url = models.CharField(
        _("address"),
        max_length=500,
        validators=[RegexValidator(_ORIGIN, _("An address like https://marzban.example.com."))],
        help_text=_("Without a slash at its end."),
    )
    subscription_path = models.CharField(
        _("subscription path"),
        max_length=100,
        default="sub",
        validators=[RegexValidator(_PATH, _("A path like sub, without slashes around it."))],
        help_text=_("What the panel calls XRAY_SUBSCRIPTION_PATH."),
    )
    client_certificate = models.TextField(
        _("client certificate"),
        blank=True,
        help_text=_("PEM, from the panel's Node Settings: it proves that the panel is calling."),
    )
    signs_in = models.BooleanField(
        _("its admins sign in here"), default=False, help_text=_("One link at most.")
    )
    verifies_tokens = models.BooleanField(_("its subscription tokens are accepted"), default=False)
    makes_subscribers = models.BooleanField(_("everybody becomes a subscriber"), default=True)
    # The node of this link listens on the ports of the settings, plus twice this number.
    number = models.PositiveSmallIntegerField(_("number"), unique=True, default=0)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.ACTIVE)
    # Names the link in the mark beside the database, by which a restored database is recognised.
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    hand_overs = models.BigIntegerField(default=0, editable=False)
    linked_at = models.DateTimeField(_("linked"), auto_now_add=True)
    started_at = models.DateTimeField(_("node started"), null=True, blank=True, editable=False)
    seen_at = models.DateTimeField(_("last seen"), null=True, blank=True, editable=False)
    handed_over_at = models.DateTimeField(
        _("last hand-over"), null=True, blank=True, editable=False
    )
    # Why the node cannot start, as its process found.
    node_error = models.CharField(
        _("error of the node"), max_length=20, choices=NodeError, blank=True, editable=False
    )
    # Our entry in the panel's list of nodes.
    node_id = models.BigIntegerField(_("node in the panel"), null=True, blank=True, editable=False)
    node_address = models.CharField(
        _("address of the node"), max_length=253, blank=True, editable=False
    )
    # Digests: of the API key with which PasarGuard calls the node, and of the secret of the panel's webhook.
    node_key = models.CharField(max_length=64, blank=True, editable=False)
    events_secret = models.CharField(max_length=64, blank=True, editable=False)
    account_name = models.CharField(_("stored account"), max_length=100, blank=True, editable=False)
    account_password = models.TextField(blank=True, editable=False)
    reconciled_at = models.DateTimeField(_("last reconcile"), null=True, blank=True, editable=False)
    reconcile_error = models.CharField(max_length=40, blank=True, editable=False)

    secret_fields = frozenset({"node_key", "events_secret", "account_password"})

    class Meta:
        verbose_name = _("linked panel")
        verbose_name_plural = _("linked panels")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["signs_in"],
                condition=models.Q(signs_in=True),
                name="marzban_panellink_one_signs_in",
                violation_error_message=_("Only one link at most can sign admins in here."),
            )
        ]

    def __str__(self) -> str:
        return self.name


def addresses() -> list[str]:
    """The URLs of all linked panels."""
    return list(PanelLink.objects.values_list("url", flat=True))


class PanelIdentity(models.Model):
    """A user of a linked panel, as long as name and id belong together.

    A panel may give the id of a deleted user to the next one, and a name may come back with another id. Then the old row
    is closed, and the new person begins with a new one.
    """

    class Status(models.TextChoices):
        LIMITED = "limited", _("over the limit")
        EXPIRED = "expired", _("expired")
        DISABLED = "disabled", _("switched off")
        DELETED = "deleted", _("deleted")

    link = models.ForeignKey(
        PanelLink,
        models.CASCADE,
        related_name="identities",
        verbose_name=_("linked panel"),
        db_constraint=False,
    )
    username = models.CharField(_("user name"), max_length=128)
    # Only the node protocol tells it; empty until then.
    user_id = models.BigIntegerField(_("id in the panel"), null=True, blank=True)
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="panel_identities",
        verbose_name=_("subscriber"),
        db_constraint=False,
    )
    # Whether the panel lets them in now, as its node protocol tells it.
    is_active = models.BooleanField(_("active"), default=True)
    # Why not, as its webhook or its API tells it; empty = active, or nobody has said.
    status = models.CharField(_("status"), max_length=10, choices=Status, blank=True)
    status_at = models.DateTimeField(null=True, blank=True, editable=False)
    first_seen_at = models.DateTimeField(_("first seen"), auto_now_add=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("user of a linked panel")
        verbose_name_plural = _("users of linked panels")
        ordering = ["username"]
        constraints = [
            models.UniqueConstraint(
                "link",
                Lower("username"),
                condition=models.Q(closed_at=None),
                name="marzban_panelidentity_unique_name",
            ),
            models.UniqueConstraint(
                fields=["link", "user_id"],
                condition=models.Q(closed_at=None),
                name="marzban_panelidentity_unique_id",
            ),
            # Two users with one subscriber would both get all of its bytes.
            models.UniqueConstraint(
                fields=["link", "subscriber"],
                condition=models.Q(closed_at=None),
                name="marzban_panelidentity_unique_subscriber",
            ),
        ]

    def __str__(self) -> str:
        return self.username


class HandedUsage(models.Model):
    """Up to where a subscriber's life counter was handed over to a panel. Bytes, both directions together.

    ``number``: the hand-over that raised it last, from ``before``.
    """

    pk = models.CompositePrimaryKey("link_id", "subscriber_id")
    link = models.ForeignKey(
        PanelLink, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="handed", db_constraint=False
    )
    handed = models.BigIntegerField(default=0)
    before = models.BigIntegerField(default=0)
    number = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("handed over of a subscriber")
        verbose_name_plural = _("handed over of subscribers")

    def __str__(self) -> str:
        return f"{self.subscriber_id}: {self.handed}"


class HandedServerUsage(models.Model):
    """How much of what went over a server on a UTC day was handed over to a panel."""

    pk = models.CompositePrimaryKey("link_id", "server_id", "day")
    link = models.ForeignKey(PanelLink, models.CASCADE, related_name="+", db_index=False)
    server = models.ForeignKey(Server, models.PROTECT, related_name="+", db_constraint=False)
    day = HourField()
    upload = models.BigIntegerField(default=0)
    download = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("handed over of a server")
        verbose_name_plural = _("handed over of servers")

    def __str__(self) -> str:
        return f"{self.server_id} on {self.day:%Y-%m-%d}"


class HandOver(models.Model):
    """A batch of bytes that left for a panel, committed before the panel gets its answer.

    ``items``: what it held, as ``handover`` packs it; kept until the batch is known to have been sent, for thousands of
    people get bytes every ten seconds.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        SENT = "sent", _("sent")
        RETURNED = "returned", _("returned")
        UNKNOWN = "unknown", _("unknown")
        UNDELIVERABLE = "undeliverable", _("undeliverable")

    class What(models.TextChoices):
        USERS = "users", _("users")
        SERVERS = "servers", _("servers")

    link = models.ForeignKey(
        PanelLink,
        models.CASCADE,
        related_name="batches",
        verbose_name=_("linked panel"),
        db_constraint=False,
    )
    what = models.CharField(_("what"), max_length=10, choices=What)
    state = models.CharField(_("state"), max_length=15, choices=State, default=State.PENDING)
    session = models.CharField(_("session"), max_length=36, blank=True)
    made_at = SecondField(_("time"), db_index=True)
    upload = models.BigIntegerField(_("upload"), default=0)
    download = models.BigIntegerField(_("download"), default=0)
    count = models.PositiveIntegerField(_("count"), default=0)
    items = models.BinaryField(default=bytes)

    class Meta:
        verbose_name = _("hand-over")
        verbose_name_plural = _("hand-overs")
        ordering = ["-id"]
        indexes = [models.Index(fields=["link", "state"], name="marzban_handover_by_state")]

    def __str__(self) -> str:
        return f"{self.get_what_display()}, {self.get_state_display()}"

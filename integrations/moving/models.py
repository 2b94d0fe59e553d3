"""Tables of people who moved in: the panels that they come from, and whom of a panel a subscriber was."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from operations import sealing
from traffic.models import Subscriber


class OldPanel(models.Model):
    """A panel from which people have moved in.

    ``sealed_secret``: what the panel signs subscription tokens with, encrypted by ``operations.sealing``; "" = unknown.
    """

    class Kind(models.TextChoices):
        MARZBAN = "marzban", "Marzban"
        PASARGUARD = "pasarguard", "PasarGuard"
        THREE_X_UI = "3x-ui", "3x-ui"
        REMNAWAVE = "remnawave", "Remnawave"

    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    name = models.CharField(_("name"), max_length=100)
    sealed_secret = models.TextField(_("secret of its links"), blank=True, editable=False)
    added_at = models.DateTimeField(_("first move"))

    secret_fields = frozenset({"sealed_secret"})

    class Meta:
        verbose_name = _("old panel")
        verbose_name_plural = _("old panels")
        ordering = ["name", "id"]
        default_permissions = ("change", "view")
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="moving_oldpanel_unique")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def secret(self) -> str:
        """Raises sealing.CannotOpenError."""
        return sealing.unseal(self.sealed_secret)


class OldAccount(models.Model):
    """Somebody's account at an old panel, and the subscriber whom it became. It is never moved in again.

    ``key``: the panel's permanent id of the account. ``username`` and ``number``: by which the panel's tokens name it.
    ``born`` and ``revoked``: Unix seconds when it was made, and before which its tokens are not valid; 0 = unknown, never.
    """

    panel = models.ForeignKey(OldPanel, models.CASCADE, related_name="accounts")
    key = models.CharField(max_length=300)
    username = models.CharField(max_length=200, blank=True)
    number = models.BigIntegerField(null=True)
    born = models.BigIntegerField(default=0)
    revoked = models.BigIntegerField(default=0)
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="old_accounts", db_constraint=False
    )

    class Meta:
        verbose_name = _("old account")
        verbose_name_plural = _("old accounts")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["panel", "key"], name="moving_oldaccount_unique")
        ]
        indexes = [
            models.Index(fields=["panel", "number"], name="moving_oldaccount_by_number"),
            models.Index(fields=["panel", "username"], name="moving_oldaccount_by_name"),
        ]

    def __str__(self) -> str:
        return self.key

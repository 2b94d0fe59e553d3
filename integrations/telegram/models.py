"""Tables of the bot: where it is, whose chats are linked, codes that link, and answers that are on their way."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from traffic.models import Subscriber


class Bot(models.Model):
    """One row. ``offset``: the id of the first update that is not done. ``holder``: the process that may ask for updates."""

    username = models.CharField(max_length=64, blank=True)
    offset = models.BigIntegerField(default=0)
    # When the last update came: after a week without one Telegram begins with another id.
    came_at = models.DateTimeField(null=True)
    polled_at = models.DateTimeField(null=True)
    holder = models.CharField(max_length=200, blank=True)
    held_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("Telegram bot")
        verbose_name_plural = _("Telegram bots")
        default_permissions = ()

    def __str__(self) -> str:
        return f"@{self.username}"


class Link(models.Model):
    """A private chat that belongs to a subscriber, or to a member of the staff.

    ``token_digest``: of the subscriber's token when it was linked. Who had an old token loses the chat with it.
    """

    chat = models.BigIntegerField(_("chat"), db_index=True)
    subscriber = models.OneToOneField(
        Subscriber,
        models.CASCADE,
        null=True,
        related_name="+",
        verbose_name=_("subscriber"),
        db_constraint=False,
    )
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="+",
        verbose_name=_("member of the staff"),
    )
    token_digest = models.CharField(max_length=64, blank=True, editable=False)
    language = models.CharField(_("language"), max_length=2)
    linked_at = models.DateTimeField(_("linked since"))
    # When Telegram said that the person has blocked the bot.
    blocked_at = models.DateTimeField(_("blocked the bot"), null=True)

    class Meta:
        verbose_name = _("Telegram chat")
        verbose_name_plural = _("Telegram chats")
        ordering = ["-id"]
        default_permissions = ("view", "delete")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(subscriber=None) ^ models.Q(user=None),
                name="telegram_link_of_one",
            )
        ]

    def __str__(self) -> str:
        return str(self.subscriber or self.user)


class LinkCode(models.Model):
    """A code that links a chat, once. Only its SHA-256 is stored."""

    hash = models.CharField(max_length=64, unique=True)
    subscriber = models.OneToOneField(
        Subscriber, models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+"
    )
    token_digest = models.CharField(max_length=64, blank=True)
    language = models.CharField(max_length=2)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("code for a Telegram chat")
        verbose_name_plural = _("codes for Telegram chats")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.subscriber_id or self.user_id}"


class Answer(models.Model):
    """A call of the Bot API that answers an update. It is stored with what the update changed, and deleted when it was sent."""

    chat = models.BigIntegerField()
    method = models.CharField(max_length=32)
    fields = models.JSONField()
    since = models.DateTimeField()
    next_try = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("answer of the bot")
        verbose_name_plural = _("answers of the bot")
        default_permissions = ()

    def __str__(self) -> str:
        return self.method

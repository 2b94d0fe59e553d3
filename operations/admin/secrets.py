"""Showing a generated secret once, in a message on the next page."""

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _


def shown_once(title: str | Promise, secret: str, width: int = 50) -> SafeString:
    """The message, with a field to copy the secret from."""
    field = (
        '{}<br><input class="xp-secret" type="text" readonly size="{}" aria-label="{}"'
        ' value="{}" data-copy="{}">'
    )
    return format_html(field, title, width, title, secret, _("Copy"))

"""Handing out new links after an import, or after subscribers got new tokens."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _

from operations.admin.base import PanelAdmin
from operations.admin.export import links
from traffic.models import Subscriber

# More ids do not fit a URL; the download is then the whole list.
_NAMED = 300


def hand_out(owner: PanelAdmin[Subscriber], request: HttpRequest, ids: Sequence[int]) -> None:
    """Show the link of one subscriber; of several, where to download them, to users who may."""
    if len(ids) == 1:
        owner.hand_out(request, Subscriber.objects.get(pk=ids[0]))
    elif ids and owner.export_columns(request):
        query = f"id__in={','.join(map(str, sorted(ids)))}" if len(ids) <= _NAMED else ""
        file = dict(links(owner, "list", query))["csv"]
        label = _("Download the list with the new links (CSV)")
        text = format_html('<a class="xp-link" href="{}" download>{}</a>', file, label)
        owner.message_user(request, text, messages.INFO)

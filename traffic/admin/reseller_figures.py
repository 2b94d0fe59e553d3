"""Quota and use of one reseller, for the owner's page and the reseller's first screen."""

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from operations.formatting import bar, size_of_limit
from operations.quota_levels import level, percent
from traffic.models import Reseller
from traffic.people import resellers


def of(reseller: Reseller, restart: str = "") -> str:
    """As HTML. ``restart``: the page that restarts the count, for those who may."""
    found = resellers.sums([reseller], timezone.now())[reseller.pk]
    limit = reseller.data_limit
    context = {
        "reseller": reseller,
        "sums": found,
        "people": number_of_limit(found.people, reseller.people_limit),
        "given_out": size_of_limit(found.given_out, limit),
        "left": None if limit is None else max(limit - found.given_out, 0),
        "restart": restart,
    }
    return render_to_string("admin/traffic/reseller/figures.html", context)


def number_of_limit(number: int, limit: int | None) -> SafeString:
    """``12`` and ``of 50`` above a bar; without a limit only the number."""
    shown = number_format(number, force_grouping=True)
    if limit is None:
        return format_html('<span class="xp-size">{}</span>', shown)
    of_limit = _("of %(limit)s") % {"limit": number_format(limit, force_grouping=True)}
    return format_html(
        '<span class="xp-size">{}</span> <span class="xp-size xp-quiet">{}</span>{}',
        shown,
        of_limit,
        bar(percent(number, limit), level(number, limit)),
    )

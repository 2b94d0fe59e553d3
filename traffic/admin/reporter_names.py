"""How reporters are called on pages, and how they are doing."""

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from operations.formatting import badge
from traffic.figures import reporters
from traffic.models import Reporter


def name_of(reporter: Reporter | None) -> str:
    """The meter with its key; the key alone of single reports; a part of this panel by its own name."""
    if reporter is None:
        return _("Without a reporter: single reports of people, and imports")
    if reporter.api_key is not None:
        name = reporter.api_key.name
        return f"{reporter.meter} ({name})" if reporter.meter else name
    if reporter.subscriber is not None:
        return _("own device: %(meter)s") % {"meter": reporter.meter}
    return f"{reporter.meter} ({reporter.get_kind_display()} {reporter.origin.partition(':')[2]})"


def state_of(obj: Reporter) -> SafeString:
    if reporters.silent_since(obj, timezone.now()):
        return badge("expired", _("silent"))
    if reporters.problems(obj):
        return badge("limited", _("problems"))
    if obj.ended_at:
        return badge("disabled", _("ended"))
    return badge("active", _("reporting"))

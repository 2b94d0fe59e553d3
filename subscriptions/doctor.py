"""What this app adds to ``traffic.doctor`` and to ``/metrics``: how the sources are."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from traffic.doctor import Finding, Level
from traffic.logs import masked

from .models import Endpoint, Source
from .troubles import sentence

# A source that has not been fetched for so long is broken, not only late.
_BROKEN = timedelta(days=1)
_ENDS_SOON = timedelta(days=3)
# Sources told one by one.
_MOST = 100


def expected() -> dict[str, timedelta]:
    """Commands that a timer should start, as long as there is something for them to do."""
    found: dict[str, timedelta] = {}
    if Source.objects.filter(enabled=True).exists():
        found["refresh_sources"] = timedelta(hours=2)
    if Endpoint.objects.exists():
        found["check_nodes"] = timedelta(hours=1)
    return found


def examine(now: datetime) -> Iterator[Finding]:
    sources = list(Source.objects.filter(enabled=True)[:_MOST])
    wrong = [finding for source in sources for finding in _of(source, now)]
    if sources and not wrong:
        wrong = [Finding(Level.OK, _("Sources"), _("All %d were fetched.") % len(sources))]
    yield from wrong


def _of(source: Source, now: datetime) -> Iterator[Finding]:
    subject = _("Source %s") % source.name
    if source.last_error:
        is_broken = source.last_success is None or now - source.last_success > _BROKEN
        advice = _("Look at its page in the admin; its servers stay as they were.")
        yield Finding(Level.ERROR if is_broken else Level.WARNING, subject, sentence(source.last_error), advice)
    if (
        source.provider_total
        and (source.provider_upload or 0) + (source.provider_download or 0) >= source.provider_total
    ):
        yield Finding(Level.WARNING, subject, _("The provider's traffic is used up."), _("Buy more, or switch it off."))
    if source.provider_expire and source.provider_expire < (now + _ENDS_SOON).timestamp():
        yield Finding(Level.WARNING, subject, _("The provider's subscription ends within 3 days."), _("Renew it."))


def gauges() -> Iterator[Metric]:
    """For ``/metrics``; the URL stays out, for it is a secret."""
    labels = ["id", "name"]
    failures = GaugeMetricFamily("xpert_source_failures", "Failures in a row of a source.", labels=labels)
    success = GaugeMetricFamily(
        "xpert_source_last_success_timestamp_seconds", "When a source was last fetched, in Unix seconds.", labels=labels
    )
    for source in Source.objects.filter(enabled=True)[:_MOST]:
        of_source = [str(source.pk), _shown(source.name)]
        failures.add_metric(of_source, source.failures)
        if source.last_success:
            success.add_metric(of_source, source.last_success.timestamp())
    yield failures
    yield success


def _shown(name: str) -> str:
    """A name that is a URL may hold a secret."""
    return masked(name) if "://" in name else name

"""Texts and gauges for the conditions of sources: lines of ``doctor``, sentences, metrics. None holds a URL."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from operations.events import Kind, seconds
from operations.findings import Condition
from operations.masks import masked
from operations.wording import Words

from . import conditions, template_words
from .models import Source, Template
from .sources.source_errors import sentence

# The most sources that have their own metrics.
_MOST = 100
# A single failure is not reported, because the next fetch is only minutes away.
FAILURES = 3

_SOURCE = _("Source %(subject)s")
_ANSWER = _("%(up)d of %(total)d servers answer.")


def _why(found: Condition) -> str:
    return sentence(found.figures["error"])


def _fails(found: Condition) -> str:
    return gettext("Source %(name)s fails: %(why)s") % {"name": found.subject, "why": _why(found)}


def _runs_out(found: Condition) -> str:
    return gettext("Source %(name)s: %(percent)d %% of the provider's traffic is used.") % {
        "name": found.subject,
        "percent": found.figures["percent"],
    }


def _template_fails(found: Condition) -> str:
    return gettext("The template fails: %(why)s") % {
        "why": template_words.of_failure(found.figures["error"])
    }


WORDS: Mapping[str, Words] = {
    "source-failing": Words(
        _SOURCE, _why, _("Look at its page in the admin. Its servers stay as they were.")
    ),
    "provider-running-out": Words(
        _SOURCE,
        _("%(percent)d %% of the provider's traffic is used."),
        _("Buy more traffic, or switch the source off."),
    ),
    "provider-used-up": Words(
        _SOURCE,
        _("The provider's traffic is used up."),
        _("Buy more traffic, or switch the source off."),
    ),
    "provider-ends": Words(
        _SOURCE, _("The provider's subscription ends within 3 days."), _("Renew the subscription.")
    ),
    "provider-ended": Words(
        _SOURCE, _("The provider's subscription has ended."), _("Renew the subscription.")
    ),
    "servers-down": Words(
        _("Servers"),
        _ANSWER,
        _("Look at those that are down: their source, their port, the provider."),
    ),
    "servers-ok": Words(_("Servers"), _ANSWER),
    "template-failing": Words(
        _("Template %(subject)s"),
        _template_fails,
        _("Try it on its page in the admin. Subscribers get the built-in list."),
    ),
    "sources-ok": Words(_("Sources"), _("All %(count)d were fetched.")),
}


def _failure_key(found: Condition, _now: datetime) -> str:
    """Changes each time that a source stops working."""
    return f"{_source(found).pk}:{seconds(found.since)}"


def _provider_key(found: Condition, now: datetime) -> str:
    """Used traffic is reported once per month, because providers do not say when it resets; an end once per end date."""
    source = _source(found)
    if found.code == "provider-ends":
        return f"{source.pk}:end:{source.provider_expire}"
    return f"{source.pk}:{found.figures['total_bytes']}:{now:%Y-%m}"


def _source(found: Condition) -> Source:
    return cast(Source, found.target)


def _of_failure(found: Condition) -> dict[str, Any]:
    return _named(found) | {"error": found.figures["error"]}


def _of_provider(found: Condition) -> dict[str, Any]:
    figures = found.figures
    if found.code == "provider-ends":
        return _named(found) | {"expires_at": figures["expires_at"].isoformat()}
    names = ("used_bytes", "total_bytes")
    return _named(found) | {name: figures[name] for name in names}


def _named(found: Condition) -> dict[str, Any]:
    source = _source(found)
    return {"source": {"id": source.pk, "name": source.name}}


def _template_key(found: Condition, _now: datetime) -> str:
    """Changes each time that a template begins to fail."""
    return f"{cast(Template, found.target).pk}:{seconds(found.since)}"


def _of_template(found: Condition) -> dict[str, Any]:
    template = cast(Template, found.target)
    return {
        "template": {"id": template.pk, "name": template.name},
        "error": found.figures["error"],
    }


def _server_key(found: Condition, _now: datetime) -> str:
    """Changes each time that a server goes down or comes back."""
    who = found.target.pk if found.target else "many"
    return f"{who}:{seconds(found.since)}"


def _of_server(found: Condition) -> dict[str, Any]:
    return {"servers": [found.subject] if found.target else found.figures["names"]}


KINDS = (
    Kind(
        name="server-down",
        label=_("A server does not answer several checks in a row"),
        find=conditions.server_changes,
        texts={
            "server-down": _("Server %(subject)s has not answered since %(since)s."),
            "many-servers-down": _("%(count)d servers do not answer: %(names)s."),
        },
        key=_server_key,
        data=_of_server,
    ),
    Kind(
        name="server-up",
        label=_("A server answers again"),
        find=conditions.server_changes,
        texts={
            "server-up": _("Server %(subject)s answers again."),
            "many-servers-up": _("%(count)d servers answer again: %(names)s."),
        },
        key=_server_key,
        data=_of_server,
    ),
    Kind(
        name="source-failing",
        label=_("A source has failed three times in a row"),
        find=conditions.sources,
        texts={"source-failing": _fails},
        key=_failure_key,
        data=_of_failure,
        is_told=lambda found: found.figures["failures"] >= FAILURES,
    ),
    Kind(
        name="template-failing",
        label=_("A template of lists fails"),
        find=conditions.templates,
        texts={
            "template-failing": _("Template %(subject)s fails; subscribers get the built-in list.")
        },
        key=_template_key,
        data=_of_template,
    ),
    Kind(
        name="source-quota",
        label=_("A source has little traffic left, or expires within 3 days"),
        find=conditions.sources,
        texts={
            "provider-running-out": _runs_out,
            "provider-used-up": _runs_out,
            "provider-ends": _(
                "Source %(subject)s: the provider's subscription ends at %(expires_at)s."
            ),
        },
        key=_provider_key,
        data=_of_provider,
    ),
)


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    labels = ["id", "name"]
    failures = GaugeMetricFamily(
        "xpert_source_failures", "Failures in a row of a source.", labels=labels
    )
    success = GaugeMetricFamily(
        "xpert_source_last_success_timestamp_seconds",
        "When a source was last fetched, in Unix seconds.",
        labels=labels,
    )
    for one in [one for one in found if one.code == "source"][:_MOST]:
        of_source = [str(_source(one).pk), _shown(one.subject)]
        failures.add_metric(of_source, one.figures["failures"])
        if one.since:
            success.add_metric(of_source, one.since.timestamp())
    yield failures
    yield success


def _shown(name: str) -> str:
    """A name that is a URL may hold a secret."""
    return masked(name) if "://" in name else name

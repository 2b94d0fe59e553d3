"""Texts and gauges for the conditions of this app: lines of ``doctor``, sentences of notifications, metrics."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from operations import quota_levels
from operations.events import Kind, iso, seconds
from operations.findings import Condition
from operations.formatting import written_last_day, written_size
from operations.wording import Words
from traffic.models import Reporter, Reseller, Server, Subscriber

from . import conditions

_REPORTS, _RETENTION, _DISK, _DATABASE = _("Reports"), _("Retention"), _("Disk"), _("Database")
_LATEST = _("The latest traffic is from %(since)s.")
_ROOM = _("%(free_bytes)s of %(total_bytes)s are free.")
_MAKE_ROOM = _(
    "Make room: delete old backups, or set XPERT_TRAFFIC_RETENTION_DAYS and run cleanup_traffic."
)
_LAPSED = _(
    "The next cleanup switches off %(switched_off)d and deletes %(deleted)d whose subscription is over."
)

WORDS: Mapping[str, Words] = {
    "retention-days": Words(_RETENTION, _("Records are kept for %(days)d days.")),
    "retention-for-ever": Words(
        _RETENTION, _("Records are kept forever; old ones are merged by day.")
    ),
    "tracking-off": Words(
        _REPORTS,
        _("Tracking is off, so all reports are refused."),
        _("Set XPERT_TRAFFIC_TRACKING_ENABLED=True."),
    ),
    "reports-none": Words(_REPORTS, _("No report has arrived yet.")),
    "reports-silent": Words(_REPORTS, _LATEST, _("Check that reporters can reach the webhook.")),
    "reports-ok": Words(_REPORTS, _LATEST),
    "reporter-silent": Words(
        _("Reporters"),
        _("Silent for longer than usual: %(subject)s."),
        _("Check whether they run, or revoke their keys."),
        is_joined=True,
    ),
    "reporter-problem": Words(
        _("Reporters"),
        _("%(subject)s cannot read everything: %(problems)s"),
        _("Mend it on the machine of the reporter."),
    ),
    "people-unknown": Words(
        _("Reporters"),
        _("Unknown people of %(subject)s: %(people)d."),
        _("Adopt them on the page of the reporter, or name subscribers as it does."),
    ),
    "set-aside": Words(
        _("Reporters"),
        _(
            "Not counted because it is not plausible, and waiting for a decision: %(waiting_bytes)s."
        ),
        _("Count or drop it on the page of the reporter."),
    ),
    "people-lapsed": Words(_("Subscribers"), _LAPSED),
    "reporters-ok": Words(_("Reporters"), _("No reporter is silent.")),
    "clock-ahead": Words(
        _("Clock"),
        _("The latest traffic is from %(since)s, which is in the future."),
        _("Set the clock: timedatectl."),
    ),
    "periods-ahead": Words(
        _("Clock"),
        _("The clock was ahead: periods of %(count)d subscribers began in the future."),
        _("Set the clock, then run manage.py cleanup_traffic, which counts them again."),
    ),
    # The panel's own conditions, in the terms of counting traffic.
    "disk-full": Words(_DISK, _ROOM, _MAKE_ROOM),
    "disk-low": Words(_DISK, _ROOM, _MAKE_ROOM),
    "database-not-durable": Words(
        _DATABASE,
        "%(setting)s",
        _("Acknowledged reports may be lost in a power cut. Restore the setting."),
    ),
    "database-ok": Words(
        _DATABASE,
        _("Every report is on disk before it is acknowledged; %(database_bytes)s."),
    ),
}


def _limit_text(found: Condition) -> str:
    used, limit = found.figures["used_bytes"], found.figures["limit_bytes"]
    return gettext("%(name)s has used %(percent)d %% of the data limit: %(used)s of %(limit)s.") % {
        "name": found.subject,
        "percent": quota_levels.percent(used, limit),
        "used": written_size(used),
        "limit": written_size(limit),
    }


def _limit_key(found: Condition, _now: datetime) -> str:
    """A changed limit has a new key, so it is reported again."""
    figures = found.figures
    return f"{_id(found)}:{seconds(figures['period_start'])}:{figures['limit_bytes']}"


def _server_limit_key(found: Condition, _now: datetime) -> str:
    """People and limits may have the same id."""
    figures = found.figures
    person = found.target.pk if isinstance(found.target, Subscriber) else 0
    start = seconds(figures["period_start"])
    return f"{figures['limit_id']}:{person}:{start}:{figures['limit_bytes']}"


def _of_limit(found: Condition) -> dict[str, Any]:
    return _of_person(found) if isinstance(found.target, Subscriber) else _figures(found)


def _expiry_key(found: Condition, _now: datetime) -> str:
    return f"{_id(found)}:{seconds(found.figures['expires_at'])}"


def _silence_key(found: Condition, _now: datetime) -> str:
    return f"{_id(found)}:{seconds(found.since)}"


def _reporter_key(found: Condition, now: datetime) -> str:
    """Ids of reporters and of API keys may be equal."""
    kind = "reporter" if isinstance(found.target, Reporter) else "key"
    return f"{kind}:{_silence_key(found, now)}"


def _problem_key(found: Condition, _now: datetime) -> str:
    """Other problems have a new key, so they are reported again."""
    digest = hashlib.sha256(found.figures["problems"].encode()).hexdigest()[:16]
    return f"{_id(found)}:{digest}"


def _people_key(found: Condition, now: datetime) -> str:
    """Once a day while there are any."""
    return f"{_id(found)}:{now:%Y-%m-%d}"


def _last_day(found: Condition) -> str:
    day = written_last_day(found.figures["expires_at"])
    return gettext("The last day of %(subject)s is %(day)s.") % {
        "subject": found.subject,
        "day": day,
    }


def _id(found: Condition) -> int:
    return cast(int, found.target.pk if found.target else 0)


def _of_person(found: Condition) -> dict[str, Any]:
    """Holds no token, because the data goes to receivers."""
    subscriber = cast(Subscriber, found.target)
    person = {
        "id": subscriber.pk,
        "name": subscriber.name,
        "external_id": subscriber.external_id,
    }
    return {"subscriber": person, **_figures(found)}


def _figures(found: Condition) -> dict[str, Any]:
    return {
        name: iso(value) if isinstance(value, datetime) else value
        for name, value in found.figures.items()
    }


def _reseller_people_text(found: Condition) -> str:
    return gettext("Reseller %(name)s has %(used)d of %(limit)d subscribers.") % {
        "name": found.subject,
        "used": found.figures["used"],
        "limit": found.figures["limit"],
    }


def _reseller_bytes_text(found: Condition) -> str:
    used, limit = found.figures["used"], found.figures["limit"]
    text = gettext(
        "Reseller %(name)s has given out %(percent)d %% of the traffic quota: %(used)s of %(limit)s."
    )
    return text % {
        "name": found.subject,
        "percent": quota_levels.percent(used, limit),
        "used": written_size(used),
        "limit": written_size(limit),
    }


def _reseller_key(found: Condition, _now: datetime) -> str:
    """A changed quota, or one whose count was restarted, has a new key, so it is reported again."""
    reseller = cast(Reseller, found.target)
    restarted = seconds(reseller.restarted_at) if reseller.restarted_at else 0
    return f"{reseller.pk}:{found.figures['quota']}:{found.figures['limit']}:{restarted}"


def _of_reseller(found: Condition) -> dict[str, Any]:
    return {"reseller": {"id": _id(found), "name": found.subject}, **_figures(found)}


def _of_server(found: Condition) -> dict[str, Any]:
    server = cast(Server, found.target)
    return {"server": {"id": server.pk, "name": str(server)}, **_since(found)}


def _of_reporter(found: Condition) -> dict[str, Any]:
    own = {name: value for name, value in found.figures.items() if name in ("problems", "people")}
    return {"reporter": {"id": _id(found), "name": found.subject}, **own, **_since(found)}


def _since(found: Condition) -> dict[str, str]:
    return {"since": iso(found.since)} if found.since else {}


def _implausible_text(found: Condition) -> str:
    text = gettext("%(name)s: %(amount)s at once is not plausible and was not counted.")
    return text % {"name": found.subject, "amount": written_size(found.figures["bytes"])}


def _day_key(found: Condition, _now: datetime) -> str:
    return f"{_id(found)}:{found.since:%Y-%m-%d}"


def _today(_found: Condition, now: datetime) -> str:
    return f"{now:%Y-%m-%d}"


KINDS = (
    Kind(
        name="limit80",
        # xgettext:no-python-format  # noqa: ERA001
        label=_("A subscriber has used 80 % of the data limit"),
        find=conditions.limits,
        texts={"limit-near": _limit_text},
        key=_limit_key,
        data=_of_person,
    ),
    Kind(
        name="limit100",
        label=_("A subscriber has reached the data limit"),
        find=conditions.limits,
        texts={"limit-reached": _limit_text},
        key=_limit_key,
        data=_of_person,
    ),
    Kind(
        name="server-limit80",
        # xgettext:no-python-format  # noqa: ERA001
        label=_("80 % of a limit on servers is used"),
        find=conditions.server_limits,
        texts={"server-limit-near": _limit_text},
        key=_server_limit_key,
        data=_of_limit,
    ),
    Kind(
        name="server-limit100",
        label=_("A limit on servers is used up"),
        find=conditions.server_limits,
        texts={"server-limit-reached": _limit_text},
        key=_server_limit_key,
        data=_of_limit,
    ),
    Kind(
        name="reseller80",
        # xgettext:no-python-format  # noqa: ERA001
        label=_("80 % of a reseller's quota is given out"),
        find=conditions.resellers,
        texts={
            "reseller-people-near": _reseller_people_text,
            "reseller-bytes-near": _reseller_bytes_text,
        },
        key=_reseller_key,
        data=_of_reseller,
    ),
    Kind(
        name="reseller100",
        label=_("A reseller's quota is used up"),
        find=conditions.resellers,
        texts={
            "reseller-people-reached": _reseller_people_text,
            "reseller-bytes-reached": _reseller_bytes_text,
        },
        key=_reseller_key,
        data=_of_reseller,
    ),
    Kind(
        name="expiring",
        label=_("A subscriber expires within 3 days"),
        find=conditions.expiries,
        texts={"expiring": _last_day},
        key=_expiry_key,
        data=_of_person,
    ),
    Kind(
        name="expired",
        label=_("A subscriber has expired"),
        find=conditions.expired,
        texts={"expired": _last_day},
        key=_expiry_key,
        data=_of_person,
    ),
    Kind(
        name="people-lapsed",
        label=_("A cleanup will switch off or delete subscribers whose subscription is over"),
        find=conditions.lapsed_people,
        texts={"people-lapsed": _LAPSED},
        key=_today,
        data=_figures,
    ),
    Kind(
        name="server-silent",
        label=_("A server has been silent for a day"),
        find=conditions.servers,
        texts={
            "server-silent": _(
                "Server %(subject)s is silent: the last traffic was before %(since)s."
            )
        },
        key=_silence_key,
        data=_of_server,
    ),
    Kind(
        name="reporter-silent",
        label=_("A reporter has been silent for longer than usual"),
        find=conditions.reporters,
        texts={
            "reporter-silent": _(
                "Reporter %(subject)s is silent: its last report came at %(since)s."
            )
        },
        key=_reporter_key,
        data=_of_reporter,
    ),
    Kind(
        name="reporter-problem",
        label=_("A reporter cannot read everything"),
        find=conditions.problems,
        texts={"reporter-problem": _("Reporter %(subject)s cannot read everything: %(problems)s")},
        key=_problem_key,
        data=_of_reporter,
    ),
    Kind(
        name="people-unknown",
        label=_("A reporter names unknown people"),
        find=conditions.unknown_people,
        texts={"people-unknown": _("Unknown people of reporter %(subject)s: %(people)d.")},
        key=_people_key,
        data=_of_reporter,
    ),
    Kind(
        name="implausible",
        label=_("More traffic than is plausible was not counted"),
        find=conditions.implausible,
        texts={"implausible": _implausible_text},
        key=_day_key,
        data=_of_person,
    ),
)


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    """A timestamp, not an age: Prometheus computes the age with its own clock (``time() - …``)."""
    known = (
        one.since for one in found if one.code.startswith("reports-") or one.code == "tracking-off"
    )
    if latest := next(filter(None, known), None):
        help_ = "When the latest reported traffic flowed, in Unix seconds."
        yield GaugeMetricFamily("xpert_last_report_timestamp_seconds", help_, latest.timestamp())

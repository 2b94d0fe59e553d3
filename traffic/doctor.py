"""What is wrong with this installation, and what to do: for ``manage.py doctor`` and its page in the admin.

Each examination looks at one thing and tells what it found, in one line each; other apps register theirs.
"""

import ctypes
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path

import msgspec
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from . import health, runs, statistics
from .caches import cache_errors
from .cells import written_size
from .conf import PLACEHOLDER_DOMAIN, conf
from .databases import sqlite_file
from .models import ApiKey
from .notifications import outbox

# Who has said nothing for so long is silent; who was never heard of in so many days is forgotten.
SILENCE = timedelta(days=1)
FORGOTTEN = timedelta(days=30)
# Room on the disk below which it is time to act.
LITTLE_ROOM = 2**30
# Names in one line.
_SHOWN = 5
# Of ``adjtimex``: nothing keeps the kernel's clock right.
_CLOCK_UNSYNCHRONISED = 5
# A report may be so much ahead of our clock (contract), so the clock may be wrong by that.
_AHEAD = timedelta(minutes=5)


class Level(IntEnum):
    """Also the exit code of the command, for the worst that was found."""

    OK = 0
    WARNING = 1
    ERROR = 2


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, how it is, and what to do about it."""

    level: Level
    subject: str
    message: str
    advice: str = ""


Examination = Callable[[datetime], Iterable[Finding]]
_others: list[Examination] = []


def also_examine(examination: Examination) -> None:
    """Register an examination of another app."""
    _others.append(examination)


def examine(now: datetime) -> list[Finding]:
    """Everything, in an order that puts causes before what follows from them."""
    first = [
        finding for examination in (_settings, _domain, _https, _migrations) for finding in _found(examination, now)
    ]
    if any(finding.subject in {_("Database"), _("Migrations")} and finding.level for finding in first):
        return first  # without its tables nothing more can be asked
    rest = (
        _clock, _durability, _rights, _disk, _retention, _commands, _cache, _staff, _reports, _reporters, _notifications,
        *_others,
    )  # fmt: skip
    return first + [finding for examination in rest for finding in _found(examination, now)]


def _found(examination: Examination, now: datetime) -> list[Finding]:
    try:
        return list(examination(now))
    except (DatabaseError, InterfaceError):
        advice = _("See that it runs, and that its address in .env is right.")
        return [Finding(Level.ERROR, _("Database"), _("It does not answer."), advice)]
    except ImproperlyConfigured:
        return []  # the settings' own finding names it


def _settings(now: datetime) -> Iterator[Finding]:
    found = [message for message in run_checks(include_deployment_checks=_is_public()) if not message.is_silenced()]
    for message in found:
        # Open access on a public domain lets anybody in: for the start a warning, here no less than an error.
        level = Level.ERROR if message.is_serious() or message.id == "traffic.W001" else Level.WARNING
        yield Finding(level, _("Settings"), f"{message.msg} ({message.id})", str(message.hint or ""))
    if not found:
        yield Finding(Level.OK, _("Settings"), _("All can be used."))


def _is_public() -> bool:
    try:
        return conf.has_public_domain
    except ImproperlyConfigured:
        return False


def _domain(now: datetime) -> Iterator[Finding]:
    subject, domain = _("Domain"), conf.domain
    host = domain.partition("://")[2].partition(":")[0]
    if not domain:
        yield Finding(Level.OK, subject, _("None is set: links use the address that a request came to."))
    elif host == PLACEHOLDER_DOMAIN:
        yield Finding(Level.WARNING, subject, _("It is the placeholder of the guide."), _("Set XPERT_DOMAIN."))
    elif host not in settings.ALLOWED_HOSTS and not {"*", f".{host.partition('.')[2]}"} & set(settings.ALLOWED_HOSTS):
        advice = _("Add %s to XPERT_ALLOWED_HOSTS, or leave that empty.") % host
        yield Finding(Level.ERROR, subject, _("Requests to %s are refused.") % host, advice)
    elif domain.startswith("http://") and conf.has_public_domain:
        advice = _("Put a web server with TLS before the panel (docs/deployment.md), and https:// into XPERT_DOMAIN.")
        yield Finding(Level.WARNING, subject, _("Tokens travel readable: %s.") % domain, advice)
    else:
        yield Finding(Level.OK, subject, _("Links begin with %s.") % domain)


def _https(now: datetime) -> Iterator[Finding]:
    if not conf.https:
        return
    if conf.trusted_proxies:
        yield Finding(Level.OK, "HTTPS", _("Cookies are secure, plain requests are redirected."))
        return
    advice = _("Set XPERT_TRUSTED_PROXIES to the number of web servers before the panel; with one nginx, 1.")
    yield Finding(Level.ERROR, "HTTPS", _("No proxy is trusted, so every request is redirected for ever."), advice)


def _clock(now: datetime) -> Iterator[Finding]:
    subject = _("Clock")
    latest = statistics.last_used_at()
    if latest is not None and latest > now + _AHEAD:
        message = _("The latest traffic is of %s, which is still to come.") % _moment(latest)
        yield Finding(Level.ERROR, subject, message, _("Put the clock right: timedatectl."))
    elif _is_unsynchronised():
        advice = _("Switch on a time service: timedatectl set-ntp true.")
        yield Finding(Level.WARNING, subject, _("Nothing keeps it right."), advice)
    else:
        yield Finding(Level.OK, subject, _moment(now))


def _is_unsynchronised() -> bool:
    """Asks the kernel; where it cannot be asked, no."""
    try:
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return False
    return answer == _CLOCK_UNSYNCHRONISED


def _migrations(now: datetime) -> Iterator[Finding]:
    subject, pending = _("Migrations"), health.pending_migrations()
    if pending:
        message = _("Not applied: %s.") % _some(pending)
        yield Finding(Level.ERROR, subject, message, _("Run manage.py migrate, then start the panel again."))
    else:
        yield Finding(Level.OK, subject, _("All are applied."))


def _durability(now: datetime) -> Iterator[Finding]:
    subject, wrong = _("Database"), health.why_not_durable()
    if not health.is_writable():
        advice = _("See whether the disk is full and who owns the file.")
        yield Finding(Level.ERROR, subject, _("It cannot be written."), advice)
    elif wrong:
        advice = _("A report that was acknowledged may be lost in a power cut: set it back.")
        yield Finding(Level.ERROR, subject, wrong, advice)
    else:
        size = written_size(statistics.database_size())
        yield Finding(Level.OK, subject, _("It takes reports, each on disk before it is answered; %s.") % size)


def _rights(now: datetime) -> Iterator[Finding]:
    subject = _("Files")
    wrong = list(_wrong_rights(subject))
    yield from wrong or [Finding(Level.OK, subject, _("Nobody else can read them."))]


def _wrong_rights(subject: str) -> Iterator[Finding]:
    database, env_file = sqlite_file(), Path(getattr(settings, "XPERT_ENV_FILE", "") or os.devnull)
    if database is not None and database.exists():
        status = database.stat()
        if status.st_mode & 0o077:
            yield _readable(subject, database, "600")
        if status.st_uid != os.geteuid():
            message = _("%s belongs to another user than the one that runs this.") % database
            yield Finding(Level.WARNING, subject, message, _("Run manage.py as its owner: sudo xpert-panel doctor."))
    if env_file.is_file() and stat.S_ISREG(env_file.stat().st_mode) and env_file.stat().st_mode & 0o007:
        yield _readable(subject, env_file, "640")


def _readable(subject: str, path: Path, mode: str) -> Finding:
    return Finding(Level.ERROR, subject, _("Others can read %s.") % path, f"chmod {mode} {path}")


def _disk(now: datetime) -> Iterator[Finding]:
    space = health.disk()
    if space is None:
        return
    message = _("%(free)s of %(total)s are free.") % {
        "free": written_size(space.free), "total": written_size(space.total),
    }  # fmt: skip
    if space.free >= LITTLE_ROOM:
        yield Finding(Level.OK, _("Disk"), message)
    else:
        level = Level.WARNING if space.free >= health.DISK_FLOOR else Level.ERROR
        advice = _("Make room: old backups, XPERT_TRAFFIC_RETENTION_DAYS with cleanup_traffic.")
        yield Finding(level, _("Disk"), message, advice)


def _retention(now: datetime) -> Iterator[Finding]:
    days = conf.retention_days
    message = _("Records are kept for %d days.") % days if days else _("Records are kept for ever, old ones by day.")
    yield Finding(Level.OK, _("Retention"), message)


def _commands(now: datetime) -> Iterator[Finding]:
    ran = {run.command: run for run in runs.all_runs()}
    for command, overdue in runs.expected().items():
        run = ran.get(command)
        advice = _("See that its timer or cron job is alive: systemctl list-timers (docs/deployment.md).")
        if run is None:
            yield Finding(Level.WARNING, command, _("It has never run."), advice)
        elif run.error:
            message = _("It failed at %(when)s: %(error)s") % {"when": _moment(run.ended_at), "error": run.error}
            yield Finding(Level.ERROR, command, message, _("Run it by hand: xpert-panel %s.") % command)
        elif now - run.ended_at > overdue:
            yield Finding(Level.WARNING, command, _("It last ran at %s.") % _moment(run.ended_at), advice)
        else:
            yield Finding(Level.OK, command, _("It last ran at %s.") % _moment(run.ended_at))


def _cache(now: datetime) -> Iterator[Finding]:
    is_local = "locmem" in settings.CACHES["default"]["BACKEND"]
    processes = getattr(settings, "WEB_CONCURRENCY", 1)
    try:
        cache.get("doctor")
    except cache_errors():
        advice = _("Start Redis, or correct CACHE_URL; until then there are no limits.")
        yield Finding(Level.ERROR, _("Cache"), _("It does not answer."), advice)
        return
    if is_local and isinstance(processes, int) and processes > 1:
        message = _("Each of %d processes counts its rate limits by itself.") % processes
        yield Finding(Level.WARNING, _("Cache"), message, _("Set CACHE_URL=redis://… to share them."))
    else:
        yield Finding(Level.OK, _("Cache"), _("Rate limits are counted once for the whole panel."))


def _staff(now: datetime) -> Iterator[Finding]:
    if get_user_model().objects.filter(is_superuser=True, is_active=True).exists():
        yield Finding(Level.OK, _("Admin"), _("Somebody can sign in."))
    else:
        advice = _("Run manage.py createsuperuser.")
        yield Finding(Level.WARNING, _("Admin"), _("Nobody with all rights can sign in."), advice)


def _reports(now: datetime) -> Iterator[Finding]:
    subject, latest = _("Reports"), statistics.last_used_at()
    if not conf.tracking_enabled:
        advice = _("Set XPERT_TRAFFIC_TRACKING_ENABLED=True.")
        yield Finding(Level.WARNING, subject, _("Tracking is off: all are refused."), advice)
    elif latest is None:
        yield Finding(Level.OK, subject, _("None has come yet."))
    elif now - latest > SILENCE:
        message = _("The latest traffic is of %s.") % _moment(latest)
        yield Finding(Level.WARNING, subject, message, _("See whether reporters reach the webhook."))
    else:
        yield Finding(Level.OK, subject, _("The latest traffic is of %s.") % _moment(latest))


def _reporters(now: datetime) -> Iterator[Finding]:
    """Keys that were in use and no longer are; who was silent for a month is no longer waited for."""
    keys = ApiKey.objects.filter(scope=ApiKey.Scope.REPORT, revoked_at=None).exclude(expires_at__lte=now)
    silent = keys.filter(last_used_at__lt=now - SILENCE, last_used_at__gte=now - FORGOTTEN).order_by("last_used_at")
    names = [key.name for key in silent]
    if names:
        message = _("Silent for more than a day: %s.") % _some(names)
        yield Finding(Level.WARNING, _("Reporters"), message, _("See whether they run, or revoke their keys."))
    elif keys.exists():
        yield Finding(Level.OK, _("Reporters"), _("None has fallen silent."))


def _notifications(now: datetime) -> Iterator[Finding]:
    subject, stuck = _("Notifications"), outbox.undelivered(now)
    if stuck:
        message = _("Not delivered: %s.") % _some([f"{name} ({count})" for name, count in stuck.most_common()])
        advice = _("See why under Deliveries in the admin, and send the receiver a test.")
        yield Finding(Level.WARNING, subject, message, advice)
    elif outbox.expected():
        yield Finding(Level.OK, subject, _("Receivers confirm them."))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    rest = len(names) - _SHOWN
    return _("%(names)s and %(count)d more") % {"names": shown, "count": rest} if rest > 0 else shown


def _moment(moment: datetime) -> str:
    zone, form = conf.time_zone, _("Y-m-d H:i")
    return f"{date_format(localtime(moment, zone), form)} {zone.key}"

"""All conditions: those of this app, and those that other apps register.

Each fact is found in one place and shown by ``doctor`` (command and page), notifications, gauges and cards.
"""

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError

from operations import distribution, second_factor
from operations.caches import cache_errors
from operations.conf import PLACEHOLDER_DOMAIN, conf
from operations.databases import citus, engine, replica
from operations.databases.open_files import users_of_lost_files
from operations.databases.substitution import sqlite_file
from operations.extension import extensions
from operations.findings import Condition, Level, Watch
from operations.notifications import outbox

from . import command_runs, readiness

# The return value of ``adjtimex`` for an unsynchronised clock.
_CLOCK_UNSYNCHRONISED = 5
# Open access on a panel that other machines can reach is a warning at the start, and an error here.
_OPEN_ACCESS = frozenset({"operations.W001", "operations.W003"})
# Seconds by which a replica may be behind.
REPLICA_LATE = 60
# After these, no other condition can be checked.
_FATAL = frozenset({"database-away", "cluster-worker", "cluster-worker-old", "migrations-pending"})


def everything(now: datetime) -> list[Condition]:
    """All conditions, causes before their consequences."""
    return _until_fatal((*_FIRST, *_rest()), now)


def quick(now: datetime) -> list[Condition]:
    """The cheap conditions, for callers that ask often."""
    return _until_fatal((watch for watch in (*_FIRST, *_rest()) if watch.is_quick), now)


def _until_fatal(watches: Iterable[Watch], now: datetime) -> list[Condition]:
    found: list[Condition] = []
    for watch in watches:
        found += _found(watch, now)
        if found and found[-1].code in _FATAL:
            break
    return found


def _rest() -> Iterator[Watch]:
    yield from _LATER
    for extension in extensions():
        yield from extension.conditions


def _found(watch: Watch, now: datetime) -> list[Condition]:
    try:
        return list(watch.find(now))
    except (DatabaseError, InterfaceError):
        return [Condition(code="database-away", level=Level.ERROR)]
    except ImproperlyConfigured:
        return []  # ``_settings`` reports it


def _settings(now: datetime) -> Iterator[Condition]:
    found = [
        message
        for message in run_checks(include_deployment_checks=_is_public())
        if not message.is_silenced()
    ]
    for message in found:
        is_error = message.is_serious() or message.id in _OPEN_ACCESS
        level = Level.ERROR if is_error else Level.WARNING
        figures = {"message": message.msg, "id": message.id, "hint": message.hint or ""}
        yield Condition(code="setting-wrong", level=level, figures=figures)
    if not found:
        yield Condition(code="settings-ok")


def _is_public() -> bool:
    try:
        return conf.has_public_domain
    except ImproperlyConfigured:
        return False


def _domain(now: datetime) -> Iterator[Condition]:
    domain = conf.domain
    host = domain.partition("://")[2].partition(":")[0]
    figures = {"domain": f"{domain}{conf.base_path}", "host": host}
    if not domain:
        yield Condition(code="domain-none")
    elif host == PLACEHOLDER_DOMAIN:
        yield Condition(code="domain-placeholder", level=Level.WARNING)
    elif not _is_answered(host):
        yield Condition(code="domain-refused", level=Level.ERROR, figures=figures)
    elif domain.startswith("http://") and conf.has_public_domain:
        yield Condition(code="domain-readable", level=Level.WARNING, figures=figures)
    else:
        yield Condition(code="domain-ok", figures=figures)


def _is_answered(host: str) -> bool:
    names = set(settings.ALLOWED_HOSTS)
    return bool(names & {host, "*", f".{host.partition('.')[2]}"})


def _https(now: datetime) -> Iterator[Condition]:
    if conf.https and conf.trusted_proxies:
        yield Condition(code="https-ok")
    elif conf.https:
        yield Condition(code="https-loop", level=Level.ERROR)


def _lost_files(now: datetime) -> Iterator[Condition]:
    path = sqlite_file()
    if path is not None and (lost := users_of_lost_files(str(path))):
        figures = {"processes": [str(pid) for pid in lost]}
        yield Condition(code="database-file-lost", level=Level.ERROR, figures=figures)


def _node(now: datetime) -> Iterator[Condition]:
    if not citus.is_worker():
        return
    if old := distribution.outdated():
        figures = {"names": old}
        yield Condition(code="cluster-worker-old", level=Level.ERROR, figures=figures)
    else:
        yield Condition(code="cluster-worker")


def _migrations(now: datetime) -> Iterator[Condition]:
    if pending := readiness.pending_migrations():
        figures = {"names": pending}
        yield Condition(code="migrations-pending", level=Level.ERROR, figures=figures)
    else:
        yield Condition(code="migrations-ok")


def _clock(now: datetime) -> Iterator[Condition]:
    if _is_unsynchronised():
        yield Condition(code="clock-unsynchronised", level=Level.WARNING)
    else:
        yield Condition(code="clock-ok", figures={"now": now})


def _is_unsynchronised() -> bool:
    """Ask the kernel; False where that is not possible."""
    try:
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return False
    return answer == _CLOCK_UNSYNCHRONISED


def _database(now: datetime) -> Iterator[Condition]:
    wrong = readiness.why_not_durable()
    if not readiness.is_writable():
        yield Condition(code="database-read-only", level=Level.ERROR)
    elif wrong:
        figures = {"setting": wrong}
        yield Condition(code="database-not-durable", level=Level.ERROR, figures=figures)
    else:
        yield Condition(code="database-ok", figures={"database_bytes": engine.database_size()})


def _replica(now: datetime) -> Iterator[Condition]:
    if not replica.is_set():
        return
    behind = replica.lag()
    if behind is None:
        yield Condition(code="replica-away", level=Level.WARNING)
        return
    is_late = behind > REPLICA_LATE
    yield Condition(
        code="replica-late" if is_late else "replica-ok",
        level=Level.WARNING if is_late else Level.OK,
        figures={"seconds": round(behind)},
    )


def _cluster(now: datetime) -> Iterator[Condition]:
    """Only where tables are spread over several nodes."""
    if not citus.is_spread():
        return
    parts, wrong = citus.parts(), list[Condition]()
    for part in parts:
        if not part.answers:
            wrong.append(
                Condition(code="cluster-node-away", level=Level.ERROR, subject=part.address)
            )
        elif part.old:
            figures = {"count": part.old}
            wrong.append(
                Condition(
                    code="cluster-unsettled",
                    level=Level.WARNING,
                    subject=part.address,
                    figures=figures,
                )
            )
    if left_out := distribution.left_out():
        names = {"names": left_out}
        wrong.append(Condition(code="cluster-incomplete", level=Level.WARNING, figures=names))
    if not citus.is_kept_in_order():
        wrong.append(Condition(code="cluster-unkept", level=Level.WARNING))
    yield from wrong or [Condition(code="cluster-ok", figures={"nodes": len(parts) + 1})]


def _files(now: datetime) -> Iterator[Condition]:
    wrong = [*_wrong_database_file(), *_wrong_env_file()]
    yield from wrong or [Condition(code="files-ok")]


def _wrong_database_file() -> Iterator[Condition]:
    path = sqlite_file()
    if path is None or not path.exists():
        return
    status = path.stat()
    if status.st_mode & 0o077:
        yield _readable(path, "600")
    if status.st_uid != os.geteuid():
        yield Condition(code="file-of-another", level=Level.WARNING, subject=str(path))


def _wrong_env_file() -> Iterator[Condition]:
    path = Path(getattr(settings, "XPERT_ENV_FILE", "") or os.devnull)
    if not path.is_file():
        return
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) and mode & 0o007:
        yield _readable(path, "640")


def _readable(path: Path, mode: str) -> Condition:
    return Condition(
        code="file-readable", level=Level.ERROR, subject=str(path), figures={"mode": mode}
    )


def disk(now: datetime) -> Iterator[Condition]:
    space = readiness.disk()
    if space is None:
        return
    figures = {"free_bytes": space.free, "total_bytes": space.total}
    if space.free < readiness.DISK_FLOOR:
        yield Condition(code="disk-full", level=Level.ERROR, figures=figures)
    elif space.free < readiness.DISK_LOW:
        yield Condition(code="disk-low", level=Level.WARNING, figures=figures)
    else:
        yield Condition(code="disk-ok", figures=figures)


def _commands(now: datetime) -> Iterator[Condition]:
    ran = {run.command: run for run in command_runs.all_runs()}
    for command, overdue in command_runs.expected().items():
        run = ran.get(command)
        if run is None:
            yield Condition(code="command-never-ran", level=Level.WARNING, subject=command)
        elif run.error:
            yield Condition(
                code="command-failed",
                level=Level.ERROR,
                subject=command,
                figures={"error": run.error},
                since=run.ended_at,
            )
        else:
            is_late = now - run.ended_at > overdue
            yield Condition(
                code="command-overdue" if is_late else "command-ok",
                level=Level.WARNING if is_late else Level.OK,
                subject=command,
                since=run.ended_at,
            )


def _cache(now: datetime) -> Iterator[Condition]:
    is_local = "locmem" in settings.CACHES["default"]["BACKEND"]
    processes = getattr(settings, "WEB_CONCURRENCY", 1)
    try:
        cache.get("doctor")
    except cache_errors():
        yield Condition(code="cache-away", level=Level.ERROR)
        return
    if is_local and isinstance(processes, int) and processes > 1:
        figures = {"processes": processes}
        yield Condition(code="cache-not-shared", level=Level.WARNING, figures=figures)
    else:
        yield Condition(code="cache-ok")


def _staff(now: datetime) -> Iterator[Condition]:
    if get_user_model().objects.filter(is_superuser=True, is_active=True).exists():
        yield Condition(code="staff-ok")
    else:
        yield Condition(code="staff-missing", level=Level.WARNING)


def _second_factor(now: datetime) -> Iterator[Condition]:
    if not conf.require_second_factor:
        return
    names = sorted(user.get_username() for user in second_factor.without_one())
    if names:
        figures = {"names": names}
        yield Condition(code="second-factor-missing", level=Level.WARNING, figures=figures)
    else:
        yield Condition(code="second-factor-ok")


def _notifications(now: datetime) -> Iterable[Condition]:
    stuck = outbox.undelivered(now)
    if stuck:
        return [
            Condition(
                code="notifications-stuck",
                level=Level.WARNING,
                subject=f"{name} ({count})",
                figures={"count": count},
            )
            for name, count in stuck.most_common()
        ]
    return [Condition(code="notifications-ok")] if outbox.expected() else []


_FIRST = (
    Watch(_settings, is_quick=False),
    Watch(_domain),
    Watch(_https),
    Watch(_lost_files, is_quick=False),
    Watch(_node),
    Watch(_migrations, is_quick=False),
)
_LATER = (
    Watch(_clock),
    Watch(_database, is_quick=False),
    Watch(_cluster),
    Watch(_replica),
    Watch(_files, is_quick=False),
    Watch(disk),
    Watch(_commands),
    Watch(_cache),
    Watch(_staff),
    Watch(_second_factor),
    Watch(_notifications),
)

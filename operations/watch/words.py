"""Texts for the conditions of this app: lines of ``doctor`` and sentences of notifications."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from operations.events import Kind
from operations.findings import Condition
from operations.wording import Words

from . import conditions

_SETTINGS, _DOMAIN, _HTTPS, _CLOCK = _("Settings"), _("Domain"), "HTTPS", _("Clock")
_CLUSTER, _REPLICA = _("Cluster"), _("Read replica")
_DATABASE, _FILES, _DISK, _CACHE = _("Database"), _("Files"), _("Disk"), _("Cache")
_MAKE_ROOM = _("Make room: delete old backups and other files, or move the data to a larger disk.")
_ALIVE = _(
    "Check that its timer or cron job is active: systemctl list-timers (docs/deployment.md)."
)
_ROOM = _("%(free_bytes)s of %(total_bytes)s are free.")

WORDS: Mapping[str, Words] = {
    "setting-wrong": Words(_SETTINGS, "%(message)s (%(id)s)", "%(hint)s"),
    "settings-ok": Words(_SETTINGS, _("All settings are valid.")),
    "domain-none": Words(_DOMAIN, _("No domain is set, so links use the address of the request.")),
    "domain-placeholder": Words(
        _DOMAIN, _("The domain is the placeholder from the guide."), _("Set XPERT_DOMAIN.")
    ),
    "domain-refused": Words(
        _DOMAIN,
        _("Requests to %(host)s are refused."),
        _("Add %(host)s to XPERT_ALLOWED_HOSTS, or leave that empty."),
    ),
    "domain-readable": Words(
        _DOMAIN,
        _("Tokens are sent unencrypted: %(domain)s."),
        _(
            "Put a web server with TLS in front of the panel (docs/deployment.md), and https:// into XPERT_DOMAIN."
        ),
    ),
    "domain-ok": Words(_DOMAIN, _("Links begin with %(domain)s.")),
    "https-ok": Words(_HTTPS, _("Cookies are secure, and plain HTTP requests are redirected.")),
    "https-loop": Words(
        _HTTPS,
        _("No proxy is trusted, so every request is redirected in a loop."),
        _(
            "Set XPERT_TRUSTED_PROXIES to the number of web servers in front of the panel: 1 for a single nginx."
        ),
    ),
    "migrations-pending": Words(
        _("Migrations"),
        _("Not applied: %(names)s."),
        _("Run manage.py migrate, then start the panel again."),
    ),
    "migrations-ok": Words(_("Migrations"), _("All migrations are applied.")),
    "clock-unsynchronised": Words(
        _CLOCK,
        _("The clock is not synchronised."),
        _("Enable time synchronisation: timedatectl set-ntp true."),
    ),
    "clock-ok": Words(_CLOCK, "%(now)s"),
    "database-away": Words(
        _DATABASE,
        _("It does not answer."),
        _("Check that it runs, and that its address in .env is right."),
    ),
    "database-read-only": Words(
        _DATABASE,
        _("The database cannot be written to."),
        _("Check whether the disk is full, and who owns the file."),
    ),
    "database-file-lost": Words(
        _DATABASE,
        _("Its file was removed or replaced while it was in use (processes %(processes)s)."),
        _("Put the file back if you can, then restart the panel; until then reports are refused."),
    ),
    "database-not-durable": Words(
        _DATABASE,
        "%(setting)s",
        _("Acknowledged changes may be lost in a power cut. Restore the setting."),
    ),
    "database-ok": Words(
        _DATABASE,
        _("Every change is on disk before it is acknowledged; %(database_bytes)s."),
    ),
    "cluster-node-away": Words(
        _CLUSTER,
        _("The node %(subject)s does not answer."),
        _(
            "Start it, or put its standby in its place; its subscribers' reports are refused until then."
        ),
        is_joined=True,
    ),
    "cluster-unsettled": Words(
        _CLUSTER,
        _("On %(subject)s transactions wait for their end for more than 5 minutes."),
        _("Run SELECT recover_prepared_transactions() on the coordinator."),
        is_joined=True,
    ),
    "cluster-incomplete": Words(
        _CLUSTER,
        _("Not distributed yet: %(names)s."),
        _("Stop the panel, run manage.py distribute_citus, and start it again."),
    ),
    "cluster-unkept": Words(
        _CLUSTER,
        _("Nobody ends interrupted transactions and deadlocks between nodes."),
        _("Raise max_worker_processes of PostgreSQL, and restart it."),
    ),
    "cluster-worker": Words(
        _CLUSTER,
        _(
            "This node takes reports. The coordinator does everything else, and knows how the cluster is."
        ),
    ),
    "cluster-worker-old": Words(
        _CLUSTER,
        _("Tables are older than this release: %(names)s."),
        _("Run migrate and distribute_citus at the coordinator."),
    ),
    "cluster-ok": Words(_CLUSTER, _("All %(nodes)d nodes answer.")),
    "replica-away": Words(
        _REPLICA,
        _("It does not answer, so figures come from the primary."),
        _("Check that it runs, and DATABASE_URL_READ."),
    ),
    "replica-late": Words(
        _REPLICA,
        _("It is %(seconds)d s behind, and so are statistics and downloads."),
        _("Check that it receives the changes: pg_stat_replication on the primary."),
    ),
    "replica-ok": Words(_REPLICA, _("It is %(seconds)d s behind.")),
    "file-readable": Words(
        _FILES, _("Other users can read %(subject)s."), "chmod %(mode)s %(subject)s"
    ),
    "file-of-another": Words(
        _FILES,
        _("%(subject)s does not belong to the user that runs this."),
        _("Run manage.py as its owner: sudo xpert-panel doctor."),
    ),
    "files-ok": Words(_FILES, _("No other user can read them.")),
    "disk-full": Words(_DISK, _ROOM, _MAKE_ROOM),
    "disk-low": Words(_DISK, _ROOM, _MAKE_ROOM),
    "disk-ok": Words(_DISK, _ROOM),
    "command-never-ran": Words("%(subject)s", _("It has never run."), _ALIVE),
    "command-failed": Words(
        "%(subject)s",
        _("It failed at %(since)s: %(error)s"),
        _("Run it by hand: xpert-panel %(subject)s."),
    ),
    "command-overdue": Words("%(subject)s", _("It last ran at %(since)s."), _ALIVE),
    "command-ok": Words("%(subject)s", _("It last ran at %(since)s.")),
    "cache-away": Words(
        _CACHE,
        _("It does not answer."),
        _("Start Redis, or correct CACHE_URL; until then there are no limits."),
    ),
    "cache-not-shared": Words(
        _CACHE,
        _("Each of the %(processes)d processes counts rate limits on its own."),
        _("Set CACHE_URL=redis://… to share them."),
    ),
    "cache-ok": Words(_CACHE, _("Rate limits are counted once for the whole panel.")),
    "staff-missing": Words(
        _("Admin"),
        _("No superuser can sign in."),
        _("Run manage.py createsuperuser."),
    ),
    "staff-ok": Words(_("Admin"), _("A superuser can sign in.")),
    "second-factor-missing": Words(
        _("Second factor"),
        _("It is required, and these staff users have none yet: %(names)s."),
        _("Until they set it up at their next sign-in, their password alone lets others do so."),
    ),
    "second-factor-ok": Words(_("Second factor"), _("All staff users have one.")),
    "notifications-stuck": Words(
        _("Notifications"),
        _("Not delivered: %(subject)s."),
        _("Look for the reason under Deliveries in the admin, and send the receiver a test."),
        is_joined=True,
    ),
    "notifications-ok": Words(_("Notifications"), _("All receivers confirm their notifications.")),
}


def _disk_key(found: Condition, now: datetime) -> str:
    """Changes once per day while the condition lasts, and when it becomes serious."""
    return f"{found.code.removeprefix('disk-')}:{now:%Y-%m-%d}"


def _figures(found: Condition) -> dict[str, Any]:
    return dict(found.figures)


KINDS = (
    Kind(
        name="disk",
        label=_("The disk is filling up"),
        find=conditions.disk,
        texts={
            "disk-full": _(
                "The disk is full: only %(free_bytes)s are free, and reports may be refused."
            ),
            "disk-low": _("The disk is filling up: only %(free_bytes)s are free."),
        },
        key=_disk_key,
        data=_figures,
    ),
)
